# SPDX-License-Identifier: GPL-2.0-or-later
"""Address spaces that are freed while they are read."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, cast

import drgn
import pytest
from unit.facts import PAGING

from pageproof.errors import TornError
from pageproof.find.bounded import DamagedError
from pageproof.find.process import mappings
from pageproof.model import TaskFault

PID, MM, ROOT, TASK = 7, 0x1000, 0x5000, 0x9000


def of_a_process(pgd: int, monkeypatch: pytest.MonkeyPatch) -> drgn.Program:
    """Set up a target with one process whose mm_struct has this pgd."""
    prog = drgn.Program(drgn.Platform(drgn.Architecture.X86_64))
    prog.add_memory_segment(MM, 8, lambda *_: struct.pack("<Q", pgd))
    word = prog.int_type("unsigned long", 8, False)
    kind = prog.struct_type("mm_struct", 8, [drgn.TypeMember(word, "pgd")])
    mm = drgn.Object(prog, prog.pointer_type(kind), MM)
    space = mappings._Space(mm, {PID: "gone"}, 1)
    monkeypatch.setattr(mappings, "_spaces", lambda *_: iter([space]))
    return prog


def test_an_address_space(monkeypatch: pytest.MonkeyPatch) -> None:
    prog = of_a_process(PAGING.page_offset_base + ROOT, monkeypatch)
    (found,) = mappings.address_spaces(prog, PAGING).found
    assert (found.pid, found.mm, found.kernel_half_root) == (PID, MM, ROOT)


@pytest.mark.parametrize(
    "pgd", [0, *(PAGING.page_offset_base + offset for offset in (0, -ROOT, ROOT + 8))]
)
def test_one_whose_tables_make_no_sense(pgd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    prog = of_a_process(pgd, monkeypatch)
    seen = mappings.address_spaces(prog, PAGING)
    assert (seen.found, [one.pid for one in seen.faults]) == ((), [PID])
    monkeypatch.setattr(mappings, "for_each_vma", lambda mm: iter(()))
    with pytest.raises(TornError, match=f"process {PID} can't be read: page tables at"):
        mappings.address_space(prog, PAGING, PID)


def damaged(_: object) -> Iterator[drgn.Object]:
    yield from ()
    raise DamagedError("only 0 of 3 VMAs (mm->map_count) were found")


def test_an_address_in_a_tree_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A VMA that was not found may still exist."""
    prog = of_a_process(PAGING.page_offset_base + ROOT, monkeypatch)
    monkeypatch.setattr(mappings, "for_each_vma", damaged)
    with pytest.raises(TornError, match=f"process {PID} can't be read: only 0 of 3 VMAs"):
        mappings.mapping_at(prog, PAGING, PID, 0x1000)
    found, lost = mappings.process_at(prog, PAGING, PID, 0x1000)
    assert (found.vma, lost) == (None, "only 0 of 3 VMAs (mm->map_count) were found")
    monkeypatch.setattr(mappings, "for_each_vma", lambda _: iter(()))
    assert mappings.mapping_at(prog, PAGING, PID, 0x1000).vma is None
    assert mappings.process_at(prog, PAGING, PID, 0x1000) == (found, "")


def test_a_vma_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other VMAs are still found."""
    prog = of_a_process(PAGING.page_offset_base + ROOT, monkeypatch)
    kind = prog.int_type("unsigned long", 8, False)
    vmas = [drgn.Object(prog, kind, number) for number in (1, 2, 3)]

    def facts(_: object, vma: drgn.Object) -> int:
        if vma.value_() == 2:
            raise drgn.FaultError("address is not mapped", 2)
        return int(vma.value_())

    monkeypatch.setattr(mappings, "for_each_vma", lambda _: iter(vmas))
    monkeypatch.setattr(mappings, "_vma", facts)
    _, found, lost = mappings.address_space(prog, PAGING, PID)
    assert [cast(Any, one.vma) for one in found] == [1, 3]
    assert lost == "VMA 0x2: address is not mapped: 0x2"


@pytest.mark.parametrize("exited", [True, False])
def test_a_task_whose_memory_was_reused(exited: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads as zeros, so that its group leader is at NULL: no fault if it has exited."""
    prog = drgn.Program(drgn.Platform(drgn.Architecture.X86_64))
    prog.add_memory_segment(TASK, 32, lambda _, count, *more: bytes(count))
    word = prog.int_type("int", 4, True)
    name = prog.array_type(prog.int_type("char", 1, True), 8)
    inner = prog.struct_type("leader", 8, [drgn.TypeMember(name, "comm")])
    members = [
        drgn.TypeMember(word, "tgid"),
        drgn.TypeMember(prog.pointer_type(inner), "group_leader", 64),
        drgn.TypeMember(prog.pointer_type(word), "mm", 128),
    ]
    kind = prog.pointer_type(prog.struct_type("task", 32, members))
    task = drgn.Object(prog, kind, TASK)
    looks = iter([[task], [] if exited else [task]])
    monkeypatch.setattr(mappings, "all_tasks", lambda _: (next(looks), ""))
    faults: list[TaskFault] = []
    assert list(mappings._spaces(prog, None, faults)) == []
    assert [(one.pid, one.comm) for one in faults] == ([] if exited else [(0, "?")])
