# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks of a kdump-compressed dump before libkdumpfile reads it.

    header | sub header, notes | bitmap 1 | bitmap 2 | descriptors | data

Bitmap 2 has a bit for each page with a descriptor, in the same order. A descriptor has the offset
of the page's data. libkdumpfile (0.5.6) maps the file and checks none of this: data beyond the end
of the file is a SIGBUS, and one bit too many or too few silently shifts every later page.

Sources: makedumpfile's ``IMPLEMENTATION`` and ``diskdump_mod.h``; libkdumpfile's ``diskdump.c``.
"""

from __future__ import annotations

import hashlib
import struct
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from operator import add, not_
from typing import Final, NamedTuple

from pageproof import arch
from pageproof.arch.engine import CompressedPart
from pageproof.attach.filebytes import FileBytes, cut, damaged
from pageproof.errors import PageproofError

_BLOCK: Final = 4096
_HEADER_BYTES: Final = 464
#: ``struct disk_dump_header``: six 65-byte utsname fields, padding and a 16-byte timestamp
#: precede status, block_size, sub_hdr_size, bitmap_blocks and max_mapnr.
_VERSION_AT: Final = 8
_MACHINE: Final = slice(12 + 4 * 65, 12 + 5 * 65)
_WORDS_AT: Final = 424
#: Offset of ``block_size`` in a 32-bit header. libkdumpfile tries that form first.
_BLOCK_SIZE_32_AT: Final = 416
_BLOCK_SIZES: Final = frozenset(1 << bit for bit in range(12, 19))
#: Dumps of kernels since 2.6.24 have a VMCOREINFO, and this or a later version.
_FIRST_VERSION: Final = 3
#: ``DUMP_DH_COMPRESSED_INCOMPLETE`` of the header's status word.
_INCOMPLETE: Final = 0x8
#: ``struct kdump_sub_header``: split, then pairs of offset and size of VMCOREINFO, notes and
#: eraseinfo, then start_pfn_64, end_pfn_64 and max_mapnr_64 (version 6).
_SUB_HEADER: Final = struct.Struct("<QiiQQQQQQQQQQQ")
#: Limit of the notes; with some thousands of CPUs they have a few MiB.
_MAX_NOTE_BYTES: Final = 64 << 20
#: Limit of pages: 64 TiB, the direct map with 4 levels. A bitmap then has 2 GiB.
_MAX_PAGES: Final = 1 << 34

#: Flags of a page. libkdumpfile returns the data of a page with another one as it is
#: (diskdump_read_page()).
COMPRESSIONS: Final = {0x1: "zlib", 0x2: "lzo", 0x4: "snappy", 0x20: "zstd"}
_METHODS: Final = frozenset({0, *COMPRESSIONS})

#: What to do with one part of a split dump.
ALL_PARTS: Final = "give all parts: -c PART1 -c PART2 …"

_DESCRIPTOR_BYTES: Final = 24
#: Multiple of a block, and of a descriptor.
_CHUNK_BYTES: Final = 3 << 18


@dataclass(frozen=True)
class KdumpLayout:
    """Where a dump has its pages.

    Attributes:
        split: it is one part of a split dump (``makedumpfile --split``).
        bitmap_at: offset of bitmap 2, which has a bit for each page from page 0 on.
        first_page, end_page: the pages whose bits have a descriptor in this file.
        descriptors_at: offset of the descriptors.
        max_page: number of pages of the whole dump.
        pages: how many of them have a descriptor in this file.
        info: VMCOREINFO.
        identity: digest of what all parts of one dump have in common.
    """

    split: bool
    bitmap_at: int
    first_page: int
    end_page: int
    descriptors_at: int
    max_page: int
    pages: int
    info: bytes
    identity: bytes


@dataclass(frozen=True)
class KdumpPages:
    """The pages of a kdump-compressed dump.

    Attributes:
        memory: the whole file, mapped.
        parts: offset in the dump, length, offset in the file, of each part of the file that has
            data; sorted and apart.
        layout: where the pages are.
    """

    memory: memoryview
    parts: Sequence[tuple[int, int, int]]
    layout: KdumpLayout

    def for_engine(self) -> CompressedPart:
        """Return the pages as the engine gets them."""
        parts = array("Q", (number for part in self.parts for number in part))
        one = self.layout
        return self.memory, parts, one.bitmap_at, one.first_page, one.end_page, one.descriptors_at


def check_kdump(source: FileBytes, where: str) -> KdumpLayout:
    """Check a kdump-compressed dump.

    Returns:
        Where its pages are.

    Raises:
        PageproofError: the dump is truncated, incomplete or damaged.
    """
    if source.size < _HEADER_BYTES:
        raise cut(where, source.size, _HEADER_BYTES)
    header = source.read(0, _HEADER_BYTES)
    (version,) = struct.unpack_from("<i", header, _VERSION_AT)
    status, block, sub_blocks, bitmap_blocks, max_page = struct.unpack_from(
        "<IiiII", header, _WORDS_AT
    )
    machine = header[_MACHINE].partition(b"\0")[0]
    if machine not in (b"", arch.ONLY.encode()):
        why = f"the dump is not of an {arch.ONLY} machine"
        raise PageproofError(why, where, f"only {arch.ONLY} is supported")
    if status & _INCOMPLETE:
        raise PageproofError(
            "the dump is truncated: makedumpfile marked it as incomplete",
            where,
            "dump again with enough disk space",
        )
    if version < _FIRST_VERSION or block != _BLOCK or sub_blocks < 1:
        raise damaged(
            where, f"its header has version {version}, block size {block}, sub header {sub_blocks}"
        )
    if not _BLOCK_SIZES.isdisjoint(
        struct.unpack_from(order + "I", header, _BLOCK_SIZE_32_AT)[0] for order in "<>"
    ):
        raise damaged(where, "its header could also be that of a 32-bit machine")
    sub = _check_sub_header(source, where, version, max_page)
    max_page = sub.max_page
    bitmap_at = (1 + sub_blocks) * _BLOCK
    half = bitmap_blocks // 2 * _BLOCK
    if max_page > min(half * 8, _MAX_PAGES) or half > _MAX_PAGES // 8:
        raise damaged(where, f"a bitmap of {half} bytes does not fit {max_page} pages")
    descriptors_at = bitmap_at + bitmap_blocks * _BLOCK
    # A flattened dump omits the zeros after each bitmap's last bit.
    starts = (bitmap_at, bitmap_at + half)
    if source.size < descriptors_at or not all(source.holds(one, one + 1) for one in starts):
        raise cut(where, source.size, descriptors_at)
    if bits_set(source, bitmap_at + half, half, max_page, half * 8):
        raise damaged(where, f"its bitmap has pages after the last one, {max_page}")
    pages = bits_set(source, bitmap_at + half, half, sub.first_page, min(sub.end_page, half * 8))
    # makedumpfile divides a machine with a few GiB so that some parts have no page.
    if not sub.split:
        _check_descriptors(source, where, descriptors_at, pages, pages)
    elif pages:
        # Each part has room for the descriptors of all (write_kdump_pages_and_bitmap_cyclic()).
        room = bits_set(source, bitmap_at + half, half, 0, half * 8)
        _check_descriptors(source, where, descriptors_at, pages, room)
    return KdumpLayout(
        sub.split,
        bitmap_at + half,
        sub.first_page,
        min(sub.end_page, half * 8),
        descriptors_at,
        sub.max_page,
        pages,
        sub.info,
        _digest(source, header + sub.common, bitmap_at + half, half) if sub.split else b"",
    )


class _SubHeader(NamedTuple):
    """What the sub header gives.

    Attributes:
        first_page, end_page: the pages of this file.
        max_page: number of pages of the whole dump.
        split: this file is one part.
        info: VMCOREINFO.
        common: bytes that all parts of one dump have in common.
    """

    first_page: int
    end_page: int
    max_page: int
    split: bool
    info: bytes
    common: bytes


def _digest(source: FileBytes, common: bytes, at: int, length: int) -> bytes:
    digest = hashlib.sha256(common)
    for chunk in _chunks(source, at, length):
        digest.update(chunk)
    return digest.digest()


def _check_sub_header(source: FileBytes, where: str, version: int, max_page: int) -> _SubHeader:
    """Check the ranges in the sub header."""
    words = _SUB_HEADER.unpack(source.read(_BLOCK, _SUB_HEADER.size))
    _, _, split, start, end, info, info_bytes, notes, notes_bytes = words[:9]
    erased, erased_bytes, start_64, end_64, max_64 = words[9:]
    for name, offset, length in (
        ("VMCOREINFO", info, info_bytes),
        ("notes", notes, notes_bytes),
        ("erase info", erased, erased_bytes),
    ):
        if length and (length > _MAX_NOTE_BYTES or not source.holds(offset, offset + length)):
            raise damaged(where, f"bad range of {name}: {length} bytes at byte {offset}")
    if version >= 6:
        start, end, max_page = start_64, end_64, max_64
    if split and not start <= end <= max_page:
        raise damaged(where, f"it claims to be the part from page {start} to page {end}")
    if not split:
        start, end = 0, max_page
    text = source.read(info, info_bytes)
    common = struct.pack("<QqQ", words[0], words[1], max_page) + text
    return _SubHeader(start, end, max_page, bool(split), text, common)


def bits_set(source: FileBytes, at: int, length: int, first: int, end: int) -> int:
    """Count the bits that are set in a part of a bitmap.

    Args:
        source: the file.
        at: offset of the bitmap.
        length: size of the bitmap in bytes.
        first: number of the first bit to count.
        end: number of the bit after the last one.
    """
    if first >= end:
        return 0
    count = 0
    for offset in range(first // 8, min(-(-end // 8), length), _CHUNK_BYTES):
        chunk = source.read(at + offset, min(_CHUNK_BYTES, length - offset))
        bits = int.from_bytes(chunk, "little")
        low = max(first - offset * 8, 0)
        bits = bits >> low << low
        if end - offset * 8 < len(chunk) * 8:
            bits &= (1 << end - offset * 8) - 1
        count += bits.bit_count()
    return count


def _check_descriptors(source: FileBytes, where: str, at: int, pages: int, room: int) -> None:
    """Check that each bit has a descriptor and that each page's data is in the file.

    The data begins behind the place for ``room`` descriptors.

    makedumpfile and QEMU write the data of all pages in order and without gaps. It starts with one
    page of zeros that all zero pages share, unless zeros are dumped like other data.
    """
    if not pages:
        raise damaged(where, "its bitmap has no page")
    data_at = at + room * _DESCRIPTOR_BYTES
    if not source.holds(at, data_at):
        raise cut(where, source.size, data_at)
    wrong = damaged(
        where, f"its bitmap, which has {pages} pages, and its page descriptors do not match"
    )
    zeros = {_BLOCK}
    end = 0
    for chunk in _chunks(source, at, pages * _DESCRIPTOR_BYTES):
        # struct page_desc: 8 bytes offset, 4 bytes size, 4 bytes flags, 8 bytes page flags.
        offsets = memoryview(chunk).cast("Q")[::3].tolist()
        sizes = memoryview(chunk).cast("I")[2::6].tolist()
        unknown = set(memoryview(chunk).cast("I")[3::6].tolist()) - _METHODS
        if unknown:
            raise PageproofError(
                f"some pages are compressed by an unknown method, {min(unknown):#x}",
                where,
                "convert it with the makedumpfile that wrote it: makedumpfile -c VMCORE CONVERTED",
            )
        is_other = list(map(data_at.__ne__, offsets))
        first = set(compress(sizes, map(not_, is_other)))
        if first:
            if end and zeros != first:
                raise wrong
            zeros = first
            offsets, sizes = list(compress(offsets, is_other)), list(compress(sizes, is_other))
        ends = list(map(add, offsets, sizes))
        starts = [end or data_at + min(zeros), *ends[:-1]]
        if offsets != starts[: len(offsets)] or len(zeros) > 1:
            raise wrong
        end = ends[-1] if ends else end
    end = end or data_at + min(zeros)
    if end > source.size:
        raise cut(where, source.size, end)
    if not source.holds(data_at, end):
        raise damaged(where, "data of some pages is missing")


def _chunks(source: FileBytes, at: int, length: int) -> Iterator[bytes]:
    for offset in range(at, at + length, _CHUNK_BYTES):
        yield source.read(offset, min(_CHUNK_BYTES, at + length - offset))
