# SPDX-License-Identifier: GPL-2.0-or-later
"""``--ram START-END@OFFSET``: where a raw image has the ranges of a machine's RAM."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from pageproof.errors import PageproofError
from pageproof.space.units import ADDRESS_END, PAGE_BYTES

_NUMBER: Final = r"(?:0x)?([0-9a-f]{1,17})"
_FORM: Final = re.compile(f"{_NUMBER}-{_NUMBER}@{_NUMBER}")
_EXAMPLE: Final = "give START-END@OFFSET in hex, such as 100000000-17fffffff@80000000"


@dataclass(frozen=True)
class RamRange:
    """Physical memory from ``start`` to before ``end``, at ``offset`` of the file."""

    start: int
    end: int
    offset: int

    def __str__(self) -> str:
        return f"{self.start:x}-{self.end - 1:x}@{self.offset:x}"


def parse_ram(text: str) -> RamRange:
    """Parse one range. END is the last byte, as in ``/proc/iomem``, or the first one after it.

    RAM has whole pages, which shows which of the two END is.

    Raises:
        PageproofError: it is none, or has no whole pages.
    """
    where = f"--ram {text}"
    match = _FORM.fullmatch(text.lower())
    if match is None:
        raise PageproofError("this is not a range of RAM", where, _EXAMPLE)
    start, end, offset = (int(number, 16) for number in match.groups())
    end += end % PAGE_BYTES == PAGE_BYTES - 1
    for name, value in (("START", start), ("END", end), ("OFFSET", offset)):
        if value % PAGE_BYTES:
            raise PageproofError(
                f"{name} is not at a page's boundary", where, "round to 4096 bytes (1000 in hex)"
            )
    if not start < end <= ADDRESS_END:
        raise PageproofError("END is not after START", where, _EXAMPLE)
    return RamRange(start, end, offset)


def check_ram(ranges: Sequence[RamRange], size: int, where: str) -> list[RamRange]:
    """Check ranges against each other and against the file; return them in order of address.

    Raises:
        PageproofError: two overlap, in memory or in the file, or one is not in the file.
    """
    for one in ranges:
        if one.offset + one.end - one.start > size:
            raise PageproofError(
                f"--ram {one} lies beyond the end of the file, which has {size:#x} bytes",
                where,
                "correct END or OFFSET; is the file whole?",
            )
    by_offset = [(one.offset, one.offset + one.end - one.start, one) for one in ranges]
    by_address = [(one.start, one.end, one) for one in ranges]
    for places, what in ((by_address, "overlap"), (by_offset, "overlap in the file")):
        ordered = sorted(places, key=lambda place: place[:2])
        for before, after in pairwise(ordered):
            if after[0] < before[1]:
                raise PageproofError(
                    f"--ram {before[2]} and --ram {after[2]} {what}",
                    where,
                    "give each part of memory, and of the file, once",
                )
    return sorted(ranges, key=lambda one: one.start)
