# SPDX-License-Identifier: GPL-2.0-or-later
"""``audit``: frames that processes map and that belong to another part of the kernel."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from pageproof.attach import Target
from pageproof.errors import PageproofError
from pageproof.find.frame.owner import named_file_of
from pageproof.find.kernel.areaowners import are_related, module_name
from pageproof.find.process.mappings import mapping_at
from pageproof.model import AreaOwner, MappingFacts, OwnerKind, PagingFacts, Range, StructPageFacts
from pageproof.observe.owners import Owners, vmalloc_rows
from pageproof.space.rows import mapped_in
from pageproof.space.spans import pages_of
from pageproof.space.units import PAGE_BYTES, PAGE_SHIFT
from pageproof.walk import USE_NORMAL, USE_SPECIAL, Accounts, Walker

#: Frames of one area that are examined. A driver maps all of its area, or a part of it.
_OF_AN_AREA: Final = 16
_SOMETHING: Final = re.compile(rb"[^\0]", re.DOTALL)
_BOTH: Final = USE_SPECIAL | USE_NORMAL
_IS_BOTH: Final = bytes(int(bits & _BOTH == _BOTH) for bits in range(256))
#: /dev/mem maps any memory.
_SHOWS_ALL: Final = "mem_fops"

#: A mapping: the process, the address, and whether it is a raw frame (_PAGE_SPECIAL).
MappedAt = tuple[MappingFacts, int, bool]


class AuditOwners:
    """Finds the owners of frames that processes map, in one look."""

    def __init__(
        self, target: Target, paging: PagingFacts, walker: Walker, kernel: Sequence[Range]
    ) -> None:
        self._target, self._paging = target, paging
        self._owners = Owners(target, paging, walker)
        self._walker, self._kernel = walker, kernel
        #: Addresses of suspects in vmalloc space.
        self._addresses: dict[int, int] = {}
        self._both: set[int] = set()

    def suspects(self, users: Accounts) -> Iterator[int]:
        """Yield frames of stacks and of modules' areas, and frames that one process maps counted
        and another one raw."""
        area: AreaOwner | None = None
        looked = 0
        for address, pfn in self._mapped_areas(users):
            if area is None or not area.start <= address < area.end:
                area, looked = self._owners.at(address), 0
            if area is None or looked == _OF_AN_AREA:
                continue
            if area.kind is OwnerKind.STACK or (area.kind is OwnerKind.VMALLOC and area.module):
                looked += 1
                self._addresses[pfn] = address
                yield pfn
        for found in _SOMETHING.finditer(users.uses.translate(_IS_BOTH)):
            self._both.add(found.start())
            yield found.start()

    def _mapped_areas(self, users: Accounts) -> Iterator[tuple[int, int]]:
        """Yield (address in vmalloc space, PFN) of frames that processes map."""
        for one in mapped_in(vmalloc_rows(self._target, self._paging), self._kernel):
            if one.frame is None or one.shared_with is not None:
                continue
            first = one.frame >> PAGE_SHIFT
            end = min(first + pages_of(one), len(users.uses))
            if users.uses.count(0, first, end) == end - first:
                continue  # most of the kernel's memory; count() is quick
            for found in _SOMETHING.finditer(users.uses, first, end):
                pfn = found.start()
                yield one.start + (pfn - first) * PAGE_BYTES, pfn

    def area(self, pfn: int, places: Iterable[MappedAt]) -> AreaOwner | None:
        """Return the area of a suspect, if it still exists."""
        address = self._addresses.get(pfn)
        if address is None:
            return None
        if self._walker.walk(self._paging.kernel_root, address).pfn != pfn:
            return None
        area = self._owners.at(address)
        if area is None or area.kind is not OwnerKind.VMALLOC:
            return area
        # One related mapping is enough: its driver may have passed the memory on.
        for mapping, at, _ in places:
            area = self._owners.compared(area, self._mapping(mapping, at))
            if area.related is not False:
                break
        return area

    def stranger(self, pfn: int, page: StructPageFacts | None, places: Sequence[MappedAt]) -> str:
        """Return the other owner of a frame that is mapped raw; "" if there is none."""
        if pfn not in self._both or page is None or page.mapcount is None or page.reserved:
            return ""
        raw = [self._mapping(mapping, at) for mapping, at, special in places if special]
        counted = [self._mapping(mapping, at) for mapping, at, special in places if not special]
        for one in raw:
            vma = one.vma if one is not None else None
            file = vma.file if vma is not None else None
            if vma is None or file is None or file.f_op_symbol == _SHOWS_ALL:
                continue
            if page.is_anonymous:
                if vma.has_flag("MAYSHARE"):
                    return "anonymous memory of a process"
            elif page.mapping:
                cached = named_file_of(self._target.prog, page, file)
                if cached:
                    return f"the page cache: {cached}"
            else:
                module = self._unrelated(file.f_op, counted)
                if module:
                    return f"module {module}, which maps it as a page that is counted"
        return ""

    def _unrelated(self, operations: int, counted: Iterable[MappingFacts | None]) -> str:
        prog = self._target.prog
        for one in counted:
            file = one.vma.file if one is not None and one.vma is not None else None
            if file is None:
                continue
            module = module_name(prog, file.f_op)
            if are_related(prog, module, module_name(prog, operations)) is False:
                return module
        return ""

    def _mapping(self, mapping: MappingFacts, address: int) -> MappingFacts | None:
        try:
            return mapping_at(self._target.prog, self._paging, mapping.pid, address)
        except PageproofError:
            return None  # the process has ended meanwhile
