# SPDX-License-Identifier: GPL-2.0-or-later
"""``struct page`` of many frames at once, classified from their bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import drgn
from drgn import offsetof, sizeof

from pageproof.find.frame.pagetype import OLD_BUDDY, OLD_TYPE_BASE, old_table
from pageproof.model.auditfacts import FrameClass
from pageproof.space.units import PAGE_BYTES

_WORD: Final = (1 << 64) - 1
_NO_TYPE: Final = 0xFFFF_FFFF
UNREFERENCED: Final = FrameClass.UNREFERENCED


@dataclass(frozen=True)
class PageLayout:
    """The members of struct page that bulk reads use.

    Attributes:
        page_bytes: size of struct page.
        mapcount: offset of ``_mapcount``, whose word also holds the type.
        private: offset of ``private``, the order of a free block.
        lru: offset of the link of free lists.
        tests: (offset, mask, value, class): eight bytes at the offset, masked, equal the value.
    """

    page_bytes: int
    mapcount: int
    private: int
    lru: int
    tests: tuple[tuple[int, int, int, int], ...]


def page_layout(prog: drgn.Program) -> PageLayout:
    """Return the layout in the kernel under test.

    Raises:
        LookupError: the debug info lacks a member, or the size of struct page does not divide a
            page. The records are read page by page where a dump omits some, so a record would be
            cut in two and its class would be meaningless.
    """
    kind = prog.type("struct page")
    if PAGE_BYTES % sizeof(kind):
        raise LookupError(
            f"struct page has {sizeof(kind)} bytes (CONFIG_KMSAN?), which do not divide a page: "
            "frames cannot be classified in bulk"
        )
    flags, mapcount = offsetof(kind, "flags"), offsetof(kind, "_mapcount")
    if offsetof(kind, "_refcount") != mapcount + 4:
        raise LookupError("_refcount does not follow _mapcount in struct page")
    # Since 7.1 (d50569612c29) it is not always the head's address. Bit 0 still marks a tail page.
    link = offsetof(kind, "compound_info" if kind.has_member("compound_info") else "compound_head")
    tests = [
        (link, 1, 1, FrameClass.TAIL),
        (flags, *_flag(prog, "PG_reserved"), FrameClass.RESERVED),
        (flags, *_flag(prog, "PG_head"), FrameClass.HEAD),
        (mapcount, _WORD, _NO_TYPE, UNREFERENCED),
        *((mapcount, *_type(prog, name), bit) for name, bit in _TYPES),
    ]
    if not _has(prog, "PGTY_slab"):
        # A flag until 46df8e73a4a3 (6.11).
        tests.append((flags, *_flag(prog, "PG_slab"), FrameClass.SLAB))
    return PageLayout(
        page_bytes=sizeof(kind),
        mapcount=mapcount,
        private=offsetof(kind, "private"),
        lru=offsetof(kind, "lru"),
        tests=tuple((offset, mask, value, int(bit)) for offset, mask, value, bit in tests),
    )


_TYPES: Final = (
    ("buddy", FrameClass.FREE),
    ("table", FrameClass.TABLE),
    ("slab", FrameClass.SLAB),
)


def _has(prog: drgn.Program, name: str) -> bool:
    try:
        prog.constant(name)
    except LookupError:
        return False
    return True


def _flag(prog: drgn.Program, name: str) -> tuple[int, int]:
    bit = 1 << prog.constant(name).value_()
    return bit, bit


def _type(prog: drgn.Program, name: str) -> tuple[int, int]:
    """Return (mask, value) of ``page_type`` for a type.

    Since 6.12 (4ffca5a96678) the top byte is a value of enum pagetype. Before, the bit of the type
    is clear and the base is set.
    """
    if _has(prog, "PGTY_buddy"):
        return 0xFF00_0000, prog.constant(f"PGTY_{name}").value_() << 24
    if name == "slab":
        return 0, 1  # matches nothing: slab was a flag
    bit = OLD_BUDDY if name == "buddy" else old_table(prog)
    return OLD_TYPE_BASE | bit, OLD_TYPE_BASE


#: Final class by raw class. A tail page or a reserved page without references is not suspicious.
_FINAL: Final = bytes(
    bits & ~UNREFERENCED if bits & (FrameClass.TAIL | FrameClass.RESERVED) else bits
    for bits in range(256)
)
_IS_BUDDY: Final = bytes(bits & FrameClass.FREE for bits in range(256))


def free_blocks(raw: bytes, data: bytes, layout: PageLayout) -> Iterator[tuple[int, int]]:
    """Yield (index, pages) of free blocks, of which only the first page is marked."""
    buddies = raw.translate(_IS_BUDDY)
    at = buddies.find(FrameClass.FREE)
    while at >= 0:
        offset = at * layout.page_bytes + layout.private
        order = int.from_bytes(data[offset : offset + 8], "little")
        pages = 1 << order if order < 16 else 1
        yield at, pages
        at = buddies.find(FrameClass.FREE, at + pages)


def class_of(data: bytes, layout: PageLayout) -> int:
    """Return the raw classes of one ``struct page``, by the tests of the layout."""
    bits = 0
    for offset, mask, value, bit in layout.tests:
        if int.from_bytes(data[offset : offset + 8], "little") & mask == value:
            bits |= bit
    return bits


def classes_of(raw: bytes, data: bytes, layout: PageLayout) -> bytes:
    """Return the classes of consecutive frames.

    Args:
        raw: raw class of each frame.
        data: struct page of each frame.
        layout: layout of struct page.
    """
    found = bytearray(raw.translate(_FINAL))
    for first, pages in free_blocks(raw, data, layout):
        pages = min(pages, len(found) - first)
        found[first : first + pages] = bytes([FrameClass.FREE]) * pages
    return bytes(found)


def mapcounts_of(data: bytes, layout: PageLayout) -> list[int]:
    """Return ``_mapcount`` + 1 of consecutive struct pages; negative for a typed page."""
    step = layout.page_bytes // 4
    return [n + 1 for n in memoryview(data).cast("i")[layout.mapcount // 4 :: step]]
