# SPDX-License-Identifier: GPL-2.0-or-later
"""Remove chosen frames from a dump: omitted as makedumpfile omits them, or filled with zeros.

ELF     omitted: the segment is split, and the frame is memory without bytes in the file
        zeros:   the bytes in the file are zeros
kdump   omitted: no bit in bitmap 2, no descriptor, no data
        zeros:   the descriptor is that of the page of zeros, which zero pages share
"""

import shutil
import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

PAGE = 4096
PHDR = struct.Struct("<IIQQQQQQ")
PT_LOAD = 1


@dataclass(frozen=True)
class Phdr:
    """A program header."""

    type: int
    flags: int
    offset: int
    vaddr: int
    paddr: int
    file_bytes: int
    memory_bytes: int
    align: int

    def packed(self) -> bytes:
        words = (self.type, self.flags, self.offset, self.vaddr, self.paddr)
        return PHDR.pack(*words, self.file_bytes, self.memory_bytes, self.align)

    def without(self, frames: Collection[int]) -> Iterator["Phdr"]:
        """Yield segments of the same memory, in which no frame has bytes in the file."""
        end = self.paddr + self.file_bytes
        gone = sorted(f * PAGE for f in frames if self.paddr <= f * PAGE and f * PAGE + PAGE <= end)
        edges = [self.paddr, *gone, self.paddr + self.memory_bytes]
        for number, (start, stop) in enumerate(pairwise(edges)):
            skip = start - self.paddr
            hole = PAGE if number else 0
            if start == stop:
                continue
            if hole:
                yield self._part(skip, 0, hole)
            yield self._part(skip + hole, min(stop, end) - start - hole, stop - start - hole)

    def _part(self, skip: int, file_bytes: int, memory_bytes: int) -> "Phdr":
        return replace(
            self,
            offset=self.offset + skip,
            vaddr=self.vaddr + skip,
            paddr=self.paddr + skip,
            file_bytes=max(file_bytes, 0),
            memory_bytes=memory_bytes,
        )


def _phdrs(data: bytes) -> list[Phdr]:
    (at,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    assert size == PHDR.size
    return [Phdr(*PHDR.unpack_from(data, at + size * number)) for number in range(count)]


def remove_from_elf(dump: Path, into: Path, frames: Collection[int], *, zeros: bool) -> int:
    """Write a copy of an ELF dump without some frames.

    Returns:
        How many places in the file held them.
    """
    shutil.copyfile(dump, into)
    with into.open("r+b") as file:
        headers = _phdrs(file.read(1 << 20))
        loads = [one for one in headers if one.type == PT_LOAD and one.file_bytes]
        places = [
            one.offset + frame * PAGE - one.paddr
            for one in loads
            for frame in frames
            if one.paddr <= frame * PAGE and frame * PAGE + PAGE <= one.paddr + one.file_bytes
        ]
        if zeros:
            for place in places:
                file.seek(place)
                file.write(bytes(PAGE))
            return len(places)
        table = [
            part
            for one in headers
            for part in (one.without(frames) if one.type == PT_LOAD else [one])
        ]
        at = file.seek(0, 2)
        file.write(b"".join(one.packed() for one in table))
        file.seek(32)
        file.write(struct.pack("<Q", at))
        file.seek(56)
        file.write(struct.pack("<H", len(table)))
        for place in places:  # nothing may find them by chance
            file.seek(place)
            file.write(b"\xdb" * PAGE)
    return len(places)


def remove_from_kdump(dump: Path, into: Path, frames: Collection[int], *, zeros: bool) -> int:
    """Write a copy of a kdump-compressed dump without some frames.

    Returns:
        How many of them the dump had.
    """
    data = dump.read_bytes()
    sub_blocks, bitmap_blocks = struct.unpack_from("<iI", data, 432)
    bitmap_at = (1 + sub_blocks) * PAGE
    half = bitmap_blocks // 2 * PAGE
    table_at = bitmap_at + 2 * half
    bits = int.from_bytes(data[bitmap_at + half : table_at], "little")
    pages = [number for number, bit in enumerate(bin(bits)[:1:-1]) if bit == "1"]
    found = [struct.unpack_from("<QIIQ", data, table_at + 24 * n) for n in range(len(pages))]
    data_at = table_at + 24 * len(pages)
    had = set(pages) & set(frames)
    keep = [(page, one) for page, one in zip(pages, found, strict=True) if zeros or page not in had]
    new_at = table_at + 24 * len(keep)
    table, blocks, at = [], [bytes(PAGE)], new_at + PAGE
    for page, (offset, size, flags, page_flags) in keep:
        if page in had or (offset, size) == (data_at, PAGE):
            table.append(struct.pack("<QIIQ", new_at, PAGE, 0, 0))
            continue
        table.append(struct.pack("<QIIQ", at, size, flags, page_flags))
        blocks.append(data[offset : offset + size])
        at += size
    left = sum(1 << page for page in {page for page, _ in keep}) if not zeros else bits
    bitmap = left.to_bytes(half, "little")
    head = data[: bitmap_at + half]
    into.write_bytes(b"".join([head, bitmap, *table, *blocks]))
    return len(had)
