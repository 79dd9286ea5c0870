# SPDX-License-Identifier: GPL-2.0-or-later
"""What kind of dump a file is, and whether it is all there.

drgn reads dumps; what stands here is what it does not say: that a file is
cut. What an ELF dump left out stands in elfmap.py.

Sources: makedumpfile's ``IMPLEMENTATION`` and ``diskdump_mod.h``; ``elf.h``.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from pageproof.errors import PageproofError
from pageproof.target.elfmap import ElfMap, Segment, map_file

_ELF_MAGIC: Final = b"\x7fELF"
_KDUMP_MAGIC: Final = b"KDUMP   "
_FLAT_MAGIC: Final = b"makedumpfile\0\0\0\0"
_ET_CORE: Final = 4
_PT_LOAD: Final = 1
_PHDR_BYTES: Final = 56
_PN_XNUM: Final = 0xFFFF

_PACKERS: Final = (
    (b"\x1f\x8b", "gzip", "gunzip"),
    (b"\xfd7zXZ\0", "xz", "unxz"),
    (b"\x28\xb5\x2f\xfd", "zstd", "unzstd"),
    (b"BZh", "bzip2", "bunzip2"),
)

#: The flattened format begins with a 4 KiB header; records of (offset, size,
#: data) follow, big-endian, up to one with offset -1.
_FLAT_HEADER_BYTES: Final = 4096
_FLAT_END: Final = -1

#: ``struct disk_dump_header``: the five words after signature, version, six
#: 65-byte utsname fields, padding and a 16-byte timestamp.
_KDUMP_WORDS_OFFSET: Final = 424
_KDUMP_DESCRIPTOR_BYTES: Final = 24
_KDUMP_HEADER_BYTES: Final = 464
#: ``DUMP_DH_COMPRESSED_INCOMPLETE`` in the header's status word.
_KDUMP_INCOMPLETE: Final = 0x8
#: ``split`` in ``struct kdump_sub_header``, which follows the first block.
_KDUMP_SPLIT_OFFSET: Final = 12


@dataclass(frozen=True)
class DumpFile:
    """A dump that is one and that is whole.

    Attributes:
        format: "elf", "kdump" or "flattened".
        zero_fills: pages that were left out may read as zeros, and which they
            are is not known here.
        elf_map: for "elf".
    """

    format: str
    zero_fills: bool = False
    elf_map: ElfMap | None = None


def inspect_dump(path: Path) -> DumpFile:
    """Recognise a dump.

    Raises:
        PageproofError: there is no such file, it may not be read, it is no
            dump, or it is cut.
    """
    where = str(path)
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            return _inspect(file, size, where)
    except FileNotFoundError:
        raise PageproofError("there is no such dump", where) from None
    except PermissionError:
        raise PageproofError(
            "no permission to read the dump", where, "become root or change the file's owner"
        ) from None
    except IsADirectoryError:
        raise PageproofError(
            "this is a directory, not a dump", where, "name the vmcore file in it"
        ) from None
    except OSError as error:
        raise PageproofError(f"can't read the dump: {error.strerror}", where) from None


def _inspect(file: BinaryIO, size: int, where: str) -> DumpFile:
    head = file.read(64)
    if head.startswith(_KDUMP_MAGIC):
        _check_kdump(file, size, where)
        return DumpFile("kdump")
    if head.startswith(_FLAT_MAGIC):
        return DumpFile("flattened", zero_fills=not _check_flattened(file, size, where))
    if head.startswith(_ELF_MAGIC):
        return DumpFile("elf", elf_map=_read_elf(file, head, size, where))
    for magic, name, tool in _PACKERS:
        if head.startswith(magic):
            raise PageproofError(f"this is not a dump but a {name} file", where, f"{tool} it first")
    if not head:
        raise PageproofError("this is not a dump but an empty file", where, "dump again")
    raise PageproofError(
        "this is not a dump: neither ELF nor makedumpfile's formats",
        where,
        "give a vmcore as kexec, makedumpfile or QEMU's dump-guest-memory writes it",
    )


def _cut(where: str, size: int, needed: int) -> PageproofError:
    return PageproofError(
        f"the dump is cut: {size} bytes are there, at least {needed} belong to it",
        where,
        "copy it again, or dump again with room on the disk",
    )


def _read_elf(file: BinaryIO, head: bytes, size: int, where: str) -> ElfMap:
    if len(head) < 64:
        raise _cut(where, size, 64)
    if head[4] != 2 or head[5] != 1:
        raise PageproofError(
            "this ELF file is not a 64-bit little-endian one", where, "only x86_64 is read"
        )
    e_type, machine = struct.unpack_from("<HH", head, 16)
    if e_type != _ET_CORE:
        raise PageproofError(
            "this is not a dump but an ELF executable or object",
            where,
            "give a vmlinux or a module with -s, and the dump with -c",
        )
    if machine != 62:
        raise PageproofError("the dump is not of an x86_64 machine", where, "only x86_64 is read")
    phoff, shoff = struct.unpack_from("<QQ", head, 32)
    phentsize, phnum, shentsize = struct.unpack_from("<HHH", head, 54)
    if phnum == _PN_XNUM:
        # More segments than 16 bits count: the number is in section 0's sh_info.
        if shoff + shentsize > size:
            raise _cut(where, size, shoff + shentsize)
        file.seek(shoff + 44)
        (phnum,) = struct.unpack("<I", file.read(4))
    if phentsize < _PHDR_BYTES:
        raise PageproofError(
            f"the dump is damaged: its program headers have {phentsize} bytes",
            where,
            "copy it again in binary mode",
        )
    if phoff + phnum * phentsize > size:
        raise _cut(where, size, phoff + phnum * phentsize)
    file.seek(phoff)
    table = file.read(phnum * phentsize)
    segments = []
    needed = 0
    for number in range(phnum):
        p_type, _, offset, _, paddr, filesz, memsz = struct.unpack_from(
            "<IIQQQQQ", table, number * phentsize
        )
        needed = max(needed, offset + filesz)
        if p_type == _PT_LOAD:
            segments.append(Segment(paddr, memsz, filesz, number, offset))
    if needed > size:
        raise _cut(where, size, needed)
    return ElfMap(segments, map_file(file))


def _check_flattened(file: BinaryIO, size: int, where: str) -> bool:
    """Follow the records to the end; true if it is a kdump-compressed file that they make up."""
    at = _FLAT_HEADER_BYTES
    is_kdump = False
    while True:
        if at + 16 > size:
            raise _cut(where, size, at + 16)
        file.seek(at)
        offset, length = struct.unpack(">qq", file.read(16))
        if offset == _FLAT_END:
            return is_kdump
        if offset == 0 and file.read(8) == _KDUMP_MAGIC:
            is_kdump = True
        if offset < 0 or length < 0:
            raise PageproofError(
                f"the flattened dump is damaged: a record at byte {at} makes no sense",
                where,
                "copy it again in binary mode",
            )
        at += 16 + length


def _check_kdump(file: BinaryIO, size: int, where: str) -> None:
    """See whether the last page's data is there.

    header | sub header | bitmap 1 | bitmap 2 | descriptors | data

    Bitmap 2 has a bit for each page with a descriptor, and a descriptor says
    where the page's data is. The words of a header that makes no sense are
    left to libkdumpfile.
    """
    if size < _KDUMP_HEADER_BYTES:
        raise _cut(where, size, _KDUMP_HEADER_BYTES)
    file.seek(_KDUMP_WORDS_OFFSET)
    status, block, sub_blocks, bitmap_blocks, _ = struct.unpack("<IiiII", file.read(20))
    if status & _KDUMP_INCOMPLETE:
        raise PageproofError(
            "the dump is cut: makedumpfile marked it as incomplete",
            where,
            "dump again with room on the disk",
        )
    if block not in (4096, 65536) or sub_blocks < 1:
        return
    file.seek(block + _KDUMP_SPLIT_OFFSET)
    if any(file.read(4)):
        return  # one part of several: its descriptors are fewer than its bitmap's bits
    bitmap_at = (1 + sub_blocks) * block
    descriptors_at = bitmap_at + bitmap_blocks * block
    if descriptors_at > size:
        raise _cut(where, size, descriptors_at)
    half = bitmap_blocks // 2 * block
    file.seek(bitmap_at + half)
    pages = sum(int.from_bytes(chunk, "little").bit_count() for chunk in _chunks(file, half))
    end = descriptors_at + pages * _KDUMP_DESCRIPTOR_BYTES
    if end > size:
        raise _cut(where, size, end)
    last = min(pages, 4096)
    file.seek(end - last * _KDUMP_DESCRIPTOR_BYTES)
    table = file.read(last * _KDUMP_DESCRIPTOR_BYTES)
    needed = max(
        (offset + length for offset, length, _, _ in struct.iter_unpack("<qIIQ", table)), default=0
    )
    if needed > size:
        raise _cut(where, size, needed)


def _chunks(file: BinaryIO, length: int) -> list[bytes]:
    chunk = 1 << 20
    return [file.read(min(chunk, length - at)) for at in range(0, length, chunk)]
