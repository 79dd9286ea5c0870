# SPDX-License-Identifier: GPL-2.0-or-later
"""Find the vmalloc area that owns a frame."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from itertools import islice
from typing import Final

from pageproof import arch
from pageproof.attach import Target
from pageproof.errors import PageproofError
from pageproof.find.kernel.areaowners import (
    BROKEN,
    Stacks,
    are_related,
    area_owner,
    module_name,
    task_stacks,
)
from pageproof.find.kernel.layout import read_layout
from pageproof.model import AreaOwner, MappingFacts, OwnerKind, PagingFacts
from pageproof.model.kmap import MapRow
from pageproof.space.rows import named_rows
from pageproof.space.vmalloc import VMALLOC_ROWS
from pageproof.walk import Index, TooMuchWork, Walker

#: Mappings of one frame that are examined; more than one is rare.
_MOST_MAPPINGS: Final = 64


def vmalloc_rows(target: Target, paging: PagingFacts) -> list[MapRow]:
    """Return the rows of the memory map that contain areas of vmalloc()."""
    rows = arch.of(target.facts.arch).memory_map(read_layout(target.prog, paging))
    return named_rows(rows, *VMALLOC_ROWS)


class Owners:
    """An index of all frames in vmalloc space, built on first use."""

    def __init__(self, target: Target, paging: PagingFacts, walker: Walker) -> None:
        self._target, self._paging, self._walker = target, paging, walker
        #: Areas that were looked up, by their start.
        self._known: list[AreaOwner] = []

    def of(self, pfn: int, mapping: MappingFacts | None = None) -> AreaOwner | None:
        """Return the area that has a frame; an area that owns it is preferred to one that maps it.

        Args:
            pfn: the frame.
            mapping: of a file; the file's module is compared with the owner's.
        """
        found: AreaOwner | None = None
        if self._index is None:
            return None
        for _, address in islice(self._index.lookup(pfn), _MOST_MAPPINGS):
            if self._walker.walk(self._paging.kernel_root, address).pfn != pfn:
                continue  # it has moved
            owner = self.at(address)
            if owner is not None and (found is None or owner.owns):
                found = owner
                if owner.owns:
                    break
        return found if found is None else self.compared(found, mapping)

    def at(self, address: int) -> AreaOwner | None:
        """Return the owner of an address in vmalloc space."""
        for one in self._known:
            if one.start <= address < one.end:
                return replace(one, address=address)
        try:
            owner = area_owner(self._target.prog, address, self._stacks)
        except BROKEN:
            return None
        if owner is None:
            return None
        # On a live system a task may exit, and another task may get its stack.
        if owner.kind is not OwnerKind.STACK or not self._target.facts.live:
            self._known.append(owner)
        return replace(owner, address=address)

    def compared(self, owner: AreaOwner, mapping: MappingFacts | None) -> AreaOwner:
        """Add to an owner whether its module is related to the module of the mapped file."""
        file = mapping.vma.file if mapping is not None and mapping.vma is not None else None
        if file is None or owner.kind is not OwnerKind.VMALLOC or not owner.module:
            return owner
        prog = self._target.prog
        return replace(owner, related=are_related(prog, owner.module, module_name(prog, file.f_op)))

    @cached_property
    def _stacks(self) -> Stacks:
        return task_stacks(self._target.prog)

    @cached_property
    def _index(self) -> Index | None:
        """The index; None if the location of vmalloc space is unknown, so that no owner is."""
        index = self._walker.index()
        try:
            for row in vmalloc_rows(self._target, self._paging):
                index.add(0, self._paging.kernel_root, row.start, row.last)
        except (*BROKEN, PageproofError, TooMuchWork):
            return None
        index.finish()
        return index
