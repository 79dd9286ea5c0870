# SPDX-License-Identifier: GPL-2.0-or-later
"""Lists of pages of a driver: arrays of ``struct page *`` or folios, scatterlists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import drgn
from drgn.helpers.linux.mm import page_to_virt, pfn_to_page

from pageproof.find.bounded import compound_pages
from pageproof.find.kernel.debuginfo import plain_type
from pageproof.find.kernel.layout import physmap
from pageproof.space.units import PAGE_BYTES

#: ``SG_CHAIN`` and ``SG_END`` of include/linux/scatterlist.h, bits of ``page_link``.
_SG_CHAIN: Final = 0x1
_SG_END: Final = 0x2
#: Limit, because a list that changes while it is read may not end.
_MAX_ENTRIES: Final = 1 << 22


def page_addresses(found: object, length: int | None) -> list[int | None]:
    """Return the address in the direct map of each page of a list.

    Args:
        found: the value of an expression. An array of, or a pointer to, ``struct page *`` or
            ``struct folio *`` (a folio stands for all its pages), or a Python sequence of these; a
            ``struct sg_table`` or ``struct scatterlist``, or a pointer to one.
        length: number of pages, for a pointer to an array of unknown length.

    Returns:
        One item for each page; None for a NULL pointer.

    Raises:
        ValueError: the value is not a list of pages, or its length is not known.
        FaultError: the list cannot be read.
    """
    if isinstance(found, drgn.Object):
        return list(_of_object(found, length))
    if isinstance(found, Iterable) and not isinstance(found, (str, bytes)):
        return list(_of_pointers(found))
    raise ValueError(f"a {type(found).__name__} is not a list of pages")


def _of_object(found: drgn.Object, length: int | None) -> Iterator[int | None]:
    kind, tag = found.type_.kind, _tag(found.type_)
    if kind is drgn.TypeKind.POINTER:
        tag = _tag(found.type_.type)
        if _tag_behind(found.type_.type) in ("page", "folio"):
            if length is None:
                raise ValueError(f"{found.type_.type_name()} does not have the length of its array")
            yield from _of_pointers(found[number] for number in range(length))
            return
        if tag:
            found = found[0]
    if tag == "sg_table":
        yield from _of_scatterlist(found.sgl)
    elif tag == "scatterlist":
        yield from _of_scatterlist(found.address_of_())
    elif kind is drgn.TypeKind.ARRAY and _tag_behind(found.type_.type) in ("page", "folio"):
        yield from _of_pointers(found)
    elif kind is drgn.TypeKind.ARRAY and _tag(found.type_.type) == "scatterlist":
        yield from _of_scatterlist(found[0].address_of_())
    else:
        raise ValueError(f"{found.type_.type_name()} is not a list of pages")


def _of_pointers(pointers: Iterable[drgn.Object]) -> Iterator[int | None]:
    for pointer in pointers:
        tag = _tag_behind(pointer.type_) if isinstance(pointer, drgn.Object) else ""
        if tag not in ("page", "folio"):
            raise ValueError(f"{pointer!r} is not a struct page * or struct folio *")
        if not pointer:
            yield None
            continue
        page = drgn.cast("struct page *", pointer)
        address = _direct_address(page)
        pages = compound_pages(page) if tag == "folio" else 1
        yield from range(address, address + pages * PAGE_BYTES, PAGE_BYTES)


def _of_scatterlist(entry: drgn.Object) -> Iterator[int | None]:
    for _ in range(_MAX_ENTRIES):
        link = int(entry.page_link)
        if link & _SG_CHAIN:
            entry = drgn.Object(entry.prog_, entry.type_, link & ~(_SG_CHAIN | _SG_END))
            continue
        page = drgn.Object(entry.prog_, "struct page *", link & ~(_SG_CHAIN | _SG_END))
        start = _direct_address(page) + int(entry.offset)
        first = start & -PAGE_BYTES
        yield from range(first, start + int(entry.length), PAGE_BYTES)
        if link & _SG_END:
            return
        entry = entry + 1
    raise ValueError(f"gave up after {_MAX_ENTRIES} entries: the scatterlist does not end")


def _direct_address(page: drgn.Object) -> int:
    """Return the address in the direct map of the frame of a ``struct page *``.

    Raises:
        ValueError: the pointer is outside vmemmap, or not at the start of a struct page.
    """
    offset = page.value_() - pfn_to_page(page.prog_, 0).value_()
    pfn, rest = divmod(offset, drgn.sizeof(page.type_.type))
    # Modules and other areas follow vmemmap: accept only frames that physical memory can have.
    if rest or not 0 <= pfn < len(physmap(page.prog_)) // PAGE_BYTES:
        raise ValueError(f"{page.value_():#x} is not a struct page")
    return int(page_to_virt(page).value_())


def _tag(type_: drgn.Type) -> str:
    """Return the tag of a struct type; "" for another type."""
    plain = plain_type(type_)
    return (plain.tag or "") if plain.kind is drgn.TypeKind.STRUCT else ""


def _tag_behind(type_: drgn.Type) -> str:
    """Return the tag of the struct that a pointer type points to; "" for another type."""
    plain = plain_type(type_)
    return _tag(plain.type) if plain.kind is drgn.TypeKind.POINTER else ""
