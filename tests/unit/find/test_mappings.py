# SPDX-License-Identifier: GPL-2.0-or-later
"""Address spaces and VMAs that change or are freed while they are read."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import drgn
import pytest
from unit.facts import PAGING

from pageproof.errors import PageproofError, TornError
from pageproof.find.bulk import protocol
from pageproof.find.bulk.layout import MmLayout
from pageproof.find.bulk.protocol import Field, Rows, Run, SpaceRecord, VmaRecord, Vmas
from pageproof.find.process import mappings, spaces, tasks
from pageproof.find.process.spaces import Space
from pageproof.find.process.tasks import TaskRecord
from pageproof.model import TaskFault

PID, MM, ROOT, PAGE = 7, 0x1000, 0x5000, 0x1000
PGD = PAGING.page_offset_base + ROOT
TASK = TaskRecord(0x9000, PID, MM, "gone", 0, "")


def vma(number: int, start: int = 0, file: int = 0) -> VmaRecord:
    start = start or number * 2 * PAGE
    return VmaRecord(0, number, start, start + PAGE, 0, 3, 0, 0, file, 0)


@dataclass
class FakeBulk:
    """A target with one process."""

    pgd: int = PGD
    vmas_: Sequence[VmaRecord] = ()
    lost: str = ""
    faults: dict[int, str] = field(default_factory=dict)

    def gather(self, addresses: Sequence[int], fields: Sequence[Field]) -> Rows:
        """Give the pgd of each mm."""
        assert set(addresses) <= {MM}
        return Rows(memoryview(array("Q", [self.pgd] * len(addresses))), 1, self.faults)

    def vmas(self, mms: Sequence[int], *, once: bool = False) -> Vmas:
        """Give the VMAs of the only mm."""
        assert list(mms) == [MM]
        words = memoryview(array("Q", [word for one in self.vmas_ for word in one]))
        space = SpaceRecord(MM, self.pgd, 0, len(self.vmas_), self.lost)
        return Vmas([space], words, self.faults)

    def vmas_in_parts(self, parts: Iterable[Sequence[int]]) -> Iterator[Vmas]:
        """Give the VMAs of the only mm, in one part."""
        return map(self.vmas, parts)

    def xarray(self, head: int, step: int = 0, max_nodes: int = 0) -> tuple[list[Run], str]:
        """Not used."""
        raise AssertionError(head)


def of_a_process(monkeypatch: pytest.MonkeyPatch, bulk: protocol.Bulk) -> drgn.Program:
    """Set up a target with one process."""
    prog = drgn.Program(drgn.Platform(drgn.Architecture.X86_64))
    prog.cache["pageproof.bulk"] = bulk
    layout = MmLayout(0, 0, 0, None, 0, ())
    monkeypatch.setattr(mappings, "mm_layout", lambda _: layout)
    monkeypatch.setattr(spaces, "read_tasks", lambda _: ([TASK], ""))
    return prog


def test_an_address_space(monkeypatch: pytest.MonkeyPatch) -> None:
    prog = of_a_process(monkeypatch, FakeBulk())
    (found,) = mappings.address_spaces(prog, PAGING).found
    assert (found.pid, found.mm, found.kernel_half_root) == (PID, MM, ROOT)


@pytest.mark.parametrize(
    "pgd", [0, *(PAGING.page_offset_base + offset for offset in (0, -ROOT, ROOT + 8))]
)
def test_one_whose_tables_make_no_sense(pgd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    prog = of_a_process(monkeypatch, FakeBulk(pgd))
    seen = mappings.address_spaces(prog, PAGING)
    assert (seen.found, [one.pid for one in seen.faults]) == ((), [PID])
    with pytest.raises(TornError, match=f"process {PID} can't be read: page tables at"):
        mappings.address_space(prog, PAGING, PID)


def test_one_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    prog = of_a_process(monkeypatch, FakeBulk(0, (), "memory at 0x1000", {0: "no memory"}))
    seen = mappings.address_spaces(prog, PAGING)
    assert seen == mappings.Mappings((), (TaskFault(PID, "gone", "no memory"),))
    with pytest.raises(TornError, match=f"process {PID} can't be read: memory at 0x1000"):
        mappings.address_space(prog, PAGING, PID)


def test_an_address_in_a_tree_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A VMA that was not found may still exist."""
    why = "only 1 of 3 VMAs (mm->map_count) were found"
    bulk = FakeBulk(vmas_=[vma(1)], lost=why)
    prog = of_a_process(monkeypatch, bulk)
    with pytest.raises(TornError, match=f"process {PID} can't be read: only 1 of 3 VMAs"):
        mappings.mapping_at(prog, PAGING, PID, PAGE)
    found, lost = mappings.process_at(prog, PAGING, PID, PAGE)
    assert (found.vma, lost) == (None, why)
    bulk.lost = ""
    assert mappings.mapping_at(prog, PAGING, PID, PAGE).vma is None
    assert mappings.process_at(prog, PAGING, PID, PAGE) == (found, "")


def test_an_address_in_a_vma(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first and the last byte; not the bytes around. A lost VMA elsewhere does not matter."""
    prog = of_a_process(monkeypatch, FakeBulk(vmas_=[vma(1), vma(2)], lost="others"))
    for address, inside in (
        (2 * PAGE - 1, False),
        (2 * PAGE, True),
        (3 * PAGE - 1, True),
        (3 * PAGE, False),
    ):
        found, lost = mappings.process_at(prog, PAGING, PID, address)
        assert ((found.vma is not None), lost) == (inside, "" if inside else "others"), address


def test_several_addresses_of_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only VMAs at the addresses are read; another process is not there."""
    prog = of_a_process(monkeypatch, FakeBulk(vmas_=[vma(1), vma(2), vma(3)]))
    monkeypatch.setattr(spaces, "find_task", lambda *_: None)
    seen = mappings.processes(prog, PAGING, {PID: [6 * PAGE, 2 * PAGE, 2 * PAGE + 1], 8: [PAGE]})
    process, missing = seen[PID], seen[8]
    assert isinstance(process, mappings.Process)
    assert [one.vma.vma for one in process.vmas if one.vma] == [1, 3]
    assert [process.at(address)[0].vma is None for address in (0, 4 * PAGE)] == [True, True]
    assert isinstance(missing, PageproofError)
    assert str(missing).startswith("there is no process 8")


def test_a_vma_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other VMAs are still found."""
    bulk = FakeBulk(vmas_=[vma(1), vma(2), vma(3)], faults={1: "address is not mapped: 0x2"})
    _, found, lost = mappings.address_space(of_a_process(monkeypatch, bulk), PAGING, PID)
    assert [one.vma.vma for one in found if one.vma] == [1, 3]
    assert lost == "VMA 0x2: address is not mapped: 0x2"


def test_a_vma_that_makes_no_sense(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its memory was reused. The losses of the walk are reported too."""
    bulk = FakeBulk(vmas_=[vma(1), vma(2)._replace(end=PAGE)], lost="the VMAs keep changing")
    _, found, lost = mappings.address_space(of_a_process(monkeypatch, bulk), PAGING, PID)
    assert [one.vma.vma for one in found if one.vma] == [1]
    assert lost == "VMA 0x2: a VMA from 0x4000 to 0x1000 is not valid; the VMAs keep changing"


def test_a_search_asks_once_for_what_vmas_map(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def wanted(one: mappings.Backing) -> bool:
        asked.append(one)
        return one.vm_ops == 5

    first, second = vma(1)._replace(vm_ops=5), vma(3)._replace(vm_ops=5)
    other = vma(2)._replace(vm_ops=6)
    monkeypatch.setattr("pageproof.find.process.vmafacts.Files.load", lambda *_: None)
    monkeypatch.setattr(
        "pageproof.find.process.vmafacts.VmaReader._of_operations", lambda *_: ("ops", (), True)
    )
    prog = of_a_process(monkeypatch, FakeBulk(vmas_=[first, other, second]))
    seen = mappings.search(prog, PAGING, mappings.Wanted(wanted))
    assert [one.vma.vma for one in seen.found if one.vma] == [1, 3]
    assert sorted(one.vm_ops for one in asked) == [5, 6]
    only = mappings.Wanted(wanted, lambda one: one.address != 1)
    assert [one.vma.vma for one in mappings.search(prog, PAGING, only).found if one.vma] == [3]


def test_a_search_of_something_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a fault of the tasks that have it, and the other VMAs are found."""

    def wanted(one: mappings.Backing) -> bool:
        if one.vm_ops == 6:
            raise ValueError("no such memory")
        return one.vm_ops == 5

    monkeypatch.setattr("pageproof.find.process.vmafacts.Files.load", lambda *_: None)
    monkeypatch.setattr(
        "pageproof.find.process.vmafacts.VmaReader._of_operations", lambda *_: ("ops", (), True)
    )
    vmas = [vma(1)._replace(vm_ops=6), vma(2)._replace(vm_ops=5), vma(3)]
    prog = of_a_process(monkeypatch, FakeBulk(vmas_=vmas))
    seen = mappings.search(prog, PAGING, mappings.Wanted(wanted))
    assert [one.vma.vma for one in seen.found if one.vma] == [2]
    assert seen.faults == (TaskFault(PID, "gone", "VMA 0x1: no such memory"),)


@pytest.mark.parametrize("exited", [True, False])
def test_a_task_whose_memory_was_reused(exited: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads as zeros, so that its group leader is at NULL: no fault if it has exited."""
    prog = drgn.Program(drgn.Platform(drgn.Architecture.X86_64))

    class Zeros(FakeBulk):
        def gather(self, addresses: Sequence[int], fields: Sequence[Field]) -> Rows:
            words = array("Q", [0] * len(addresses) * len(fields))
            return Rows(memoryview(words), len(fields), {})

    prog.cache["pageproof.bulk"] = Zeros()
    layout = tasks._Layout(0, 0, ((0, 4), (8, 8), (16, 8), (24, 8)), ((0, 8), (8, 8)))
    monkeypatch.setattr(tasks, "_layout", lambda _: layout)
    looks = iter([[TASK.address], [] if exited else [TASK.address]])
    for room in (tasks, spaces):
        monkeypatch.setattr(room, "task_addresses", lambda _: (next(looks), ""))
    faults: list[TaskFault] = []
    assert spaces.all_spaces(prog, faults) == []
    assert faults == ([] if exited else [TaskFault(0, "?", "it has no group leader")])


def test_threads_and_processes_of_an_address_space(monkeypatch: pytest.MonkeyPatch) -> None:
    """After vfork() two groups have one; the lowest number names it. A kernel thread has none."""
    listed = [
        TASK._replace(address=1, tgid=9, comm="child"),
        TASK._replace(address=2, tgid=2, comm="kthread", mm=0),
        TASK._replace(address=3),
        TASK._replace(address=4),
        TASK._replace(address=5, tgid=8, comm="other", mm=MM + 8),
    ]
    monkeypatch.setattr(spaces, "read_tasks", lambda _: (listed, "more PIDs"))
    faults: list[TaskFault] = []
    prog = drgn.Program(drgn.Platform(drgn.Architecture.X86_64))
    found = spaces.all_spaces(prog, faults)
    assert found == [Space(MM, {9: "child", 7: "gone"}, 3), Space(MM + 8, {8: "other"}, 1)]
    assert faults == [TaskFault(0, "?", "the list of tasks: more PIDs")]
