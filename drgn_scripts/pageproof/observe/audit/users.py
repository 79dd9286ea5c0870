# SPDX-License-Identifier: GPL-2.0-or-later
"""``audit``: all user halves, and the frames in them that look wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Final

from pageproof import arch
from pageproof.attach import Target
from pageproof.find.frame.free import FreeLists
from pageproof.find.frame.mapcount import page_mapcount
from pageproof.find.frame.page import struct_page_facts
from pageproof.find.identify.memory import slab_at
from pageproof.find.kernel.layout import physmap
from pageproof.find.process.mappings import MappingKey, Mappings, address_spaces, key_of
from pageproof.find.process.vmas import are_locked, vma_bounds
from pageproof.model import MappingFacts, MemoryType, PagingFacts, SlabFacts, StructPageFacts
from pageproof.model.auditfacts import (
    FrameClass,
    FramePlaces,
    Span,
    UserFacts,
    UserSpace,
    UserTable,
    VmaTable,
)
from pageproof.model.where import INIT_MM, Space
from pageproof.observe.attempts import ATTEMPTS
from pageproof.observe.audit.frames import (
    Frames,
    conflicting,
    is_odd,
    uncounted,
    unreferenced,
    wrong_class,
)
from pageproof.observe.audit.owners import AuditOwners
from pageproof.observe.audit.tables import used_at_once
from pageproof.observe.walkers import paging_form
from pageproof.space.units import ADDRESS_LAST, PAGE_BYTES, PAGE_SHIFT
from pageproof.walk import Accounted, Accounts, FramePlace, TooMuchWork, Walker

#: Limits: frames examined, suspects kept, places per sweep. On a busy system most frames that look
#: wrong have only moved since their struct page was read.
_MOST_LOOKS: Final = 4096
_MOST_SUSPECTS: Final = 256
_MOST_PLACES: Final = 1 << 14


def space_of(mapping: MappingFacts) -> Space:
    """Return the address space of a mapping."""
    return Space(mapping.pid, mapping.comm)


@dataclass(frozen=True)
class _At:
    """A mapping of a suspect: the tables and the address."""

    space: Space
    root: int
    address: int
    level: int
    special: bool
    mapping: MappingFacts | None = None


class UserSweep:
    """One look at all user halves."""

    def __init__(
        self, target: Target, paging: PagingFacts, walker: Walker, found: Mappings, frames: int
    ) -> None:
        self._target, self._paging, self._walker = target, paging, walker
        self._found = found
        self._architecture = arch.of(target.facts.arch)
        self._last = paging_form(target, paging).lower_half_last
        self._users, self._kernel = Accounts.empty(frames), Accounts.empty(frames)
        self._free = FreeLists(target.prog)
        self._owners: AuditOwners | None = None
        self._faults = [f"pid {one.pid} ({one.comm}): {one.message}" for one in found.faults]

    def facts(
        self, frames: Frames | None, ram: Sequence[Span], owners: AuditOwners | None = None
    ) -> tuple[UserFacts, frozenset[int]]:
        """Sweep all user halves, then examine the suspects.

        Args:
            frames: struct page of all frames; None if it cannot be read: then none is suspect.
            ram: where memory types must agree.
            owners: of the kernel's memory; None if its tables cannot be read.

        Returns:
            The facts, and the PFNs that struct page marks as tables by now but not in ``frames``.
        """
        self._owners = owners
        found = self._found.found
        spans = [(mapping.root, 0, self._last) for mapping in found]
        # On a live target each sweep must be close to the look at the VMAs.
        swept: Sequence[Accounted | None] = (
            [None] * len(found)
            if self._target.facts.live
            else self._walker.account_spaces(spans, self._users, alike=True)
        )
        spaces = tuple(map(self._space, found, swept))
        del swept
        if self._target.facts.live:
            spaces = self._still_there(spaces)
        half = ADDRESS_LAST - self._last
        kernel = self._walker.account(self._paging.kernel_root, half, ADDRESS_LAST, self._kernel)
        kernel_tables = _tables(kernel)
        suspects: tuple[FramePlaces, ...] = ()
        more = 0
        marked: frozenset[int] = frozenset()
        if self._target.facts.live:
            kernel_tables, spaces = used_at_once(
                self._walker,
                (self._paging.kernel_root, kernel_tables),
                tuple(zip(self._found.found, spaces, strict=True)),
                self._now,
            )
            standing = [
                self._standing(mapping, space, frames)
                for mapping, space in zip(self._found.found, spaces, strict=True)
            ]
            spaces = tuple(
                replace(space, tables=tables)
                for space, (tables, _) in zip(spaces, standing, strict=True)
            )
            marked = frozenset().union(*(pfns for _, pfns in standing))
        if frames is not None:
            all_tables = chain(kernel_tables, *(space.tables for space in spaces))
            wanted = self._suspects(frames, ram, all_tables)
            suspects, more = self._look_closer(wanted, frames)
        facts = UserFacts(
            spaces=spaces,
            frames=len(self._users.uses) - self._users.uses.count(0),
            suspects=suspects,
            more_suspects=more,
            kernel_tables=kernel_tables,
            faults=tuple(self._faults),
            free_doubt=self._free.doubt,
        )
        return facts, marked

    def _still_there(self, spaces: Sequence[UserSpace]) -> tuple[UserSpace, ...]:
        """Drop what was swept of processes that have exited or called exec().

        Their mm_struct and their tables may have become those of other processes by then.
        """
        now = self._now()
        kept = [
            (mapping, space)
            for mapping, space in zip(self._found.found, spaces, strict=True)
            if key_of(mapping) in now
        ]
        self._found = replace(self._found, found=tuple(mapping for mapping, _ in kept))
        return tuple(space for _, space in kept)

    def _now(self) -> set[MappingKey]:
        """Return the address spaces that there are now."""
        return {key_of(one) for one in address_spaces(self._target.prog, self._paging).found}

    def _standing(
        self, mapping: MappingFacts, space: UserSpace, frames: Frames | None
    ) -> tuple[tuple[UserTable, ...], set[int]]:
        """Drop tables that no longer exist, of those that struct page does not mark as tables.

        Tables come and go, also those of pageproof itself. A frame may have become a table after
        its struct page was read, and may be free again.

        Returns:
            The tables, and the PFNs of those that struct page marks by now.
        """
        if frames is None:
            return space.tables, set()
        tables, marked = [], set()
        for one in space.tables:
            pfn = one.table >> PAGE_SHIFT
            if pfn >= len(frames.classes) or frames.classes[pfn] & FrameClass.TABLE:
                tables.append(one)
                continue
            before = self._is_marked(pfn)
            steps = self._walker.walk(mapping.root, one.address).steps
            if not any(step.table == one.table for step in steps):
                continue
            if before or self._is_marked(pfn):
                marked.add(pfn)
            tables.append(one)
        return tuple(tables), marked

    def _is_marked(self, pfn: int) -> bool:
        """Return whether struct page marks it as a table now; before 6.12 the type has no name."""
        page = struct_page_facts(self._target.prog, pfn)
        return page is not None and page.type_words in ("table", "typed")

    def _space(self, mapping: MappingFacts, swept: Accounted | None) -> UserSpace:
        """Look at a process's user half until its VMAs are the same before and after."""
        space = self._look(mapping, swept)
        for _ in range(ATTEMPTS):
            if not self._target.facts.live or space.gap:
                return space
            if self._vmas(mapping) == space.vmas:
                return space
            space = self._look(mapping)
        return replace(space, runs=(), gap="its VMAs keep changing")

    def _vmas(self, mapping: MappingFacts) -> VmaTable | None:
        try:
            return vma_bounds(self._target.prog, mapping.mm)
        except ValueError:
            return None

    def _look(self, mapping: MappingFacts, swept: Accounted | None = None) -> UserSpace:
        vmas = VmaTable()
        gap = ""
        try:
            vmas = vma_bounds(self._target.prog, mapping.mm)
            # Read between the two: a munmap() that has removed its VMA still holds the lock.
            (locked,) = are_locked(self._target.prog, [mapping.mm])
            if locked is None:
                raise ValueError("its mmap_lock cannot be read")
            if swept is None:
                swept = self._walker.account(mapping.root, 0, self._last, self._users, alike=True)
        except ValueError as error:
            why = f"its VMAs can't be read: {error}"
            return UserSpace(space_of(mapping), VmaTable(), (), (), why)
        except TooMuchWork as error:
            return UserSpace(space_of(mapping), vmas, (), (), str(error))
        if swept.gaps:
            gap = "some of its tables cannot be read"
        elif not swept.whole:
            gap = "more entries than pageproof reads"
        return UserSpace(space_of(mapping), vmas, tuple(swept.runs), _tables(swept), gap, locked)

    def _suspects(
        self, frames: Frames, ram: Sequence[Span], tables: Iterable[UserTable]
    ) -> list[int]:
        classes = bytearray(frames.classes)
        for one in tables:
            pfn = one.table >> PAGE_SHIFT
            if pfn < len(classes):
                classes[pfn] |= FrameClass.TABLE
        if any(unreferenced(self._users, classes)):
            for block in self._free.per_cpu().values():
                for pfn in range(block.first_pfn, min(block.end_pfn, len(classes))):
                    classes[pfn] |= FrameClass.FREE
        self._classes = classes
        found = chain(
            wrong_class(self._users, classes),
            conflicting(self._architecture, self._users, self._kernel, ram),
            uncounted(self._users, frames),
            () if self._owners is None else self._owners.suspects(self._users),
        )
        return list(dict.fromkeys(found))

    def _look_closer(
        self, wanted: Sequence[int], frames: Frames
    ) -> tuple[tuple[FramePlaces, ...], int]:
        if not wanted:
            return (), 0
        marked = bytearray(len(frames.classes))
        chosen = wanted[:_MOST_LOOKS]
        for pfn in chosen:
            marked[pfn] = 1
        users: dict[int, list[_At]] = {pfn: [] for pfn in chosen}
        kernel: dict[int, list[_At]] = {pfn: [] for pfn in chosen}
        spaces = self._found.found
        spans = [(mapping.root, 0, self._last) for mapping in spaces]
        found = self._walker.account_spaces(spans, None, marked, _MOST_PLACES)
        for mapping, swept in zip(spaces, found, strict=True):
            for pfn, at in _spread(swept.places, space_of(mapping), mapping.root, mapping):
                users[pfn].append(at)
        root = self._paging.kernel_root
        half = ADDRESS_LAST - self._last
        swept = self._walker.account(root, half, ADDRESS_LAST, None, marked, _MOST_PLACES)
        for pfn, at in _spread(swept.places, INIT_MM, root):
            kernel[pfn].append(at)
        suspects: list[FramePlaces] = []
        looks = 0
        while looks < len(chosen) and len(suspects) < _MOST_SUSPECTS:
            pfn = chosen[looks]
            looks += 1
            one = self._seen(pfn, users[pfn], kernel[pfn])
            if one is not None and is_odd(self._architecture, one):
                suspects.append(one)
        return tuple(suspects), len(wanted) - looks

    def _seen(self, pfn: int, users: Sequence[_At], kernel: Sequence[_At]) -> FramePlaces | None:
        """Look at a suspect again; None if it moved meanwhile."""
        prog = self._target.prog
        page = struct_page_facts(prog, pfn, self._free)
        before = page_mapcount(prog, pfn, page)
        still = [(at, kind) for at in users for kind in self._type_at(at, pfn)]
        types = [(f"{at.space} {at.address:x}", kind) for at, kind in still]
        types += [
            (f"kernel {at.address:016x}", kind) for at in kernel for kind in self._type_at(at, pfn)
        ]
        again = struct_page_facts(prog, pfn, self._free)
        after = page_mapcount(prog, pfn, again)
        if self._target.facts.live and (before != after or len(still) != len(users)):
            return None
        mapped = [(at.mapping, at.address, at.special) for at, _ in still if at.mapping]
        area = None if self._owners is None else self._owners.area(pfn, mapped)
        stranger = "" if self._owners is None else self._owners.stranger(pfn, again, mapped)
        return FramePlaces(
            pfn=pfn,
            classes=self._classes_now(pfn, page, again),
            places=tuple((at.space, at.address) for at, _ in still),
            counted=sum(at.level == 1 and not at.special for at, _ in still),
            mapcount=after,
            types=tuple(types),
            slab=self._slab(pfn),
            area=area,
            stranger=stranger,
        )

    def _slab(self, pfn: int) -> SlabFacts | None:
        if not self._classes[pfn] & FrameClass.SLAB:
            return None
        return slab_at(self._target.prog, physmap(self._target.prog)[pfn << PAGE_SHIFT])

    def _classes_now(
        self, pfn: int, page: StructPageFacts | None, again: StructPageFacts | None
    ) -> FrameClass:
        """Return the classes that still hold."""
        classes = FrameClass(self._classes[pfn])
        if not self._target.facts.live:
            return classes
        for one in (page, again):
            if one is None or not one.buddy:
                classes &= ~FrameClass.FREE
            if one is not None and one.type_words != "slab":
                classes &= ~FrameClass.SLAB
        return classes

    def _type_at(self, at: _At, pfn: int) -> Iterator[MemoryType]:
        walk = self._walker.walk(at.root, at.address)
        if walk.pfn == pfn and walk.memory_type is not None:
            yield walk.memory_type


def _tables(swept: Accounted) -> tuple[UserTable, ...]:
    return tuple(UserTable(one.table, one.level, one.address) for one in swept.tables)


def _spread(
    places: Iterable[FramePlace], space: Space, root: int, mapping: MappingFacts | None = None
) -> Iterator[tuple[int, _At]]:
    """Yield each page of runs of frames."""
    for place in places:
        pages = (place.last + 1 - place.start) // PAGE_BYTES
        for page in islice(range(pages), _MOST_PLACES):
            address = place.start + page * PAGE_BYTES
            pfn = (place.frame >> PAGE_SHIFT) + page
            yield pfn, _At(space, root, address, place.level, place.special, mapping)
