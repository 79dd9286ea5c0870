# SPDX-License-Identifier: GPL-2.0-or-later
"""Mappings in user address spaces, from the kernel's lists of tasks and VMAs."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeVar

import drgn

from pageproof import arch
from pageproof.errors import PageproofError
from pageproof.find.bounded import Losses
from pageproof.find.bulk import bulk_of
from pageproof.find.bulk.layout import mm_layout
from pageproof.find.bulk.protocol import SpaceRecord, VmaRecord, Vmas
from pageproof.find.process.spaces import (
    BROKEN,
    Space,
    all_spaces,
    no_space,
    space_of,
    spaces_of,
    unreadable_process,
)
from pageproof.find.process.vmafacts import Files, VmaReader
from pageproof.model import MappingFacts, PagingFacts, TaskFault
from pageproof.space.units import PAGE_BYTES

_Picked = TypeVar("_Picked")
_OPS, _FILE = (VmaRecord._fields.index(name) for name in ("vm_ops", "file"))
_POINTER_BYTES: Final = 8
_OFFSET_MASK: Final = PAGE_BYTES - 1
#: Pairs of vm_ops and file that are wanted (""), or why that is not known.
_Pairs = dict[tuple[int, int], str]


@dataclass(frozen=True)
class Mappings:
    """The result of a search: mappings, and tasks that could not be searched completely."""

    found: tuple[MappingFacts, ...]
    faults: tuple[TaskFault, ...]


class Backing(NamedTuple):
    """What a VMA maps: addresses of its operations and of its file; 0 for none."""

    vm_ops: int
    f_op: int
    file: int


@dataclass(frozen=True)
class Wanted:
    """A filter of VMAs.

    Attributes:
        backing: decides by what a VMA maps. It is called once for all VMAs of a look that map the
            same. If it cannot be read (FaultError, ValueError), that is a fault of their tasks.
        vma: decides by the record, for VMAs whose backing is wanted.
    """

    backing: Callable[[Backing], bool] | None = None
    vma: Callable[[VmaRecord], bool] | None = None


class Search:
    """One look at all VMAs, or at those of one process.

    Attributes:
        files: the open files of this look.
        faults: tasks that could not be searched completely, after :meth:`pick`.
        spaces: the address spaces.
        vmas: their VMAs.
    """

    def __init__(self, prog: drgn.Program, paging: PagingFacts, spaces: Sequence[Space]) -> None:
        self._prog, self._paging = prog, paging
        self.faults: list[TaskFault] = []
        self.files = Files(prog)
        self._reader = VmaReader(prog, self.files)
        self.spaces = spaces
        self.vmas: Vmas = bulk_of(prog).vmas([space.mm for space in spaces])

    def pick(
        self, wanted: Wanted, take: Callable[[VmaRecord], _Picked | None]
    ) -> Iterator[tuple[MappingFacts, _Picked]]:
        """Yield the mappings of VMAs that are wanted and taken, by process and address.

        Args:
            wanted: the filter.
            take: called for each VMA that passes; None to leave the VMA out.
        """
        pairs = self._pairs(wanted.backing)
        for space, record in zip(self.spaces, self.vmas.spaces, strict=True):
            if not record.length and not record.lost:
                continue
            losses = Losses()
            yield from self._of_space(space, record, wanted, pairs, take, losses)
            if losses:
                self.faults.append(space.fault(losses))

    def of_space(
        self, space: Space, record: SpaceRecord, wanted: Wanted
    ) -> tuple[tuple[MappingFacts, ...], str]:
        """Return the VMAs of one address space that are wanted, and why others may be missing."""
        losses = Losses()
        pairs = self._pairs(wanted.backing)
        found = self._of_space(space, record, wanted, pairs, lambda vma: True, losses)
        return tuple(mapping for mapping, _ in found), str(losses)

    def _pairs(self, wanted: Callable[[Backing], bool] | None) -> _Pairs | None:
        """Return the pairs of vm_ops and file that are wanted, or why that is not known."""
        if wanted is None:
            return None
        pairs: set[tuple[int, int]] = set()
        for space in self.vmas.spaces:  # one by one, to keep the lists short
            pairs.update(self._pairs_of(space))
        self.files.load(file for _, file in pairs)
        found: _Pairs = {}
        for ops, file in pairs:
            try:
                if wanted(Backing(ops, self.files.f_op(file), file)):
                    found[ops, file] = ""
            except BROKEN as error:
                found[ops, file] = str(error)
        return found

    def _pairs_of(self, space: SpaceRecord) -> Iterator[tuple[int, int]]:
        ops, files = (self.vmas.column(one, space.first, space.length) for one in (_OPS, _FILE))
        return zip(ops, files, strict=True)

    def _of_space(
        self,
        space: Space,
        record: SpaceRecord,
        wanted: Wanted,
        pairs: _Pairs | None,
        take: Callable[[VmaRecord], _Picked | None],
        losses: Losses,
    ) -> Iterator[tuple[MappingFacts, _Picked]]:
        process: MappingFacts | None = None
        for number in self._chosen(record, pairs):
            vma = self.vmas.record(number)
            try:
                if number in self.vmas.faults:
                    raise ValueError(self.vmas.faults[number])
                if pairs is not None and (why := pairs[vma.vm_ops, vma.file]):
                    raise ValueError(why)
                if wanted.vma is not None and not wanted.vma(vma):
                    continue
                taken = take(vma)
                if taken is None:
                    continue
                if process is None:
                    process = as_such(self._prog, self._paging, space, record.pgd)
                yield _with_vma(process, self._reader, vma), taken
            except BROKEN as error:
                losses.add(f"VMA {vma.address:#x}: {error}")
        if record.lost:
            losses.add(record.lost)

    def _chosen(self, space: SpaceRecord, pairs: _Pairs | None) -> Iterator[int]:
        """Yield the numbers of the VMAs with wanted pairs, and of those that cannot be read."""
        if pairs is None:
            yield from range(space.first, space.first + space.length)
            return
        faults = self.vmas.faults
        for number, pair in enumerate(self._pairs_of(space), space.first):
            if pair in pairs or (faults and number in faults):
                yield number


def _with_vma(process: MappingFacts, reader: VmaReader, vma: VmaRecord) -> MappingFacts:
    return MappingFacts(
        process.pid,
        process.comm,
        process.threads,
        process.other_pids,
        process.mm,
        process.root,
        process.kernel_half_root,
        reader.facts(vma),
    )


def find_mappings(
    prog: drgn.Program, paging: PagingFacts, fops: int, pid: int | None = None
) -> Mappings:
    """Find every VMA of every process whose file has the given file operations.

    Threads that share an address space are one mapping, with the name of their group's leader. An
    error in one task is recorded and the search continues.

    Args:
        prog: the target.
        paging: its paging form.
        fops: address of ``struct file_operations``.
        pid: only the address space of this process.
    """
    return search(prog, paging, Wanted(backing=lambda one: one.f_op == fops), pid)


def search(
    prog: drgn.Program, paging: PagingFacts, wanted: Wanted, pid: int | None = None
) -> Mappings:
    """Find every VMA that is ``wanted``, in order of process and address."""
    faults: list[TaskFault] = []
    look = Search(prog, paging, spaces_of(prog, pid, faults))
    found = [mapping for mapping, _ in look.pick(wanted, lambda vma: True)]
    found.sort(key=in_order)
    return Mappings(tuple(found), (*faults, *look.faults))


def in_order(mapping: MappingFacts) -> tuple[int, int]:
    """Return the key to sort mappings by process and address."""
    return mapping.pid, mapping.vma.start if mapping.vma else 0


def mapping_at(prog: drgn.Program, paging: PagingFacts, pid: int, address: int) -> MappingFacts:
    """Return the mapping of one process at an address; without a VMA if none covers it.

    Raises:
        PageproofError: there is no such process, or it has no address space.
        TornError: no VMA was found, and some VMAs cannot be read.
    """
    found, lost = process_at(prog, paging, pid, address)
    if lost:
        raise unreadable_process(pid, lost)
    return found


def process_at(
    prog: drgn.Program, paging: PagingFacts, pid: int, address: int
) -> tuple[MappingFacts, str]:
    """Return the mapping of one process at an address; without a VMA if none is found.

    Returns:
        The mapping, and why its VMA is not known. The reason is "" if the VMA is known, or if it is
        known that there is none.

    Raises:
        PageproofError: there is no such process, or it has no address space.
        TornError: the address space cannot be read.
    """
    seen = processes(prog, paging, {pid: [address]})[pid]
    if isinstance(seen, PageproofError):
        raise seen
    return seen.at(address)


@dataclass(frozen=True)
class Process:
    """An address space and some of its VMAs.

    Attributes:
        facts: the address space, without a VMA.
        vmas: a mapping for each VMA, in order of address.
        lost: why VMAs may be missing; "" if none is.
    """

    facts: MappingFacts
    vmas: tuple[MappingFacts, ...]
    lost: str

    def at(self, address: int) -> tuple[MappingFacts, str]:
        """Return the mapping at an address; without a VMA, and with the reason, if none is found.

        The reason is "" if it is known that there is none.
        """
        number = bisect_right(self.vmas, address, key=lambda one: one.vma.start if one.vma else 0)
        if number:
            found = self.vmas[number - 1]
            if found.vma is not None and address < found.vma.end:
                return found, ""
        return self.facts, self.lost


def processes(
    prog: drgn.Program, paging: PagingFacts, places: Mapping[int, Sequence[int] | None]
) -> dict[int, Process | PageproofError]:
    """Return processes, with the VMAs at some addresses, in one look.

    Args:
        prog: the target.
        paging: its paging form.
        places: addresses by pid; None for all VMAs of the process.

    Returns:
        By pid, a process; or the error why there is none (PageproofError), or why it cannot be read
        (TornError).
    """
    spaces: dict[int, Space] = {}
    found: dict[int, Process | PageproofError] = {}
    faults: list[TaskFault] = []
    everything = all_spaces(prog, faults)
    by_pid = {pid: space for space in reversed(everything) for pid in space.groups}
    for pid in places:
        if pid in by_pid:
            spaces[pid] = by_pid[pid]
        else:
            found[pid] = no_space(prog, pid, faults)
    look = Search(prog, paging, list(spaces.values()))
    for (pid, space), record in zip(spaces.items(), look.vmas.spaces, strict=True):
        try:
            facts = as_such(prog, paging, space, record.pgd)
        except BROKEN as error:
            found[pid] = unreadable_process(pid, record.lost or str(error))
            continue
        vmas, lost = look.of_space(space, record, _covering(places[pid]))
        found[pid] = Process(facts, vmas, lost)
    return found


def _covering(addresses: Sequence[int] | None) -> Wanted:
    """Return the filter for VMAs that cover one of the addresses; None for all VMAs."""
    if addresses is None:
        return Wanted()
    places = sorted(addresses)

    def covers(vma: VmaRecord) -> bool:
        number = bisect_left(places, vma.start)
        return number < len(places) and places[number] < vma.end

    return Wanted(vma=covers)


def check_process(prog: drgn.Program, pid: int) -> None:
    """Raise PageproofError if there is no such process, or if it has no address space.

    Raises:
        TornError: the list of tasks cannot be read to the end.
    """
    space_of(prog, pid)


def address_spaces(prog: drgn.Program, paging: PagingFacts) -> Mappings:
    """Find every address space, without its VMAs, in order of process."""
    faults: list[TaskFault] = []
    found = []
    spaces = all_spaces(prog, faults)
    pgd_field = mm_layout(prog).pgd, _POINTER_BYTES
    rows = bulk_of(prog).gather([space.mm for space in spaces], (pgd_field,))
    for number, (space, pgd) in enumerate(zip(spaces, rows.column(0), strict=True)):
        try:
            if number in rows.faults:
                raise ValueError(rows.faults[number])
            found.append(as_such(prog, paging, space, pgd))
        except BROKEN as error:
            faults.append(space.fault(error))
    return Mappings(tuple(found), tuple(faults))


def address_space(
    prog: drgn.Program, paging: PagingFacts, pid: int
) -> tuple[MappingFacts, tuple[MappingFacts, ...], str]:
    """Return a process's address space and its VMAs.

    Returns:
        The address space without a VMA; one mapping for each VMA that can be read; and why others
        are missing, "" if none is.

    Raises:
        PageproofError: there is no such process, or it has no address space.
        TornError: the address space cannot be read.
    """
    seen = processes(prog, paging, {pid: None})[pid]
    if isinstance(seen, PageproofError):
        raise seen
    return seen.facts, seen.vmas, seen.lost


def as_such(prog: drgn.Program, paging: PagingFacts, space: Space, pgd: int) -> MappingFacts:
    """Return an address space without a VMA.

    Args:
        prog: the target.
        paging: its paging form.
        space: the address space.
        pgd: virtual address of its topmost table.

    Raises:
        ValueError: the data is not valid: it was created or freed while it was read.
    """
    root = pgd - paging.page_offset_base
    if root & _OFFSET_MASK or root <= 0:
        raise ValueError(f"page tables at physical address {root:#x} are not valid")
    leader = space.leader
    return MappingFacts(
        pid=leader,
        comm=space.groups[leader],
        threads=space.threads,
        other_pids=tuple(sorted(group for group in space.groups if group != leader)),
        mm=space.mm,
        root=arch.of_program(prog).user_root(root) if paging.pti else root,
        kernel_half_root=root,
        vma=None,
    )
