# SPDX-License-Identifier: GPL-2.0-or-later
"""What a dump's headers say: format, level, compression, which pages it has.

Sources: makedumpfile's ``diskdump_mod.h`` and ``IMPLEMENTATION``, ``elf.h``.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, Final

from pageproof.attach.dumpfile import open_dump
from pageproof.attach.filebytes import FileBytes, FlattenedBytes, PlainBytes
from pageproof.attach.formats import HEAD_BYTES, Form, recognise
from pageproof.attach.kdump import COMPRESSIONS
from pageproof.errors import PageproofError
from pageproof.files.elfnotes import vmcoreinfo_note, vmcoreinfo_text

_BLOCK: Final = 4096
#: ``struct disk_dump_header``: status, block_size, sub_hdr_size, bitmap_blocks.
_WORDS: Final = struct.Struct("<IiiI")
_WORDS_AT: Final = 424
#: ``struct kdump_sub_header``: dump_level, split; offset and size of VMCOREINFO; start_pfn_64 and
#: end_pfn_64.
_LEVEL_AT: Final = 8
_INFO_AT: Final = 32
_PART_AT: Final = 80
_INCOMPLETE: Final = 0x8
#: ``DUMP_ELF_INCOMPLETE`` in ``e_flags`` (makedumpfile.c).
_ELF_INCOMPLETE: Final = 0x1
_ELF_FLAGS_AT: Final = 48
_DESCRIPTOR_BYTES: Final = 24
#: Limits: descriptors that are counted, and the size of a bitmap, which is a bit for each page.
_MAX_DESCRIPTORS: Final = 1 << 20
_MAX_BITMAP_BYTES: Final = 1 << 31
_MAX_INFO_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class Head:
    """What the headers say.

    Attributes:
        path: the dump.
        form: its format.
        inner: the format of what is flattened; FLATTENED if that cannot be read.
        size_bytes: of the file.
        is_incomplete: makedumpfile marked it so.
        is_part: it is one of several files of one dump (makedumpfile --split).
        level: the dump level; None if it is not recorded.
        asked: the compression that makedumpfile was told to use; "" for none.
        pages: how many of the first pages are compressed in which way; "" for not, and "zeros"
            for the page of zeros that all such pages share.
        bitmap: a bit for each page that the dump has, from page 0 on; None if it has no bitmap.
        vmcoreinfo: "" if there is none.
        gap: why something cannot be read; "" if all was.
    """

    path: Path
    form: Form
    inner: Form
    size_bytes: int
    is_incomplete: bool = False
    is_part: bool = False
    level: int | None = None
    asked: str = ""
    pages: Mapping[str, int] = field(default_factory=dict)
    bitmap: bytes | None = None
    vmcoreinfo: str = ""
    gap: str = ""

    def value(self, key: str) -> str:
        """Return a value of VMCOREINFO; "" if there is none."""
        for line in self.vmcoreinfo.splitlines():
            name, equals, value = line.partition("=")
            if equals and name == key:
                return value
        return ""


def read_head(path: Path) -> Head:
    """Read the headers of a dump.

    Raises:
        PageproofError: the file cannot be read, or is no dump.
    """
    with open_dump(path) as file:
        return _read(path, file, str(path))


def _read(path: Path, file: BinaryIO, where: str) -> Head:
    plain = PlainBytes(file)
    found = recognise(plain.read(0, HEAD_BYTES))
    if found.form not in (Form.ELF, Form.KDUMP, Form.FLATTENED):
        if found.form is None:
            raise PageproofError(f"this is not a dump but {found.name}", where, found.remedy)
        raise PageproofError(
            "this is neither an ELF core, nor a kdump-compressed dump, nor a flattened one",
            where,
            f"check an image of memory with: pageproof -c {path.name} audit",
        )
    source: FileBytes = plain
    form: Form = found.form
    inner = form
    if inner is Form.FLATTENED:
        try:
            source = FlattenedBytes(plain, where)
        except PageproofError as error:
            return Head(path, form, inner, plain.size, gap=error.what)
        inner = recognise(source.read(0, HEAD_BYTES)).form or Form.RAW
    if inner is Form.KDUMP:
        return _kdump(path, form, plain.size, source)
    if inner is Form.ELF:
        return _elf(path, form, plain.size, source)
    return Head(path, form, form, plain.size, gap="what is flattened is no dump")


def _elf(path: Path, form: Form, size: int, source: FileBytes) -> Head:
    (flags,) = struct.unpack("<I", source.read(_ELF_FLAGS_AT, 4))
    return Head(
        path,
        form,
        Form.ELF,
        size,
        is_incomplete=bool(flags & _ELF_INCOMPLETE),
        vmcoreinfo=vmcoreinfo_note(source.read) or "",
    )


def _kdump(path: Path, form: Form, size: int, source: FileBytes) -> Head:
    status, block, sub_blocks, bitmap_blocks = _WORDS.unpack(source.read(_WORDS_AT, _WORDS.size))
    level, split = struct.unpack("<ii", source.read(_BLOCK + _LEVEL_AT, 8))
    info_at, info_bytes = struct.unpack("<QQ", source.read(_BLOCK + _INFO_AT, 16))
    info = b""
    if 0 < info_bytes <= _MAX_INFO_BYTES:
        info = source.read(info_at, info_bytes)
    asked = next((name for bit, name in COMPRESSIONS.items() if status & bit), "")
    half = bitmap_blocks // 2 * _BLOCK
    bitmap_at = (1 + sub_blocks) * _BLOCK + half
    known = Head(
        path,
        form,
        Form.KDUMP,
        size,
        is_incomplete=bool(status & _INCOMPLETE),
        is_part=bool(split),
        level=level if 0 <= level < 32 else None,
        asked=asked,
        vmcoreinfo=vmcoreinfo_text(info),
    )
    if block != _BLOCK or sub_blocks < 1 or not 0 < half <= min(_MAX_BITMAP_BYTES, source.size):
        return known
    bitmap = source.read(bitmap_at, half)
    bits = int.from_bytes(bitmap, "little")
    if split:  # each file has the bitmap of all
        start, end = struct.unpack("<QQ", source.read(_BLOCK + _PART_AT, 16))
        bits = bits >> start & (1 << end - start) - 1 if start <= end <= half * 8 else 0
    count = min(bits.bit_count(), _MAX_DESCRIPTORS)
    pages = _count(source, bitmap_at + half, count)
    return replace(known, bitmap=bitmap, pages=pages)


def _count(source: FileBytes, at: int, count: int) -> Counter[str]:
    """Count the pages by their compression: the flags in ``struct page_desc``.

    Pages of zeros that are left out (bit 1 of the level) have the first page of data in common.
    """
    data = memoryview(source.read(at, count * _DESCRIPTOR_BYTES))
    words = data.cast("I")[3::6].tolist()
    offsets = data.cast("Q")[::3].tolist()
    zeros = offsets.count(min(offsets)) if offsets else 0
    flags = Counter(words)
    pages: Counter[str] = Counter()
    if zeros > 1:
        flags[words[offsets.index(min(offsets))]] -= zeros
        pages["zeros"] = zeros
    for word, number in flags.items():
        pages[next((name for bit, name in COMPRESSIONS.items() if word & bit), "")] += number
    return +pages
