# SPDX-License-Identifier: GPL-2.0-or-later
"""``audit``: the class of every frame, and which mapped frames look wrong."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pageproof.arch import Architecture
from pageproof.attach import Target
from pageproof.find.frame.records import PageLayout, classes_of, mapcounts_of
from pageproof.model import MemoryGap, Range
from pageproof.model.auditfacts import UNMAPPABLE, FrameClass, FramePlaces, Section, Span
from pageproof.space.spans import is_mapped, within
from pageproof.space.units import PAGE_BYTES, PAGE_SHIFT
from pageproof.walk import USE_NORMAL, USE_SPECIAL, Accounts
from pageproof.walk.classify import Test, classify

_NO_PAGE: Final = bytes([FrameClass.NO_PAGE])
_SOMETHING: Final = re.compile(rb"[^\0]", re.DOTALL)


@dataclass(frozen=True)
class Frames:
    """The classes of each frame, and its own mapcount; 0 if it has none."""

    classes: bytearray
    mapcounts: list[int]


def read_frames(
    target: Target,
    layout: PageLayout,
    vmemmap: int,
    kernel: Sequence[Range],
    frames: int,
    sections: Iterable[Section],
) -> Frames:
    """Read struct page of all frames physically, one piece per leaf entry.

    Args:
        target: an attached target.
        layout: of struct page.
        vmemmap: address of struct page of frame 0.
        kernel: ranges of the kernel's tables.
        frames: their number.
        sections: memory sections that have struct pages.
    """
    classes = bytearray(_NO_PAGE) * frames
    mapcounts = [0] * frames
    tests = tuple(Test(*test) for test in layout.tests)
    for section in sections:
        start = vmemmap + section.first_pfn * layout.page_bytes
        end = start + section.pages * layout.page_bytes
        for part in within(kernel, start, end):
            if not is_mapped(part) or part.frame is None:
                continue
            for at, data in _pieces(target, part.start, part.frame, part.last + 1 - part.start):
                first = (at - vmemmap) // layout.page_bytes
                raw = bytearray(classify(data, layout.page_bytes, tests, int(FrameClass.TAIL)))
                _go_on(classes, first, raw)
                count = min(len(raw), frames - first)
                classes[first : first + count] = classes_of(bytes(raw), data, layout)[:count]
                mapcounts[first : first + count] = mapcounts_of(data, layout)[:count]
    return Frames(classes, mapcounts)


def _pieces(target: Target, start: int, paddr: int, length: int) -> Iterator[tuple[int, bytes]]:
    """Yield (virtual address, bytes): all at once, or page by page if some are missing."""
    try:
        yield start, target.reader.read_physical(paddr, length)
    except MemoryGap:
        if length > PAGE_BYTES:
            for offset in range(0, length, PAGE_BYTES):
                yield from _pieces(target, start + offset, paddr + offset, PAGE_BYTES)


def _go_on(classes: bytearray, first: int, raw: bytearray) -> None:
    """Give tail pages at the start of a piece the classes of the frame before it."""
    before = classes[first - 1] if first else 0
    index = 0
    while index < len(raw) and raw[index] & FrameClass.TAIL:
        raw[index] |= before & (FrameClass.SLAB | FrameClass.TABLE | FrameClass.HEAD)
        index += 1


def _and(*arrays: bytes | bytearray) -> bytes:
    value = int.from_bytes(arrays[0], "little")
    for array in arrays[1:]:
        value &= int.from_bytes(array, "little")
    return value.to_bytes(len(arrays[0]), "little")


def _or(one: bytes | bytearray, other: bytes | bytearray) -> bytes:
    both = int.from_bytes(one, "little") | int.from_bytes(other, "little")
    return both.to_bytes(len(one), "little")


_IS_MAPPED: Final = bytes([0]) + bytes([0xFF]) * 255
_ONLY_UNREFERENCED: Final = bytes(bits & FrameClass.UNREFERENCED for bits in range(256))
_ONLY_UNMAPPABLE: Final = bytes(bits & UNMAPPABLE for bits in range(256))


@functools.cache
def _is_conflict(architecture: Architecture) -> bytes:
    """1 for each value of :attr:`Accounts.uses` with types that differ in effect."""
    types = architecture.memory_types

    def conflicts(bits: int) -> bool:
        bits &= ~(USE_NORMAL | USE_SPECIAL)
        used = (kind for number, kind in enumerate(types) if bits >> number & 1)
        return len(architecture.effective_types(used)) > 1

    return bytes(conflicts(bits) for bits in range(256))


def wrong_class(users: Accounts, classes: bytes | bytearray) -> Iterator[int]:
    """Yield frames that processes map and that are free, slab or a table."""
    both = _and(users.uses.translate(_IS_MAPPED), classes.translate(_ONLY_UNMAPPABLE))
    return (found.start() for found in _SOMETHING.finditer(both))


def unreferenced(users: Accounts, classes: bytes | bytearray) -> Iterator[int]:
    """Yield frames that processes map and that have neither a reference nor a type."""
    both = _and(users.uses.translate(_IS_MAPPED), classes.translate(_ONLY_UNREFERENCED))
    return (found.start() for found in _SOMETHING.finditer(both))


def conflicting(
    architecture: Architecture, users: Accounts, kernel: Accounts, ram: Iterable[Span]
) -> Iterator[int]:
    """Yield RAM frames with several memory types."""
    is_ram = bytearray(len(users.uses))
    for span in ram:
        first, end = span.start >> PAGE_SHIFT, min(span.end >> PAGE_SHIFT, len(is_ram))
        is_ram[first:end] = b"\xff" * max(end - first, 0)
    types = _and(_or(users.uses, kernel.uses), is_ram).translate(_is_conflict(architecture))
    return (found.start() for found in _SOMETHING.finditer(types))


def uncounted(users: Accounts, frames: Frames) -> Iterator[int]:
    """Yield frames with more entries than their mapcount; huge leaves are not counted."""
    pairs = zip(users.counts, frames.mapcounts, strict=True)
    return (
        pfn
        for pfn, (found, counted) in enumerate(pairs)
        if found > counted and not frames.classes[pfn] & (UNMAPPABLE | FrameClass.NO_PAGE)
    )


def is_odd(architecture: Architecture, one: FramePlaces) -> bool:
    """Return whether a rule may report it."""
    return (
        one.is_mapped_as(UNMAPPABLE)
        or one.is_mapped_stack
        or one.is_others
        or one.is_uncounted
        or len(architecture.effective_types(kind for _, kind in one.types)) > 1
    )
