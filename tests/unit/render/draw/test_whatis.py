# SPDX-License-Identifier: GPL-2.0-or-later
"""`pageproof whatis` against golden files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from unit.commandfacts import alias_report, line
from unit.facts import CORE, FRAME, KERNEL, PAGE, PAGING, USER, kernel_walk, lost_walk, mapping
from unit.facts import user_walk as walk_of_user
from unit.golden import matches_golden
from unit.layouts import FOUR

import pageproof
from pageproof.arch.x86_64.rows import memory_map
from pageproof.judge.whatis import as_alias
from pageproof.model import Outcome, SlabFacts, SlabState, TableSet, Walk
from pageproof.model.whatis import (
    WHATIS_SCHEMA,
    CpuEntryFacts,
    EspfixFacts,
    FixmapFacts,
    FrameFacts,
    Identity,
    LdtFacts,
    ModuleFacts,
    OwnerFacts,
    PageStructFacts,
    PageUse,
    PerCpuFacts,
    PerCpuPart,
    ShadowFacts,
    SymbolFacts,
    TaskFacts,
    TaskPart,
    Unknown,
    VmapFacts,
    VsyscallFacts,
    WhatisReport,
)
from pageproof.render.drgn.whatis import whatis_to_drgn
from pageproof.render.jsonform import report_to_json
from pageproof.render.table import to_text
from pageproof.space.rows import row_at

GOLDEN = Path(__file__).resolve().parents[3] / "golden" / "commands"
SCHEMA: Any = json.loads(
    (Path(pageproof.__file__).parent / "schema" / "whatis-1.json").read_text(encoding="utf-8")
)
SLAB_PAGE = replace(PAGE, type_words="slab", mapcount=None)
SLAB = SlabFacts("kmalloc-4k", KERNEL, 0x10, 4096, 4096, SlabState.ALLOCATED)
AREA = VmapFacts(
    start=0xFFFF_FFFF_C039_6000,
    end=0xFFFF_FFFF_C03A_0000,
    offset_bytes=0x3080,
    guard=False,
    caller="load_module+0xd97",
    caller_address=0xFFFF_FFFF_8111_2D97,
    flags=0x102,
    flags_words="vmalloc|flush-reset-perms",
    pages=9,
    physical=None,
)


def at(address: int, walk: Walk, identity: Identity, **more: Any) -> WhatisReport:
    """Return a report on an address in the documented memory map with 4 levels."""
    region = row_at(memory_map(FOUR), address)
    frame = FrameFacts(PageUse.OTHER, PAGE, OwnerFacts(), Outcome.MAPPED, ())
    report = WhatisReport(
        schema=WHATIS_SCHEMA,
        version="0.1.0",
        target=CORE,
        paging=PAGING,
        asked=f"{address:x}",
        address=address,
        cpu=None,
        region=region,
        offset_bytes=address - region.start,
        process=None,
        vma=None,
        tables=TableSet.KERNEL,
        tables_of="init_mm",
        walk=replace(walk, address=address),
        frame=None if walk.pfn is None else frame,
        identity=identity,
        unknown=(),
        mappings=None,
        kasan=False,
        known=True,
        attempts=1,
        stable=True,
        exit_code=0,
    )
    return replace(report, **more)


def slab() -> WhatisReport:
    words = ("slab object: kmalloc-4k+0x10",)
    frame = FrameFacts(PageUse.SLAB, SLAB_PAGE, OwnerFacts(), Outcome.MAPPED, ())
    identity = Identity(slab=SLAB, drgn=words)
    return at(KERNEL + 0x10, kernel_walk(), identity, asked="umh_shm_region.kaddr", frame=frame)


def module() -> WhatisReport:
    address = 0xFFFF_FFFF_C039_9080
    alias = as_alias("physmap", kernel_walk(), FRAME)
    identity = Identity(
        symbol=SymbolFacts("umh_shm_fops", address, 264, 0, "", False, "module's kallsyms"),
        module=ModuleFacts("umh_shm", "rodata", address - 0x80, 12288, 0x80),
        vmap=AREA,
        drgn=("vmap: 0xffffffffc0396000-0xffffffffc03a0000 caller load_module+0xd97",),
    )
    frame = FrameFacts(PageUse.OTHER, PAGE, OwnerFacts(), Outcome.MAPPED, (alias,))
    return at(address, kernel_walk(), identity, frame=frame, asked="umh_shm_fops")


def stack() -> WhatisReport:
    start = 0xFFFF_C900_0015_8000
    task = TaskFacts(TaskPart.STACK, 184, "umh_shm_helper", KERNEL, start, 0x3F58)
    area = replace(AREA, start=start, end=start + 0x5000, caller="kernel_clone+0xda", pages=4)
    identity = Identity(task=task, vmap=replace(area, flags=0x2, flags_words="vmalloc"))
    return at(start + 0x3F58, kernel_walk(), identity)


def per_cpu() -> WhatisReport:
    facts = PerCpuFacts(PerCpuPart.STATIC, 1, 0x33440, "runqueues", 0)
    return at(KERNEL, kernel_walk(), Identity(per_cpu=facts), asked="runqueues", cpu=1)


def user() -> WhatisReport:
    owner = OwnerFacts(0xFFFF_8880_0101_0000, inode_number=498, file_name="usr/bin/busybox")
    page = FrameFacts(PageUse.FILE, PAGE, replace(owner, offset_pages=0), Outcome.EXCLUDED, ())
    return at(
        USER,
        walk_of_user(),
        Identity(),
        process=mapping(),
        vma=line(USER, USER + 0x1000, name="/usr/bin/busybox"),
        tables=TableSet.PROCESS,
        tables_of="pid 184",
        frame=page,
    )


def hole() -> WhatisReport:
    walk = lost_walk(Outcome.NONE)
    return at(0xFFFF_8000_0000_0123, walk, Identity(), known=False, exit_code=3)


def doubtful() -> WhatisReport:
    """The dump omits the data of the slab, and more."""
    unknown = (
        Unknown("slab", Outcome.EXCLUDED, "Excluded page: 0x1000"),
        Unknown("drgn", Outcome.UNREADABLE, "could not find memory segment"),
    )
    changes: dict[str, Any] = {"unknown": unknown, "stable": False, "attempts": 5, "exit_code": 3}
    return replace(slab(), identity=Identity(), **changes)


def shadowed() -> WhatisReport:
    shadow = ShadowFacts(
        0xFFFF_ED10_0068_0002,
        KERNEL + 0x10,
        (0, 0, 0, 0, 0xFC, 0xFC, 0xFC, 0xFC),
        ("all 8 bytes may be used",) * 4 + ("redzone of a slab object",) * 4,
    )
    return replace(slab(), kasan=True, identity=Identity(slab=SLAB, shadow=shadow))


def with_mappings() -> WhatisReport:
    found = alias_report()
    return replace(slab(), mappings=(*found.kernel, *found.users))


FILES: dict[str, Callable[[], str]] = {
    "whatis-slab.txt": lambda: to_text(slab()),
    "whatis-slab.json": lambda: report_to_json(slab()),
    "whatis-slab.drgn": lambda: whatis_to_drgn(slab()),
    "whatis-module.txt": lambda: to_text(module()),
    "whatis-module.drgn": lambda: whatis_to_drgn(module()),
    "whatis-stack.txt": lambda: to_text(stack()),
    "whatis-percpu.txt": lambda: to_text(per_cpu()),
    "whatis-user.txt": lambda: to_text(user()),
    "whatis-user.drgn": lambda: whatis_to_drgn(user()),
    "whatis-hole.txt": lambda: to_text(hole()),
    "whatis-aliases.txt": lambda: to_text(with_mappings()),
    "whatis-doubtful.txt": lambda: to_text(doubtful()),
    "whatis-kasan.txt": lambda: to_text(shadowed()),
}


@pytest.mark.parametrize("name", FILES)
def test_golden(name: str) -> None:
    matches_golden(GOLDEN / name, FILES[name]())


def test_no_golden_file_is_left_over() -> None:
    mine = {path.name for path in GOLDEN.iterdir() if path.name.startswith("whatis")}
    assert mine == set(FILES)


#: One of each thing that an address can be, and its first line.
HEADLINES = (
    (Identity(page_struct=PageStructFacts(0x1234, KERNEL, 8)), "struct page of PFN 0x1234, +0x8"),
    (
        Identity(fixmap=FixmapFacts(516, "FIX_IO_APIC_BASE_0", 1, 0)),
        "fixmap slot 516, FIX_IO_APIC_BASE_0 + 1, +0x0",
    ),
    (
        Identity(cpu_entry=CpuEntryFacts(1, "tss.x86_tss", KERNEL, 4)),
        "cpu_entry_area of CPU 1: tss.x86_tss, +0x4",
    ),
    (
        Identity(cpu_entry=CpuEntryFacts(None, "IDT", KERNEL, 0)),
        "cpu_entry_area of all CPUs: IDT, +0x0",
    ),
    (Identity(ldt=LdtFacts(1, 2)), "LDT remap, slot 1, entry 2"),
    (Identity(espfix=EspfixFacts(1, 3)), "espfix stack of CPU 1, +0x3"),
    (
        Identity(vsyscall=VsyscallFacts("time", "XONLY")),
        "vsyscall page: time; the kernel's mode is XONLY",
    ),
    (
        Identity(per_cpu=PerCpuFacts(PerCpuPart.DYNAMIC, 0, 0x30000, "", 0)),
        "per-CPU memory of alloc_percpu(), +0x0, of CPU 0",
    ),
    (
        Identity(per_cpu=PerCpuFacts(PerCpuPart.MODULE, 0, 0x30000, "kvm", 8)),
        "per-CPU variables of module kvm, +0x8, of CPU 0",
    ),
    (
        Identity(vmap=replace(AREA, guard=True)),
        "guard page of the vmalloc area of load_module+0xd97, +0x3080",
    ),
    (
        Identity(symbol=SymbolFacts("start_kernel", KERNEL, 9, 1, "init", True, "debug info")),
        "start_kernel+0x1/0x9, freed after boot",
    ),
    (
        Identity(task=TaskFacts(TaskPart.STRUCT, 7, "kthread", KERNEL, KERNEL, 0)),
        "task_struct of 7 (kthread), +0x0",
    ),
    (Identity(), "a page of physmap: in use; the kernel does not record its owner"),
)


@pytest.mark.parametrize(("identity", "headline"), HEADLINES)
def test_the_first_line_tells_the_most(identity: Identity, headline: str) -> None:
    report = at(KERNEL, kernel_walk(), identity)
    assert f"\n\n{headline}\n" in to_text(report)
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(report_to_json(report)))


def test_an_alias_that_leads_elsewhere_is_told() -> None:
    wrong = as_alias("physmap", kernel_walk(), FRAME + 4096)
    gone = as_alias("text", lost_walk(Outcome.NONE), FRAME)
    frame = FrameFacts(PageUse.OTHER, PAGE, OwnerFacts(), Outcome.MAPPED, (wrong, gone))
    text = to_text(replace(slab(), frame=frame))
    assert "physmap: leads to ANOTHER frame" in text
    assert "text: not mapped (none)" in text


@pytest.mark.parametrize("use", PageUse)
def test_every_use_has_words(use: PageUse) -> None:
    frame = FrameFacts(use, PAGE, OwnerFacts(), Outcome.MAPPED, ())
    (row,) = (
        row for row in to_text(replace(slab(), frame=frame)).splitlines() if row.startswith("use ")
    )
    assert len(row) > len("use      x")


REPORTS = (slab, module, stack, per_cpu, user, hole, doubtful, shadowed, with_mappings)


@pytest.mark.parametrize("report", REPORTS)
def test_json_fits_the_schema(report: Callable[[], WhatisReport]) -> None:
    document = json.loads(report_to_json(report()))
    validator = jsonschema.Draft202012Validator(SCHEMA)
    validator.validate(document)
    for key in document:
        with pytest.raises(jsonschema.ValidationError):
            validator.validate({k: v for k, v in document.items() if k != key})


@pytest.mark.parametrize("report", REPORTS)
def test_code_for_drgn_compiles(report: Callable[[], WhatisReport]) -> None:
    compile(whatis_to_drgn(report()), "whatis", "exec")


def test_what_the_user_typed_stays_a_comment() -> None:
    assert "\nimport os" not in whatis_to_drgn(replace(slab(), asked="x\nimport os"))
