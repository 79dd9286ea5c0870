# SPDX-License-Identifier: GPL-2.0-or-later
"""Index all address spaces of a target, to find every mapping of a frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pageproof import arch
from pageproof.attach import Target
from pageproof.errors import PageproofError
from pageproof.find.kernel.layout import read_layout
from pageproof.find.process.mappings import Process, address_spaces, processes
from pageproof.model import MappingFacts, PagingFacts, TaskFault
from pageproof.model.alias import Alias, SweepGap
from pageproof.observe.walkers import paging_form, zero_pages
from pageproof.space.rows import row_at
from pageproof.space.units import ADDRESS_LAST
from pageproof.walk import Part, Swept, Walker
from pageproof.walk.special import is_counted


@dataclass(frozen=True)
class _Space:
    """The parts of an address space that are swept."""

    tables: str
    parts: tuple[Part, ...]
    process: MappingFacts | None = None

    def root_of(self, address: int) -> int:
        """Return the root of the tables in which an address was found."""
        return next(root for root, first, last in self.parts if first <= address <= last)


class Sweep:
    """One look at all address spaces.

    Args:
        target: an attached target.
        paging: its tables.
        walker: of its tables.
        wanted: the frames that :meth:`aliases` will be asked for; None: any.

    Attributes:
        spaces: how many there are.
        doubts: why mappings may be missing; empty if none are.
    """

    def __init__(
        self,
        target: Target,
        paging: PagingFacts,
        walker: Walker,
        wanted: Iterable[int] | None = None,
    ) -> None:
        self._target, self._paging, self._walker = target, paging, walker
        self._architecture = arch.of(target.facts.arch)
        self._layout = read_layout(target.prog, paging)
        self._rows = self._architecture.memory_map(self._layout)
        self._zeros = zero_pages(target, paging, walker)
        found = address_spaces(target.prog, paging)
        self._spaces = tuple(self._all_spaces(found.found))
        doubts: list[TaskFault | SweepGap] = [*found.faults]
        self._index = walker.index(wanted)
        swept = self._index.add_spaces([space.parts for space in self._spaces])
        for space, parts in zip(self._spaces, swept, strict=True):
            for part in parts:
                doubts += _gaps(space, part)
        self._index.finish()
        self.spaces = len(self._spaces)
        self.doubts = tuple(doubts)

    def aliases(self, pfn: int) -> tuple[tuple[Alias, ...], bool]:
        """Return every mapping of a frame, walked again, and whether all of them still exist."""
        seen = [
            self._alias(self._spaces[number], address, pfn)
            for number, address in self._index.lookup(pfn)
        ]
        users = [one for one in seen if one is not None and one.region is None]
        found = self._processes(users)
        seen = [one and self._with_vma(one, found) for one in seen]
        return tuple(one for one in seen if one is not None), None not in seen

    def _processes(self, users: Sequence[Alias]) -> dict[int, Process | PageproofError]:
        """Return the processes of mappings, with the VMAs there, in one look."""
        places: dict[int, list[int]] = {}
        for one in users:
            if one.process is not None:
                places.setdefault(one.process.pid, []).append(one.address)
        return processes(self._target.prog, self._paging, places) if places else {}

    def _all_spaces(self, mappings: Sequence[MappingFacts]) -> Iterator[_Space]:
        layout, kernel = self._layout, self._paging.kernel_root
        user_last = paging_form(self._target, self._paging).lower_half_last
        half = ADDRESS_LAST - user_last, ADDRESS_LAST
        yield _Space("init_mm", ((kernel, *half),))
        if self._paging.pti:
            # Its user half has the kernel entries that every process gets (pti_init()).
            yield _Space("init_mm, user half", ((self._architecture.user_root(kernel), *half),))
        if layout.efi_root is not None:
            rows = [row for row in self._rows if row.region == "efi"]
            parts = tuple((layout.efi_root, row.start, row.last) for row in rows)
            yield _Space("efi_mm", parts)
        ldts = [row for row in self._rows if row.region == "ldt" and row.configured]
        for mapping in mappings:
            parts = tuple((mapping.kernel_half_root, row.start, row.last) for row in ldts)
            user = (mapping.root, 0, user_last)
            yield _Space(f"pid {mapping.pid}", (user, *parts), mapping)

    def _alias(self, space: _Space, address: int, pfn: int) -> Alias | None:
        """Walk a mapping again; None if it no longer leads to the frame."""
        root = space.root_of(address)
        walk = self._walker.walk(root, address)
        if walk.pfn != pfn:
            return None
        kernel = self._architecture.is_upper(address)
        return Alias(
            tables=space.tables,
            root=root,
            address=address,
            leaf_bytes=walk.leaf_bytes,
            permissions=walk.permissions,
            memory_type=walk.memory_type,
            region=self._region(address) if kernel else None,
            process=space.process,
            counted=not kernel and is_counted(walk, self._architecture, self._zeros),
        )

    def _with_vma(
        self, alias: Alias, found: Mapping[int, Process | PageproofError]
    ) -> Alias | None:
        """Add the VMA of a user mapping; None if the process has ended or cannot be read."""
        if alias.process is None or alias.region is not None:
            return alias
        process = found[alias.process.pid]
        if isinstance(process, PageproofError):
            return None
        mapping, lost = process.at(alias.address)
        return None if lost else replace(alias, process=mapping)

    def _region(self, address: int) -> str:
        return row_at(self._rows, address).region


def _gaps(space: _Space, swept: Swept) -> Iterator[SweepGap]:
    if swept.gaps or not swept.whole:
        yield SweepGap(space.tables, unreadable=bool(swept.gaps))
