# SPDX-License-Identifier: GPL-2.0-or-later
"""Compressed AVML images: an index of their snappy chunks, and the memory in them.

    record:  header | "sNaPpY" chunk | chunk | chunk | … | length of all chunks, 8 bytes
    chunk:   type, length of the rest in 3 bytes | CRC, 4 bytes | up to 64 KiB of memory

Types are 0 (compressed), 1 (as it is) and 255 (the first one). Sources: AVML's ``image.rs``,
snappy's ``framing_format.txt``. The CRC is not checked: a raw image has none either.
"""

from __future__ import annotations

import bisect
import ctypes
import mmap
import struct
from array import array
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import Any, BinaryIO, Final

from pageproof.attach.filebytes import PlainBytes, cut, damaged
from pageproof.attach.formats import Form
from pageproof.attach.lime import Record, records
from pageproof.attach.physical import Heads
from pageproof.errors import PageproofError
from pageproof.model import MemoryGap, Outcome
from pageproof.space.units import PAGE_BYTES

_STREAM: Final = b"\xff\x06\x00\x00sNaPpY"
_COMPRESSED, _PLAIN = 0, 1
_HEAD_BYTES: Final = 4
_CRC_BYTES: Final = 4
_LENGTH: Final = struct.Struct("<Q")
_MAX_CHUNK: Final = 1 << 16
#: Lower limit of a chunk that is not the last one of its record, which bounds the index. AVML's
#: encoder fills them up to 64 KiB.
_LEAST_CHUNK: Final = PAGE_BYTES
#: Chunks whose memory is kept: 64 MiB.
_KEPT: Final = 1 << 10
_SEARCHED_BYTES: Final = 1 << 20


@cache
def _snappy() -> Any:
    """Return ``snappy_uncompress()``. The library checks its input, and releases nothing."""
    library = ctypes.CDLL("libsnappy.so.1")
    library.snappy_uncompress.argtypes = (
        ctypes.c_char_p,
        ctypes.c_size_t,
        ctypes.c_char_p,
        ctypes.POINTER(ctypes.c_size_t),
    )
    return library.snappy_uncompress


class AvmlMemory:
    """The memory of a compressed image; see :class:`pageproof.attach.physical.PhysicalMemory`.

    Args:
        file: the image.
        where: its path, for messages.

    Raises:
        PageproofError: the image is truncated or damaged, or there is no libsnappy.
    """

    def __init__(self, file: BinaryIO, where: str) -> None:
        try:
            _snappy()
        except OSError:
            raise PageproofError(
                "a compressed AVML image needs libsnappy.so.1, which is not installed",
                where,
                "install it (Debian: libsnappy1v5, Fedora: snappy), or convert the image: "
                "avml convert FILE IMAGE",
            ) from None
        try:
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise PageproofError(f"cannot map the image: {error}", where) from None
        self._where = where
        #: Of each chunk: physical address of its first byte, offset of its data, length of its
        #: data times two, plus one if it is not compressed.
        self._starts, self._offsets, self._lengths = array("Q"), array("Q"), array("I")
        #: (paddr, end) of memory, as a drgn segment each.
        self.parts: list[tuple[int, int]] = []
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        for record in records(PlainBytes(file), Form.AVML, where, self._index):
            if self.parts and self.parts[-1][1] == record.start:
                self.parts[-1] = self.parts[-1][0], record.end
            else:
                self.parts.append((record.start, record.end))
        self._part_starts = [start for start, _ in self.parts]
        whole = ((-(-start // PAGE_BYTES), end // PAGE_BYTES) for start, end in self.parts)
        self.ranges = tuple(
            (first * PAGE_BYTES, (end - first) * PAGE_BYTES) for first, end in whole if first < end
        )

    def _index(self, record: Record) -> int:
        """Add a record's chunks to the index; return the offset of the next record."""
        data, size, at, paddr = self._data, len(self._data), record.offset, record.start
        if data[at : at + len(_STREAM)] != _STREAM:
            raise self._damaged(at) if at + len(_STREAM) <= size else self._cut(at)
        at += len(_STREAM)
        while paddr < record.end:
            body = at + _HEAD_BYTES + _CRC_BYTES
            if body + 3 > size:  # a varint of up to 64 KiB has three bytes
                raise self._cut(body + 3)
            kind = data[at]
            packed = int.from_bytes(data[at + 1 : body - _CRC_BYTES], "little") - _CRC_BYTES
            length = _varint(data, body) if kind == _COMPRESSED else packed
            last = paddr + length == record.end
            if (
                kind not in (_COMPRESSED, _PLAIN)
                or not (0 if last else _LEAST_CHUNK - 1) < length <= _MAX_CHUNK
                or packed < 0
                or paddr + length > record.end
            ):
                raise self._damaged(at)
            if body + packed > size:
                raise self._cut(body + packed)
            self._starts.append(paddr)
            self._offsets.append(body)
            self._lengths.append(packed << 1 | (kind == _PLAIN))
            paddr, at = paddr + length, body + packed
        if at + _LENGTH.size > size:
            raise self._cut(at + _LENGTH.size)
        if _LENGTH.unpack(data[at : at + _LENGTH.size])[0] != at - record.offset:
            raise damaged(self._where, f"the length at byte {at} is not that of the record")
        return at + _LENGTH.size

    def _cut(self, needed: int) -> PageproofError:
        return cut(self._where, len(self._data), needed)

    def _damaged(self, at: int) -> PageproofError:
        return damaged(self._where, f"there is no snappy chunk at byte {at}")

    def read(self, paddr: int, length: int) -> bytes:
        at = bisect.bisect_right(self._part_starts, paddr) - 1
        if at < 0 or paddr + length > self.parts[at][1]:
            raise MemoryGap(Outcome.UNREADABLE, f"{paddr:#x} is not in the image")
        number = bisect.bisect_right(self._starts, paddr) - 1
        skip = paddr - self._starts[number]
        chunk = self._chunk(number)
        if skip + length <= len(chunk):
            return chunk[skip : skip + length]
        pieces = [chunk[skip:]]
        missing = length - len(pieces[0])
        while missing > 0:
            number += 1
            pieces.append(self._chunk(number)[:missing])
            missing -= len(pieces[-1])
        return b"".join(pieces)

    def heads(self, paddr: int, length: int) -> Iterator[Heads]:
        for at in range(paddr, paddr + length, _SEARCHED_BYTES):
            some = min(_SEARCHED_BYTES, paddr + length - at)
            try:
                yield Heads(at, memoryview(self.read(at, some)), PAGE_BYTES)
            except MemoryGap:  # a damaged chunk: without its pages
                for page in range(at, at + some, PAGE_BYTES):
                    with suppress(MemoryGap):
                        yield Heads(page, memoryview(self.read(page, PAGE_BYTES)), PAGE_BYTES)

    def _chunk(self, number: int) -> bytes:
        kept = self._kept
        if number in kept:
            kept.move_to_end(number)
            return kept[number]
        offset, length = self._offsets[number], self._lengths[number]
        data = self._data[offset : offset + (length >> 1)]
        if not length & 1:
            wanted = _varint(data, 0)
            room = ctypes.create_string_buffer(wanted)
            got = ctypes.c_size_t(wanted)
            if _snappy()(data, len(data), room, ctypes.byref(got)) or got.value != wanted:
                raise MemoryGap(
                    Outcome.UNREADABLE,
                    f"{self._starts[number]:#x}: its snappy chunk at byte {offset} is damaged",
                )
            data = room.raw
        kept[number] = data
        if len(kept) > _KEPT:
            kept.popitem(last=False)
        return data


def _varint(data: bytes | mmap.mmap, at: int) -> int:
    """Return the length before compressed data: 7 bits a byte. 0 if it has more than 3 bytes."""
    number = 0
    for shift in (0, 7, 14):
        byte = data[at]
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number
        at += 1
    return 0
