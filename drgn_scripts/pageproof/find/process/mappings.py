# SPDX-License-Identifier: GPL-2.0-or-later
"""Mappings in user address spaces, from the kernel's lists of tasks and VMAs."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple, TypeVar

import drgn

from pageproof import arch
from pageproof.errors import PageproofError, TornError
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
from pageproof.find.process.vmafacts import ALL_ZEROS, Files, VmaReader
from pageproof.model import MappingFacts, PagingFacts, TaskFault
from pageproof.model.quick import quick
from pageproof.space.units import PAGE_BYTES

#: What identifies a mapping: its process and mm, the root of the tables, start, end and pgoff.
MappingKey = tuple[int, int, int, int, int, int]

_Picked = TypeVar("_Picked")
_Made = TypeVar("_Made")
_START, _END, _OPS, _FILE = (
    VmaRecord._fields.index(name) for name in ("start", "end", "vm_ops", "file")
)
_POINTER_BYTES: Final = 8
_OFFSET_MASK: Final = PAGE_BYTES - 1
#: By vm_ops and file, whether VMAs are wanted: "" or None; or why that is not known.
_Pairs = dict[tuple[int, int], str | None]
#: Address spaces whose VMAs are read at a time.
_PART: Final = 256
_mapping: Final = quick(MappingFacts)


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


@dataclass(frozen=True)
class _Part:
    """Some address spaces of a look, by their number in it, and their VMAs."""

    numbers: range
    vmas: Vmas


class Search:
    """One look at the VMAs of address spaces.

    Attributes:
        files: the open files of this look.
        faults: tasks that could not be searched completely, after :meth:`pick`.
        is_sorted: after :meth:`pick`, whether it yielded in order of process and address. It does,
            unless the kernel's data is damaged or changes.
        spaces: the address spaces.
    """

    def __init__(self, prog: drgn.Program, paging: PagingFacts, spaces: Sequence[Space]) -> None:
        self._prog, self._paging = prog, paging
        self.faults: list[TaskFault] = []
        #: A running kernel may fill a structure while it is read.
        self._still = not prog.flags & drgn.ProgramFlags.IS_LIVE
        self.files = Files(prog)
        self._reader = VmaReader(prog, self.files)
        self.spaces = spaces
        leaders = [space.leader for space in spaces]
        self.is_sorted = all(one < other for one, other in pairwise(leaders))

    def pick(
        self, wanted: Wanted, take: Callable[[int, VmaRecord], _Picked | None]
    ) -> Iterator[tuple[MappingFacts, _Picked]]:
        """Yield the mappings of VMAs that are wanted and taken.

        Args:
            wanted: the filter.
            take: called with the number of the address space, for each VMA that passes; None to
                leave the VMA out.
        """
        return self._pick(wanted, take, self._with_vma)

    def pick_keys(
        self, wanted: Wanted, take: Callable[[int, VmaRecord], _Picked | None]
    ) -> Iterator[tuple[MappingKey, _Picked]]:
        """Yield what identifies the mappings that :meth:`pick` yields, without their facts."""
        return self._pick(wanted, take, _key)

    def _pick(
        self,
        wanted: Wanted,
        take: Callable[[int, VmaRecord], _Picked | None],
        make: Callable[[MappingFacts, VmaRecord], _Made],
    ) -> Iterator[tuple[_Made, _Picked]]:
        decided: _Pairs = {}
        for part in self._parts():
            self._decide(part.vmas, wanted.backing, decided)
            for number, record in zip(part.numbers, part.vmas.spaces, strict=True):
                losses = Losses()
                if not record.length and not record.lost:
                    if self._still and not record.pgd:
                        losses.add(f"{ALL_ZEROS}: its mm_struct has no page table")
                        self.faults.append(self.spaces[number].fault(losses))
                    continue
                starts = part.vmas.column(_START, record.first, record.length)
                self.is_sorted = self.is_sorted and starts == sorted(starts)
                if self._still and 0 in starts and _has_zeros(part.vmas, record):
                    losses.add(f"{ALL_ZEROS}: a VMA ends at address 0")
                yield from self._of_space(
                    number, record, part.vmas, wanted, decided, take, make, losses
                )
                if losses:
                    self.faults.append(self.spaces[number].fault(losses))

    def processes(self, wanted: Sequence[Wanted]) -> Iterator[Process | TornError]:
        """Yield each address space with the VMAs that are wanted, or why it cannot be read.

        Args:
            wanted: a filter by record for each address space.
        """
        for part in self._parts():
            for number, record in zip(part.numbers, part.vmas.spaces, strict=True):
                space, losses = self.spaces[number], Losses()
                try:
                    facts = as_such(self._prog, self._paging, space, record.pgd)
                except BROKEN as error:
                    yield unreadable_process(space.leader, record.lost or str(error))
                    continue
                found = self._of_space(
                    number,
                    record,
                    part.vmas,
                    wanted[number],
                    None,
                    lambda *_: True,
                    self._with_vma,
                    losses,
                )
                yield Process(facts, tuple(mapping for mapping, _ in found), str(losses))

    def _parts(self) -> Iterator[_Part]:
        """Read the VMAs of some address spaces at a time, to keep few of them in memory."""
        mms = [space.mm for space in self.spaces]
        parts = [range(at, min(at + _PART, len(mms))) for at in range(0, len(mms), _PART)]
        read = bulk_of(self._prog).vmas_in_parts(mms[one.start : one.stop] for one in parts)
        yield from map(_Part, parts, read)

    def _decide(
        self, vmas: Vmas, wanted: Callable[[Backing], bool] | None, decided: _Pairs
    ) -> None:
        """Decide about pairs of vm_ops and file that were not met before."""
        pairs: set[tuple[int, int]] = set()
        for space in vmas.spaces:  # one by one, to keep the lists short
            pairs.update(_pairs_of(vmas, space))
        pairs -= decided.keys()
        if wanted is None:
            decided.update(dict.fromkeys(pairs, ""))
            return
        self.files.load(file for _, file in pairs)
        for ops, file in pairs:
            try:
                is_wanted = wanted(Backing(ops, self.files.f_op(file), file))
                decided[ops, file] = "" if is_wanted else None
            except BROKEN as error:
                decided[ops, file] = str(error)

    def _of_space(
        self,
        number: int,
        record: SpaceRecord,
        vmas: Vmas,
        wanted: Wanted,
        decided: _Pairs | None,
        take: Callable[[int, VmaRecord], _Picked | None],
        make: Callable[[MappingFacts, VmaRecord], _Made],
        losses: Losses,
    ) -> Iterator[tuple[_Made, _Picked]]:
        process: MappingFacts | None = None
        for row in _chosen(vmas, record, decided):
            vma = vmas.record(row)
            try:
                if row in vmas.faults:
                    raise ValueError(vmas.faults[row])
                if decided is not None and (why := decided[vma.vm_ops, vma.file]):
                    raise ValueError(why)
                if wanted.vma is not None and not wanted.vma(vma):
                    continue
                taken = take(number, vma)
                if taken is None:
                    continue
                if process is None:
                    process = as_such(self._prog, self._paging, self.spaces[number], record.pgd)
                yield make(process, vma), taken
            except BROKEN as error:
                losses.add(f"VMA {vma.address:#x}: {error}")
        if record.lost:
            losses.add(record.lost)

    def _with_vma(self, process: MappingFacts, vma: VmaRecord) -> MappingFacts:
        return _mapping(
            process.pid,
            process.comm,
            process.threads,
            process.other_pids,
            process.mm,
            process.root,
            process.kernel_half_root,
            self._reader.facts(vma),
        )


def _has_zeros(vmas: Vmas, space: SpaceRecord) -> bool:
    """Return whether a VMA that was read ends at address 0. One may start there."""
    ends = vmas.column(_END, space.first, space.length)
    return any(not end and row not in vmas.faults for row, end in enumerate(ends, space.first))


def _pairs_of(vmas: Vmas, space: SpaceRecord) -> Iterator[tuple[int, int]]:
    ops, files = (vmas.column(one, space.first, space.length) for one in (_OPS, _FILE))
    return zip(ops, files, strict=True)


def _chosen(vmas: Vmas, space: SpaceRecord, decided: _Pairs | None) -> Iterable[int]:
    """Return the numbers of the VMAs with wanted pairs, and of those that cannot be read."""
    if decided is None:
        return range(space.first, space.first + space.length)
    faults = vmas.faults
    return [
        number
        for number, pair in enumerate(_pairs_of(vmas, space), space.first)
        if decided[pair] is not None or (faults and number in faults)
    ]


def _key(process: MappingFacts, vma: VmaRecord) -> MappingKey:
    return process.pid, process.mm, process.root, vma.start, vma.end, vma.pgoff


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
    found = [mapping for mapping, _ in look.pick(wanted, lambda *_: True)]
    if not look.is_sorted:
        found.sort(key=in_order)
    return Mappings(tuple(found), (*faults, *look.faults))


def key_of(mapping: MappingFacts) -> MappingKey:
    """Return what identifies a mapping.

    The pid is needed: a new process may get the mm_struct and the tables of an old one.
    """
    vma = mapping.vma
    place = (vma.start, vma.end, vma.pgoff_pages) if vma else (0, 0, 0)
    return mapping.pid, mapping.mm, mapping.root, *place


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
    wanted = [_covering(places[pid]) for pid in spaces]
    found |= dict(zip(spaces, look.processes(wanted), strict=True))
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
