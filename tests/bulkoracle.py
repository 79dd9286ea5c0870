# SPDX-License-Identifier: GPL-2.0-or-later
"""The engine's bulk reader against drgn's helpers, on all that a target which holds still has."""

import time
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise

import drgn
import pageproof_pagewalk as engine
from drgn import Object, offsetof, sizeof
from drgn.helpers.linux.fs import for_each_file
from drgn.helpers.linux.mm import for_each_vma
from drgn.helpers.linux.pid import for_each_task
from drgn.helpers.linux.xarray import xa_for_each

from pageproof.arch import Paging
from pageproof.arch.engine import engine_walker
from pageproof.attach import Target
from pageproof.model import MemoryGap, PagingFacts

PAGE_BYTES = 4096
VMA_MEMBERS = (
    "vm_start",
    "vm_end",
    "vm_pgoff",
    "vm_flags",
    "vm_page_prot.pgprot",
    "vm_ops",
    "vm_file",
)
VMA_WIDTH = engine.VMA_WORDS + len(VMA_MEMBERS)


@dataclass(frozen=True)
class Bulk:
    """A bulk reader of a target, with its layouts.

    Attributes:
        reads: number of reads that were not from direct memory.
    """

    prog: drgn.Program
    structures: engine.Structures
    reads: list[int]

    def vmas(self, mms: Sequence[int], *, still: bool = False) -> tuple[memoryview, ...]:
        mm, vma = self.prog.type("struct mm_struct"), self.prog.type("struct vm_area_struct")
        tree: int | tuple[tuple[int, int, int, int], tuple[int, int, int, int]]
        try:
            first, tree = offsetof(mm, "mm_mt.ma_root"), (self._node("range"), self._node("arange"))
        except LookupError:
            first, tree = offsetof(mm, "mmap"), offsetof(vma, "vm_next")
        fields = tuple((offsetof(vma, member), 8) for member in VMA_MEMBERS)
        layout = offsetof(mm, "pgd"), offsetof(mm, "map_count"), first, tree, fields
        return self.structures.vmas(array("Q", mms), layout, still=still)

    def _node(self, name: str) -> tuple[int, int, int, int]:
        kind = self.prog.type(f"struct maple_{name}_64")
        pivots = kind.member("pivot").type.length
        assert pivots
        return offsetof(kind, "pivot"), pivots, offsetof(kind, "slot"), offsetof(kind, "meta.end")

    def xarray(self, xa: Object, step: int = 0) -> list[tuple[int, int, int]]:
        kind = self.prog.type("struct xa_node")
        count = kind.member("slots").type.length
        assert count
        layout = offsetof(kind, "shift"), offsetof(kind, "slots"), count
        runs, losses, lost = self.structures.xarray(xa.xa_head.address_, layout, step)
        assert (list(losses), lost) == ([], 0)
        return [(a, b, c) for a, b, c in zip(runs[::3], runs[1::3], runs[2::3], strict=True)]


def bulk_of(target: Target, form: Paging, paging: PagingFacts) -> Bulk:
    """Make a bulk reader as pageproof does."""
    reads = [0]

    def read(paddr: int, length: int) -> bytes | int:
        reads[0] += 1
        try:
            return target.reader.read_physical(paddr, length)
        except MemoryGap as gap:
            return engine.KINDS.index(gap.outcome.value)

    walker = engine_walker(form, read, target.reader.direct_memory())
    first = paging.page_offset_base
    last = first + target.prog["max_pfn"].value_() * PAGE_BYTES - 1
    return Bulk(target.prog, engine.Structures(walker, paging.kernel_root, (first, last, 0)), reads)


@dataclass(frozen=True)
class Speed:
    """CPU time of both for the same VMAs: others work on the machine."""

    vmas: int
    drgn_seconds: float
    bulk_seconds: float

    def __str__(self) -> str:
        ours, theirs = self.vmas / self.bulk_seconds, self.vmas / self.drgn_seconds
        return f"{self.vmas} VMAs: {theirs:,.0f}/s with drgn, {ours:,.0f}/s in bulk"


def vmas_are_drgns(bulk: Bulk) -> Speed:
    """Compare every VMA of every process."""
    mms = {task.mm.value_(): task.mm for task in for_each_task(bulk.prog) if task.mm}
    start = time.process_time()
    wanted = [(mm, [_words(vma) for vma in for_each_vma(mms[mm])]) for mm in mms]
    middle = time.process_time()
    heads, vmas, faults, losses = bulk.vmas(list(mms))
    end = time.process_time()
    assert (len(faults), len(losses)) == (0, 0)
    rows = list(_rows(vmas, VMA_WIDTH))
    for number, (mm, theirs) in enumerate(wanted):
        at = number * engine.MM_WORDS
        address, pgd, before, after, first, count, lost, walks = heads[at : at + engine.MM_WORDS]
        assert (address, pgd, lost, walks) == (mm, mms[mm].pgd.value_(), 0, 2)
        assert (before, count) == (after, len(theirs))
        # The guest may have been stopped while a task changed the list, and holds the lock.
        assert before == count or mms[mm].mmap_lock.count.counter.value_() != 0
        assert rows[first : first + count] == [(number, *one) for one in theirs]
    assert len(rows) == sum(len(theirs) for _, theirs in wanted)
    assert list(bulk.vmas(list(mms), still=True)[1]) == list(vmas)
    return Speed(len(rows), middle - start, end - middle)


def _words(vma: Object) -> tuple[int, ...]:
    members = (reduce(getattr, path.split("."), vma) for path in VMA_MEMBERS)
    return vma.value_(), *(member.value_() for member in members)


def _rows(words: memoryview, width: int) -> Iterator[tuple[int, ...]]:
    return zip(*(words[number::width] for number in range(width)), strict=True)


def tasks_are_drgns(bulk: Bulk) -> int:
    """Compare fields of every task, and the tree of PIDs with their list."""
    prog = bulk.prog
    kind = prog.type("struct task_struct")
    sizes = {"pid": 4, "tgid": 4, "flags": 4, "mm": 8, "group_leader": 8}
    fields = tuple((offsetof(kind, name), size) for name, size in sizes.items())
    tasks = list(for_each_task(prog))
    rows, faults = bulk.structures.gather(array("Q", [one.value_() for one in tasks]), fields)
    assert len(faults) == 0
    assert list(_rows(rows, len(fields))) == [
        tuple(getattr(task, name).value_() for name in sizes) for task in tasks
    ]
    pids = prog["init_pid_ns"].idr.idr_rt.address_of_()
    runs = bulk.xarray(pids)
    assert [(index, entry) for index, _, entry in runs] == _entries(pids)
    assert all(count == 1 for _, count, _ in runs)
    assert {task.pid.value_() for task in tasks} - {0} <= {index for index, _, _ in runs}
    return len(tasks)


def _entries(xa: Object) -> list[tuple[int, int]]:
    return [(index, entry.value_()) for index, entry in xa_for_each(xa)]


def page_caches_are_drgns(bulk: Bulk, limit: int) -> int:
    """Compare page caches of files that processes have open or mapped."""
    caches = _caches(bulk.prog)
    step = sizeof(bulk.prog.type("struct page"))
    pages = 0
    for cache in list(caches.values())[:limit]:
        theirs = _entries(cache)
        ours = bulk.xarray(cache)
        assert [(index, entry) for index, _, entry in ours] == theirs
        # An entry for several indices ends before the next one begins.
        assert all(one[0] + one[1] <= other[0] for one, other in pairwise(ours))
        assert list(_expanded(bulk.xarray(cache, step), step)) == list(_expanded(ours, step))
        pages += sum(count for _, count, _ in ours)
    assert len(caches) > 0
    return pages


def _expanded(runs: list[tuple[int, int, int]], step: int) -> Iterator[tuple[int, int]]:
    for index, count, entry in runs:
        for number in range(count):
            yield index + number, entry if entry & 3 else entry + number * step


def _caches(prog: drgn.Program) -> dict[int, Object]:
    """Return ``struct xarray *`` of the files, by address."""
    found: dict[int, Object] = {}
    for task in for_each_task(prog):
        if not task.mm:
            continue
        files = [vma.vm_file for vma in for_each_vma(task.mm) if vma.vm_file]
        files += [file for _, file in for_each_file(task)]
        for file in files:
            xarray = file.f_mapping.i_pages.address_of_()
            found.setdefault(xarray.value_(), xarray)
    return found


def kernel_symbols_are_drgns(bulk: Bulk) -> None:
    """Compare memory outside the direct map: the kernel's image, and stacks in vmalloc memory."""
    prog = bulk.prog
    addresses = [prog["init_task"].address_of_().value_(), prog["init_mm"].address_of_().value_()]
    addresses += [task.stack.value_() for task in for_each_task(prog)]
    offsets = (0, 4088, 4096)
    rows, faults = bulk.structures.gather(array("Q", addresses), tuple((at, 8) for at in offsets))
    # makedumpfile -d 31 omits pages of zeros, and drgn reads them in an ELF dump.
    omitted = {row: kind for row, _, kind in zip(*[iter(faults)] * 3, strict=True)}
    assert {engine.KINDS[kind] for kind in omitted.values()} <= {"excluded"}
    seen = [row for number, row in enumerate(_rows(rows, 3)) if number not in omitted]
    there = [address for number, address in enumerate(addresses) if number not in omitted]
    assert seen == [tuple(prog.read_u64(at + offset) for offset in offsets) for at in there]
    assert len(there) > len(addresses) // 2


def compare(bulk: Bulk, caches: int) -> Speed:
    """Run all comparisons."""
    speed = vmas_are_drgns(bulk)
    assert tasks_are_drgns(bulk) > 10
    assert page_caches_are_drgns(bulk, caches) > 1000
    kernel_symbols_are_drgns(bulk)
    return speed
