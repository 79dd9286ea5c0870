# SPDX-License-Identifier: GPL-2.0-or-later
"""struct page in bulk: the class of a frame by its bytes, and frames that look odd."""

from __future__ import annotations

import random
import struct

from unit.auditfacts import RAM

from pageproof.arch.x86_64 import X86_64
from pageproof.arch.x86_64.memtypes import X86MemoryType
from pageproof.find.frame.records import UNREFERENCED, PageLayout, classes_of, mapcounts_of
from pageproof.model.auditfacts import FrameClass
from pageproof.observe.audit.frames import Frames, conflicting, uncounted, wrong_class
from pageproof.walk import USE_NORMAL, Accounts
from pageproof.walk.classify import Test as Kind
from pageproof.walk.classify import classify, classify_slowly

#: flags, link, private, mapcount and refcount of struct page in 6.12, without the other fields.
BYTES = 32
HEAD, RESERVED = 1 << 6, 1 << 13
BUDDY, TABLE, SLAB = 0xF0, 0xF2, 0xF5
LAYOUT = PageLayout(
    page_bytes=BYTES,
    mapcount=24,
    private=16,
    lru=8,
    tests=(
        (8, 1, 1, FrameClass.TAIL),
        (0, RESERVED, RESERVED, FrameClass.RESERVED),
        (0, HEAD, HEAD, FrameClass.HEAD),
        (24, (1 << 64) - 1, 0xFFFF_FFFF, UNREFERENCED),
        (24, 0xFF00_0000, BUDDY << 24, FrameClass.FREE),
        (24, 0xFF00_0000, TABLE << 24, FrameClass.TABLE),
        (24, 0xFF00_0000, SLAB << 24, FrameClass.SLAB),
    ),
)
TESTS = tuple(Kind(*test) for test in LAYOUT.tests)


def page(
    *, flags: int = 0, link: int = 0, private: int = 0, mapcount: int = 0, refs: int = 1
) -> bytes:
    return struct.pack("<QQQiI", flags, link, private, mapcount - 1, refs)


def typed(kind: int, **words: int) -> bytes:
    return page(mapcount=(kind << 24) - (1 << 32) + 1, refs=0, **words)


def classes(*pages: bytes) -> list[FrameClass]:
    data = b"".join(pages)
    raw = classify(data, BYTES, TESTS, int(FrameClass.TAIL))
    return [FrameClass(bits) for bits in classes_of(raw, data, LAYOUT)]


def test_a_block_of_the_page_allocator() -> None:
    """Only its first page is marked, and holds the number of pages."""
    free = page(refs=0)
    got = classes(page(mapcount=1), typed(BUDDY, private=2), free, free, free, page())
    assert got == [FrameClass(0), *[FrameClass.FREE] * 4, FrameClass(0)]


def test_a_page_without_references() -> None:
    """For example, on a CPU's list of free pages. Pages in holes are reserved instead."""
    assert classes(page(refs=0)) == [FrameClass.UNREFERENCED]  # the tail of a block, or free
    assert classes(page(refs=0, flags=RESERVED)) == [FrameClass.RESERVED]
    assert classes(typed(TABLE)) == [FrameClass.TABLE]


def test_tails_are_what_their_head_is() -> None:
    tail = page(link=0x1001, refs=0)
    got = classes(typed(SLAB, flags=HEAD), tail, tail, page(), page(flags=HEAD), tail)
    slab = FrameClass.SLAB | FrameClass.HEAD
    assert got[:3] == [slab, slab | FrameClass.TAIL, slab | FrameClass.TAIL]
    assert got[4:] == [FrameClass.HEAD, FrameClass.HEAD | FrameClass.TAIL]


def test_mapcounts() -> None:
    assert mapcounts_of(page() + page(mapcount=3), LAYOUT) == [0, 3]


def test_the_engine_classifies_as_the_slow_way_does() -> None:
    rng = random.Random(5)
    tests = tuple(
        Kind(rng.randrange(9), 1 << rng.randrange(64), rng.choice([0, 1 << 3]), 1 << bit)
        for bit in range(8)
    )
    data = rng.randbytes(17 * 400)
    assert classify(data, 17, tests, 0x12) == classify_slowly(data, 17, tests, 0x12)


# Frames that look odd

WB, UC, UC_MINUS = (
    1 << X86_64.memory_types.index(kind)
    for kind in (X86MemoryType.WB, X86MemoryType.UC, X86MemoryType.UC_MINUS)
)


def test_only_frames_that_processes_map_are_suspect() -> None:
    users = Accounts.empty(4)
    users.uses[1] = users.uses[2] = WB | USE_NORMAL
    kinds = bytes([FrameClass.FREE, FrameClass.FREE, FrameClass.HEAD, FrameClass.SLAB])
    assert list(wrong_class(users, kinds)) == [1]


def test_types_that_conflict_are_those_of_ram() -> None:
    users, kernel = Accounts.empty(1024), Accounts.empty(1024)
    users.uses[3:6] = bytes([UC, UC, WB])
    kernel.uses[3:6] = bytes([WB, UC_MINUS, WB])
    beyond = RAM.end >> 12
    users.uses[beyond], kernel.uses[beyond] = UC, WB
    assert list(conflicting(X86_64, users, kernel, [RAM])) == [3]


def test_mapped_more_often_than_counted() -> None:
    users = Accounts.empty(4)
    users.counts[:] = bytes([1, 2, 2, 1])
    kinds = bytearray([0, 0, FrameClass.SLAB, 0])
    assert list(uncounted(users, Frames(kinds, [1, 1, 0, 5]))) == [1]
