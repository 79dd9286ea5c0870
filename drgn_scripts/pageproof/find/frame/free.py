# SPDX-License-Identifier: GPL-2.0-or-later
"""Free pages: blocks of the buddy allocator, and pages on the free lists of CPUs.

A page with ``_refcount`` 0 and no type is not necessarily free: the tail pages of a block from
``__get_free_pages()`` or ``dma_alloc_coherent()`` are in use and look the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import drgn
from drgn import sizeof
from drgn.helpers.linux.cpumask import for_each_possible_cpu
from drgn.helpers.linux.mm import pfn_to_page
from drgn.helpers.linux.mmzone import for_each_online_pgdat
from drgn.helpers.linux.percpu import per_cpu_ptr

from pageproof.find.frame.records import UNREFERENCED, PageLayout, class_of, page_layout
from pageproof.model.auditfacts import FrameClass

#: ``MAX_ORDER`` was 11 (exclusive) and is 10 (inclusive), for the same blocks. Some
#: configurations have more.
_MAX_ORDER: Final = 15
#: ``PAGE_ALLOC_COSTLY_ORDER``. The lists after those for orders 0 to 3 hold huge pages
#: (pindex_to_order() of mm/page_alloc.c).
_COSTLY_ORDER: Final = 3
_HUGE_ORDER: Final = 9
#: Limit of pages on the lists of all CPUs: 4 GiB, ten times what large machines have.
_MOST_PAGES: Final = 1 << 20
_CACHE: Final = "pageproof page layout"


@dataclass(frozen=True)
class FreeBlock:
    """Pages that were freed in one piece.

    Attributes:
        order: log2 of the number of pages.
        cpu: the CPU whose list holds them; None for the buddy allocator.
    """

    first_pfn: int
    order: int
    cpu: int | None = None

    @property
    def end_pfn(self) -> int:
        """PFN after the last frame."""
        return self.first_pfn + (1 << self.order)

    def has(self, pfn: int) -> bool:
        """Return whether the block contains a frame."""
        return self.first_pfn <= pfn < self.end_pfn


class FreeLists:
    """The free lists, read when they are first needed.

    Attributes:
        doubt: why some of the lists of CPUs may be missing; "" before they are read.
    """

    def __init__(self, prog: drgn.Program) -> None:
        self._prog = prog
        self.doubt = ""

    def block(self, pfn: int) -> FreeBlock | None:
        """Return the free block that contains a frame; None if none is found.

        Raises:
            FaultError: the frame's own ``struct page`` cannot be read.
        """
        own = class_of(self._read(pfn), self._layout)
        if not own & (FrameClass.FREE | UNREFERENCED):
            return None
        if own & (FrameClass.TAIL | FrameClass.RESERVED):
            return None
        return self._buddy(pfn) or self._on_a_list(pfn)

    def per_cpu(self) -> dict[int, FreeBlock]:
        """Return all blocks on the lists of CPUs, by their first frame."""
        return self._blocks

    def _buddy(self, pfn: int) -> FreeBlock | None:
        """Search for the first page of the block: only that page is marked and has the order."""
        at = self._layout.private
        for order in range(_MAX_ORDER + 1):
            first = pfn & -(1 << order)
            try:
                data = self._read(first)
            except drgn.FaultError:
                return None  # the block would start outside memory
            if class_of(data, self._layout) & FrameClass.FREE:
                own = int.from_bytes(data[at : at + 8], "little")
                block = FreeBlock(first, own if own <= _MAX_ORDER else 0)
                return block if block.has(pfn) else None
        return None

    def _on_a_list(self, pfn: int) -> FreeBlock | None:
        for order in (*range(_COSTLY_ORDER + 1), _HUGE_ORDER):
            first = pfn & -(1 << order)
            try:
                if not self._is_linked(first):
                    continue
                block = self._blocks.get(first)
                # Check again: the page may have been allocated while the lists were read.
                if block is not None and block.has(pfn) and self._is_linked(first):
                    return block
            except drgn.FaultError:
                continue
        return None

    def _is_linked(self, pfn: int) -> bool:
        """Return whether the neighbours of a page's list link point back to it.

        Then the page is on some list. Most pages are not (list_del() leaves poison), and the lists
        need not be walked for these.
        """
        data = self._read(pfn)
        bits = class_of(data, self._layout)
        if not bits & UNREFERENCED or bits & (FrameClass.TAIL | FrameClass.RESERVED):
            return False
        at = self._layout.lru
        link = self._vmemmap + pfn * self._layout.page_bytes + at
        following, before = (int.from_bytes(data[n : n + 8], "little") for n in (at, at + 8))
        try:
            return bool(self._prog.read_u64(following + 8) == link == self._prog.read_u64(before))
        except (drgn.FaultError, OverflowError):
            return False

    @cached_property
    def _layout(self) -> PageLayout:
        layout: PageLayout | None = self._prog.cache.get(_CACHE)
        if layout is None:
            layout = self._prog.cache[_CACHE] = page_layout(self._prog)
        return layout

    @cached_property
    def _vmemmap(self) -> int:
        return int(pfn_to_page(self._prog, 0).value_())

    def _read(self, pfn: int) -> bytes:
        size = self._layout.page_bytes
        return bytes(self._prog.read(self._vmemmap + pfn * size, size))

    @cached_property
    def _blocks(self) -> dict[int, FreeBlock]:
        blocks: dict[int, FreeBlock] = {}
        try:
            for block in self._walk():
                blocks[block.first_pfn] = block
        except (drgn.FaultError, LookupError, AttributeError, ValueError) as error:
            self.doubt = self.doubt or f"the free lists of CPUs: {error}"
        return blocks

    def _walk(self) -> Iterator[FreeBlock]:
        seen: set[int] = set()
        types = int(self._prog.constant("MIGRATE_PCPTYPES").value_())
        for cpu, lists in self._all_lists():
            step = sizeof(lists.type_.type)
            start = int(lists.address_of_().value_())
            for number in range(lists.type_.length or 0):
                order = number // types
                order = order if order <= _COSTLY_ORDER else _HUGE_ORDER
                for pfn in self._list(start + number * step, seen):
                    yield FreeBlock(pfn, order, cpu)

    def _all_lists(self) -> Iterator[tuple[int, drgn.Object]]:
        """Yield (CPU, array of its lists for a zone)."""
        cpus = list(for_each_possible_cpu(self._prog))
        for node in for_each_online_pgdat(self._prog):
            for zone in node.node_zones:
                if not zone.present_pages:
                    continue  # an empty zone has no lists of its own
                try:
                    pointer = zone.per_cpu_pageset  # since 5.14: 28f836b6777b
                except AttributeError:
                    pointer = zone.pageset
                for cpu in cpus:
                    one = per_cpu_ptr(pointer, cpu)
                    yield cpu, one.lists if one.type_.type.has_member("lists") else one.pcp.lists

    def _list(self, head: int, seen: set[int]) -> Iterator[int]:
        """Yield the pages of one list.

        A link that leads to no page, or to a page seen before, ends the list and sets ``doubt``.
        """
        size, at = self._layout.page_bytes, self._layout.lru
        link = self._prog.read_u64(head)
        while link != head:
            pfn, rest = divmod(link - at - self._vmemmap, size)
            if rest or pfn in seen or len(seen) >= _MOST_PAGES:
                self.doubt = (
                    f"a list of free pages at {head:#x} is broken, or it changed while it was read"
                )
                return
            seen.add(pfn)
            yield pfn
            try:
                link = self._prog.read_u64(link)
            except drgn.FaultError:
                self.doubt = f"a list of free pages at {head:#x} leads to memory that can't be read"
                return
