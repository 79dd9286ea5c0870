# SPDX-License-Identifier: GPL-2.0-or-later
"""The bytes of a dump, from a plain file or from makedumpfile's flattened format.

    flattened:  4 KiB header | offset, size, data | offset, size, data | … | -1, -1

Numbers are big-endian. A later record overwrites an earlier one. Sources: makedumpfile's
``makedumpfile.h`` (struct makedumpfile_data_header) and ``IMPLEMENTATION``.
"""

from __future__ import annotations

import bisect
import os
import struct
from dataclasses import replace
from typing import BinaryIO, Final, Protocol

from pageproof.attach.elfmap import Segment, pieces_of
from pageproof.errors import PageproofError

_FLAT_HEADER_BYTES: Final = 4096
_FLAT_END: Final = -1
#: Limit of records. libkdumpfile searches all records for each one that it adds, so a larger number
#: takes minutes. makedumpfile writes about one for every 32 KiB.
_MAX_RECORDS: Final = 1 << 18


class FileBytes(Protocol):
    """Bytes by offset."""

    size: int

    def read(self, offset: int, length: int) -> bytes:
        """Return ``length`` bytes; zeros where there are none."""

    def holds(self, start: int, end: int) -> bool:
        """Return whether all bytes from ``start`` to before ``end`` are there."""


class PlainBytes:
    """A file as it is."""

    def __init__(self, file: BinaryIO) -> None:
        self._descriptor = file.fileno()
        self.size = os.fstat(self._descriptor).st_size

    def read(self, offset: int, length: int) -> bytes:
        if not 0 <= offset < self.size:
            return bytes(length)
        return os.pread(self._descriptor, length, offset).ljust(length, b"\0")

    def holds(self, start: int, end: int) -> bool:
        return 0 <= start <= end <= self.size


class FlattenedBytes:
    """The content of a flattened file, as ``makedumpfile -R`` would write it.

    Raises:
        PageproofError: the file is truncated or damaged, or has no data.
    """

    def __init__(self, plain: PlainBytes, where: str) -> None:
        self._plain = plain
        records = _records(plain, where)
        self._pieces = pieces_of(records)
        self._starts = [piece.paddr for piece in self._pieces]
        self.size = self._pieces[-1].paddr + self._pieces[-1].length

    def read(self, offset: int, length: int) -> bytes:
        data = bytearray(length)
        end = offset + length
        at = max(bisect.bisect_right(self._starts, offset) - 1, 0)
        for piece in self._pieces[at : bisect.bisect_left(self._starts, end)]:
            start, stop = max(piece.paddr, offset), min(piece.paddr + piece.length, end)
            if start < stop and piece.file_offset is not None:
                from_file = self._plain.read(piece.file_offset + start - piece.paddr, stop - start)
                data[start - offset : stop - offset] = from_file
        return bytes(data)

    def parts(self) -> list[tuple[int, int, int]]:
        """Return offset in the content, length and offset in the file of each part with data."""
        return [
            (piece.paddr, piece.length, piece.file_offset)
            for piece in self._pieces
            if piece.file_offset is not None
        ]

    def placed(self, segments: list[Segment]) -> list[Segment]:
        """Return segments of the content as segments of the file.

        Parts of a segment that the file does not have are omitted memory.
        """
        found = []
        for one in segments:
            found.append(replace(one, file_bytes=0, order=2 * one.order))
            end = one.file_offset + one.file_bytes
            at = max(bisect.bisect_right(self._starts, one.file_offset) - 1, 0)
            for piece in self._pieces[at : bisect.bisect_left(self._starts, end)]:
                start = max(piece.paddr, one.file_offset)
                length = min(piece.paddr + piece.length, end) - start
                if length > 0 and piece.file_offset is not None:
                    skip = start - one.file_offset
                    vaddr = None if one.vaddr is None else one.vaddr + skip
                    offset = piece.file_offset + start - piece.paddr
                    order = 2 * one.order + 1
                    found.append(Segment(one.paddr + skip, length, length, order, offset, vaddr))
        return found

    def holds(self, start: int, end: int) -> bool:
        at = max(bisect.bisect_right(self._starts, start) - 1, 0)
        for piece in self._pieces[at : bisect.bisect_left(self._starts, end)]:
            if piece.paddr <= start < piece.paddr + piece.length:
                start = piece.paddr + piece.length
        return start >= max(end, 0)


def _records(plain: PlainBytes, where: str) -> list[Segment]:
    records: list[Segment] = []
    at = _FLAT_HEADER_BYTES
    while True:
        if at + 16 > plain.size:
            raise cut(where, plain.size, at + 16)
        offset, length = struct.unpack(">qq", plain.read(at, 16))
        if offset == _FLAT_END:
            break
        if offset < 0 or length <= 0:
            raise damaged(where, f"the flattened format's record at byte {at} is not valid")
        if len(records) == _MAX_RECORDS:
            raise PageproofError(
                f"the flattened dump has more than {_MAX_RECORDS} records",
                where,
                "convert it to a plain one: makedumpfile -R VMCORE < FLATTENED",
            )
        records.append(Segment(offset, length, length, len(records), at + 16))
        at += 16 + length
    if not records:
        raise damaged(where, "the flattened format has no data")
    return records


def cut(where: str, size: int, needed: int) -> PageproofError:
    """Return the error for a dump whose file is too short."""
    return PageproofError(
        f"the dump is truncated: it has {size} bytes and needs at least {needed}",
        where,
        "copy it again, or dump again with enough disk space",
    )


def damaged(where: str, what: str) -> PageproofError:
    """Return the error for an inconsistent dump."""
    return PageproofError(
        f"the dump is damaged: {what}", where, "copy it again in binary mode; else dump again"
    )
