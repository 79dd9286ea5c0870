# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's own dumps of its page tables (debugfs, arch/x86/mm/dump_pagetables.c)."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

_LINE = re.compile(
    r"0x(?P<start>[0-9a-f]{16})-0x(?P<end>[0-9a-f]{16}) +\d+[BKMGTPE] (?P<flags>.*)"
    r"(?P<level>pgd|p4d|pud|pmd|pte)"
)
_SIZES = {"pte": 1 << 12, "pmd": 1 << 21, "pud": 1 << 30}


class Right(NamedTuple):
    """What a mapping allows, and the size of its leaf."""

    writable: bool
    executable: bool
    user: bool
    leaf_bytes: int


@dataclass(frozen=True)
class Part:
    """A range with equal rights; both ends inclusive."""

    start: int
    last: int
    right: Right


def parse(text: str) -> Iterator[Part]:
    """Yield what is mapped. The flags are those of the leaf alone."""
    for line in text.splitlines():
        found = _LINE.match(line)
        if not found or not found["flags"].strip():
            continue
        flags = found["flags"]
        end = int(found["end"], 16) or 1 << 64
        right = Right("RW" in flags, "NX" not in flags, "USR" in flags, _SIZES[found["level"]])
        yield Part(int(found["start"], 16), end - 1, right)


def joined(parts: Iterable[Part]) -> list[Part]:
    """Join neighbours with equal rights, for parts in order."""
    done: list[Part] = []
    for part in parts:
        if done and done[-1].last + 1 == part.start and done[-1].right == part.right:
            done[-1] = Part(done[-1].start, part.last, part.right)
        else:
            done.append(part)
    return done


def steady(before: list[Part], after: list[Part]) -> list[tuple[int, int, Right | None]]:
    """Return the ranges on which both agree, with the right; None for not mapped."""
    edges = sorted(
        {0, 1 << 64} | {edge for part in (*before, *after) for edge in (part.start, part.last + 1)}
    )
    found, first, second = [], iter(before), iter(after)
    one, other = next(first, None), next(second, None)
    for start, end in pairwise(edges):
        while one and one.last < start:
            one = next(first, None)
        while other and other.last < start:
            other = next(second, None)
        mine = one.right if one and one.start <= start else None
        theirs = other.right if other and other.start <= start else None
        if mine == theirs:
            found.append((start, end - 1, mine))
    return found


def difference(
    steady_ranges: list[tuple[int, int, Right | None]], ours: list[Part]
) -> list[tuple[int, int, Right | None, Right | None]]:
    """Return where ours is not as expected: start, last, expected, found."""
    wrong = []
    parts = iter(ours)
    part = next(parts, None)
    for start, last, wanted in steady_ranges:
        at = start
        while at <= last:
            while part and part.last < at:
                part = next(parts, None)
            inside = part is not None and part.start <= at
            stop = min(last, part.last if part and inside else (part.start - 1 if part else last))
            right = part.right if part and inside else None
            if right != wanted:
                wrong.append((at, stop, wanted, right))
            at = stop + 1
    return wrong


def without(
    ranges: list[tuple[int, int, Right | None]], holes: list[tuple[int, int]]
) -> list[tuple[int, int, Right | None]]:
    """Cut holes, in order, out of ranges, in order."""
    found = []
    number = 0
    for start, last, right in ranges:
        at = start
        while number < len(holes) and holes[number][1] < start:
            number += 1
        for hole_start, hole_last in holes[number:]:
            if hole_start > last:
                break
            if at < hole_start:
                found.append((at, hole_start - 1, right))
            at = max(at, hole_last + 1)
        if at <= last:
            found.append((at, last, right))
    return found
