# SPDX-License-Identifier: GPL-2.0-or-later
"""Records of LiME and AVML images.

    LiME:  header | memory | header | memory | …
    AVML:  header | snappy frames of the memory | their length, 8 bytes | header | …

A header has a magic, a version, the physical addresses of the first and the last byte, and 8 bytes
of zeros. Sources: LiME's ``lime.h`` and ``main.c``, AVML's ``image.rs``. Without compression AVML
writes LiME's records.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from pageproof.attach.elfmap import Segment
from pageproof.attach.filebytes import FileBytes, cut, damaged
from pageproof.attach.formats import Form
from pageproof.space.units import ADDRESS_END, PAGE_BYTES

_HEADER: Final = struct.Struct("<4sIQQQ")
#: Magic and version of each form.
_KINDS: Final = {Form.LIME: (b"EMiL", 1), Form.AVML: (b"AVML", 2)}
#: Limit of records. AVML splits memory into records of 16 MiB; this is enough for 4 TiB.
_MAX_RECORDS: Final = 1 << 18
_BLOCK: Final = bytes(1 << 20)


@dataclass(frozen=True, slots=True)
class Record:
    """One record: physical memory from ``start`` to before ``end``; its data is at ``offset``."""

    number: int
    start: int
    end: int
    offset: int


def records(
    source: FileBytes, form: Form, where: str, follows: Callable[[Record], int]
) -> Iterator[Record]:
    """Yield the records of an image.

    Args:
        source: the file.
        form: LIME or AVML.
        where: the path, for messages.
        follows: returns the offset of what follows a record.

    Raises:
        PageproofError: the image is truncated or damaged.
    """
    magic, version = _KINDS[form]
    at, last_end, number = 0, 0, 0
    while at < source.size:
        if at + _HEADER.size > source.size:
            raise cut(where, source.size, at + _HEADER.size)
        found, its_version, start, last, zeros = _HEADER.unpack(source.read(at, _HEADER.size))
        if found != magic:
            raise damaged(where, f"there is no record at byte {at}, where record {number} must be")
        if its_version != version or zeros:
            raise damaged(where, f"the record at byte {at} has version {its_version}")
        if last < start or last >= ADDRESS_END - 1:
            raise damaged(where, f"the record at byte {at} ends before it begins")
        if number and start < last_end:
            raise damaged(
                where,
                f"the record at byte {at} begins at {start:#x}, before the end of the one before",
            )
        if number == _MAX_RECORDS:
            raise damaged(where, f"it has more than {_MAX_RECORDS} records")
        record = Record(number, start, last + 1, at + _HEADER.size)
        at = follows(record)
        yield record
        last_end, number = record.end, number + 1


def lime_segments(source: FileBytes, where: str) -> list[Segment]:
    """Return the memory of a LiME image.

    The zeros at a record's end count as omitted: if a page takes LiME longer than a second, it
    writes zeros in place of the rest of the range (``timeout`` in ``write_range()``).

    Raises:
        PageproofError: the image is truncated or damaged.
    """

    def follows(record: Record) -> int:
        end = record.offset + record.end - record.start
        if not source.holds(record.offset, end):
            raise cut(where, source.size, end)
        return end

    return [
        Segment(one.start, one.end - one.start, _without_zeros(source, one), one.number, one.offset)
        for one in records(source, Form.LIME, where, follows)
    ]


def _without_zeros(source: FileBytes, record: Record) -> int:
    """Return the length of a record's memory without the pages of zeros at its end."""
    length = record.end - record.start
    while length:
        some = min(length, len(_BLOCK))
        block = source.read(record.offset + length - some, some)
        if block != _BLOCK[:some]:
            used = record.start + length - some + len(block.rstrip(b"\0"))
            return min(-(-used // PAGE_BYTES) * PAGE_BYTES, record.end) - record.start
        length -= some
    return 0
