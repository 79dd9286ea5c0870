# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks of what is in the dump: page tables, tasks, modules, and what must not be left out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

import drgn

from pageproof.attach.formats import Form
from pageproof.find.bounded import DamagedError
from pageproof.find.kernel.modules import all_modules, module_name, module_parts
from pageproof.model.auditfacts import FrameClass, Need
from pageproof.model.kdump import Checked, bad, ok, unknown
from pageproof.space.units import PAGE_BYTES
from pageproof_kdump.engine import Check
from pageproof_kdump.filter import KEYS, USER, ZERO, sound_level
from pageproof_kdump.verify.facts import DumpFacts

_NO_ELF: Final = "dump again in makedumpfile's own format (-c, -l, -z), or without bit 1"
#: Reasons that are shown.
_SHOWN: Final = 3
#: Words of libkdumpfile, of the engine and of the reader for a page that a dump leaves out.
_EXCLUDED: Final = re.compile("excluded|left out", re.IGNORECASE)
#: The same, where the reason is not kept.
_MAYBE: Final = re.compile(f"{_EXCLUDED.pattern}|some of its tables", re.IGNORECASE)
_MARKED: Final = re.compile(rb"[^\0]", re.DOTALL)


def kernel_tables(facts: DumpFacts) -> Checked:
    """Check that every page table of the kernel can be read."""
    name, audit = "kernel-tables", facts.audit
    for need in (Need.KERNEL, Need.USER_HALF):
        if need in audit.missing:
            return _lost(name, facts, [audit.missing[need]], may_be_zeros=_drops_zeros(facts))
    ranges = audit.kernel or ()
    pages = sum(one.last + 1 - one.start for one in ranges) // PAGE_BYTES
    if not pages:
        return bad(name, "the kernel's page tables map nothing", _remedy(facts))
    return ok(name, f"all can be read; they map {pages:,} pages", levels=audit.paging.levels)


def task_tables(facts: DumpFacts) -> Checked:
    """Check that every page table and VMA of every address space can be read."""
    name, audit = "task-tables", facts.audit
    if Need.USERS in audit.missing:
        return _lost(name, facts, [audit.missing[Need.USERS]])
    users, tops = audit.users, audit.tops
    assert users is not None
    gaps = [*users.faults, *(f"{one.name}: {one.gap}" for one in users.spaces if one.gap)]
    if tops is not None:
        gaps += [f"{one.name}: {one.gap}" for one in (*tops.spaces, *tops.user_halves) if one.gap]
    if gaps:
        return _lost(name, facts, gaps, may_be_zeros=_drops_zeros(facts) and not users.faults)
    if not users.spaces:
        return unknown(name, "there is no address space of a process")
    tables = sum(len(one.tables) for one in users.spaces)
    vmas = sum(len(one.vmas) for one in users.spaces)
    return ok(
        name, f"all can be read: {tables:,} tables, {vmas:,} VMAs in {len(users.spaces):,} spaces"
    )


def tasks(facts: DumpFacts) -> Checked:
    """Check that every task can be found, and has its stack."""
    name = "tasks"
    records, lost = facts.tasks
    faults = [lost] if lost else []
    faults += [f"task {one.address:#x}: {one.fault}" for one in records if one.fault]
    prog = facts.target.prog
    for one in records:
        if one.fault or not one.stack:
            continue
        try:
            prog.read(one.stack, 8)
        except (drgn.FaultError, OSError) as error:
            faults.append(f"stack of {one.tgid} ({one.comm}): {error}")
    if faults:
        return _lost(name, facts, faults)
    if not records:
        return bad(name, "the list of tasks is empty", _remedy(facts))
    return ok(name, f"all {len(records):,} can be found, with their stacks")


def modules(facts: DumpFacts) -> Checked:
    """Check that every module can be found, and has its memory."""
    name, prog = "modules", facts.target.prog
    count = 0
    faults: list[str] = []
    try:
        for module in all_modules(prog):
            title = module_name(module)
            count += 1
            faults += _unread_parts(module, title)
    except (drgn.FaultError, DamagedError) as error:
        return _lost(name, facts, [f"after {count} modules: {error}", *faults])
    if faults:
        return _lost(name, facts, faults, may_be_zeros=_drops_zeros(facts))
    return ok(name, f"all {count:,} can be found, with their memory" if count else "there are none")


def _unread_parts(module: drgn.Object, title: str) -> Iterator[str]:
    """Yield why the first or the last byte of a part of a module cannot be read."""
    for part in module_parts(module):
        if not part.length_bytes or not part.start:
            continue
        for address in (part.start, part.start + part.length_bytes - 1):
            try:
                module.prog_.read(address, 1)
            except drgn.FaultError as error:
                yield f"{part.name} of {title}: {error}"


def slab(facts: DumpFacts) -> Checked:
    """Check that no slab page was left out: the one kind that makedumpfile is known to lose."""
    return _kept(facts, "slab-pages", FrameClass.SLAB, "slab pages")


def tables(facts: DumpFacts) -> Checked:
    """Check that no page was left out that struct page marks as a page table."""
    return _kept(facts, "table-pages", FrameClass.TABLE, "pages of page tables")


def _kept(facts: DumpFacts, name: str, wanted: FrameClass, words: str) -> Checked:
    audit = facts.audit
    if audit.classes is None:
        return unknown(name, f"struct page cannot be read: {audit.missing.get(Need.FRAMES, '')}")
    has = facts.has_page
    chosen = audit.classes.translate(bytes(bool(bits & wanted) for bits in range(256)))
    count = 0
    missing: list[int] = []
    lost = 0
    for found in _MARKED.finditer(chosen):
        count += 1
        if not has(found.start()):
            lost += 1
            if len(missing) < _SHOWN:
                missing.append(found.start())
    return _judge_kept(facts, name, words, count, lost, missing)


def _judge_kept(
    facts: DumpFacts, name: str, words: str, count: int, lost: int, missing: Iterable[int]
) -> Checked:
    if not count:
        return unknown(name, f"struct page names no {words}")
    if not lost:
        return ok(name, f"all {count:,} {words} are in the dump")
    shown = {"first frames": ", ".join(f"0x{pfn:x}" for pfn in missing)}
    what = f"{lost:,} of {count:,} {words} are not in the dump"
    if _drops_zeros(facts):
        return unknown(
            name,
            f"{what}: they were zeros, or they are lost",
            _NO_ELF,
            **shown,
        )
    return bad(name, what, _remedy(facts), **shown)


def _drops_zeros(facts: DumpFacts) -> bool:
    """Return whether pages of zeros may be missing like lost ones.

    In an ELF dump makedumpfile leaves out pages of zeros among others that it leaves out. In a
    kdump-compressed one all of them share one page.
    """
    return facts.head.inner is Form.ELF and (facts.level is None or bool(facts.level & ZERO))


def _lost(
    name: str, facts: DumpFacts, reasons: list[str], *, may_be_zeros: bool = False
) -> Checked:
    """Return the result for data that cannot be read.

    Args:
        name: of the check.
        facts: about the dump.
        reasons: why it cannot be read.
        may_be_zeros: what is missing may have been zeros.
    """
    more = f"; and {len(reasons) - _SHOWN} more" if len(reasons) > _SHOWN else ""
    what = "; ".join(islice(reasons, _SHOWN)) + more
    if may_be_zeros and all(map(_MAYBE.search, reasons)):
        return unknown(
            name, f"pages are missing: they were zeros, or they are lost: {what}", _NO_ELF
        )
    if any(map(_EXCLUDED.search, reasons)):
        return bad(name, f"pages are missing that must not be: {what}", _remedy(facts))
    return bad(name, what, _remedy(facts))


def _remedy(facts: DumpFacts) -> str:
    """Return what to do about missing pages."""
    level = facts.level
    keys = [key for key in KEYS if facts.head.value(key.text)]
    if keys and (level is None or level & USER):
        at = "a level with bit 8" if level is None else f"level {level}"
        sound = sound_level(31 if level is None else level)
        first = keys[0]
        return (
            f"dump again with -d {sound}, or with {first.reads}: an older "
            f"one does not read {first.text}, drops slab pages at {at}, and returns 0"
        )
    return "dump again, at level 0 if you can: these pages cannot be restored"


CHECKS: Final = (
    Check("kernel-tables", kernel_tables),
    Check("task-tables", task_tables),
    Check("tasks", tasks),
    Check("modules", modules),
    Check("slab-pages", slab),
    Check("table-pages", tables),
)
