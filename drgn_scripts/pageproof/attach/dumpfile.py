# SPDX-License-Identifier: GPL-2.0-or-later
"""The format of a dump, and checks that it is complete and consistent.

drgn and libkdumpfile trust the headers of a dump. The checks here find headers that would make them
crash, exhaust memory, or return wrong data.

Sources: ``elf.h``, drgn's ``linux_kernel.c``, libkdumpfile's ``elfdump.c``.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from pageproof import arch
from pageproof.attach.elfmap import ElfMap, Segment, map_file
from pageproof.attach.filebytes import FileBytes, FlattenedBytes, PlainBytes, cut, damaged
from pageproof.attach.formats import HEAD_BYTES, Form, recognise
from pageproof.attach.image import Image, open_image
from pageproof.attach.kdump import KdumpLayout, KdumpPages, check_kdump
from pageproof.errors import PageproofError
from pageproof.files.inputs import NotAFileError, open_file
from pageproof.space.ramranges import RamRange

_ET_CORE: Final = 4
_PT_LOAD: Final = 1
_PHDR: Final = struct.Struct("<IIQQQQQQ")
_SHDR_BYTES: Final = 64
_PN_XNUM: Final = 0xFFFF
#: Limit of segments. makedumpfile starts a new one after each run of 256 or more pages that it
#: omits. Each takes some hundred bytes of memory here.
_MAX_SEGMENTS: Final = 1 << 18


@dataclass(frozen=True)
class DumpFile:
    """A dump that passed the checks.

    Attributes:
        format: "elf", "kdump", "flattened", or that of an image: "raw", "lime", "avml".
        zero_fills: omitted pages may read as zeros, and it is not known which they are.
        elf_map: physical memory of an "elf" dump; None for other formats.
        split: the file is one of several, and has only a part of the pages.
        kdump: the pages of a kdump-compressed dump.
        image: an image of memory; None for dumps, which drgn opens itself.
    """

    format: str
    zero_fills: bool = False
    elf_map: ElfMap | None = None
    split: bool = False
    kdump: KdumpPages | None = None
    image: Image | None = None


def inspect_dump(path: Path, ram: Sequence[RamRange] = ()) -> DumpFile:
    """Recognise and check a dump.

    Args:
        path: the file.
        ram: where a raw image has RAM; none if it is memory from address 0 on.

    Raises:
        PageproofError: the file does not exist or may not be read, or it is not a dump, or it is
            truncated or damaged.
    """
    where = str(path)
    try:
        with open_file(path) as file:
            return _inspect(file, ram, where)
    except FileNotFoundError:
        raise PageproofError("there is no such dump", where, "check the path") from None
    except PermissionError:
        raise PageproofError(
            "no permission to read the dump", where, "become root or change the file's owner"
        ) from None
    except NotAFileError as error:
        remedy = "name the vmcore file in it" if error.kind == "a directory" else "give a file"
        raise PageproofError(f"this is {error.kind}, not a dump", where, remedy) from None
    except OSError as error:
        raise PageproofError(f"can't read the dump: {error.strerror}", where) from None


def _inspect(file: BinaryIO, ram: Sequence[RamRange], where: str) -> DumpFile:
    plain = PlainBytes(file)
    found = recognise(plain.read(0, HEAD_BYTES))
    form = found.form
    if form is None:
        raise PageproofError(f"this is not a dump but {found.name}", where, found.remedy)
    if ram and form is not Form.RAW:
        raise PageproofError(
            f"--ram is for raw images, and this is {found.name}", where, "omit --ram"
        )
    if form is Form.FLATTENED:
        flattened = FlattenedBytes(plain, where)
        inner = recognise(flattened.read(0, HEAD_BYTES)).form
        if inner is Form.KDUMP:
            return _kdump(form, file, check_kdump(flattened, where), flattened.parts())
        if inner is Form.ELF:
            _read_elf(flattened, where, flattened=True)
            return DumpFile(form, zero_fills=True)
        raise damaged(where, "its flattened content is neither ELF nor kdump-compressed")
    if form is Form.KDUMP:
        parts = [(0, plain.size, 0)]
        return _kdump(form, file, check_kdump(plain, where), parts)
    if form is Form.ELF:
        return DumpFile(form, elf_map=ElfMap(_read_elf(plain, where), map_file(file)))
    image = open_image(form, file, ram, where)
    return DumpFile(form, elf_map=image.elf_map, image=image)


def _kdump(
    form: Form, file: BinaryIO, layout: KdumpLayout, parts: Sequence[tuple[int, int, int]]
) -> DumpFile:
    memory = None if layout.split else map_file(file)
    pages = None if memory is None else KdumpPages(memory, parts, layout)
    return DumpFile(form, split=layout.split, kdump=pages)


def _read_elf(source: FileBytes, where: str, *, flattened: bool = False) -> list[Segment]:
    """Read and check the program headers.

    Args:
        source: the ELF file.
        where: the path, for messages.
        flattened: the dump is flattened, so libkdumpfile will read it and its section headers.
    """
    if source.size < 64:
        raise cut(where, source.size, 64)
    head = source.read(0, 64)
    if head[4] != 2 or head[5] != 1:
        raise PageproofError(
            "this ELF file is not 64-bit little-endian", where, f"only {arch.ONLY} is supported"
        )
    e_type, machine = struct.unpack_from("<HH", head, 16)
    if e_type != _ET_CORE:
        raise PageproofError(
            "this is not a dump but an ELF executable or object",
            where,
            "give a vmlinux or a module with -s, and the dump with -c",
        )
    if not arch.supports_machine(machine):
        why = f"the dump is not of an {arch.ONLY} machine"
        raise PageproofError(why, where, f"only {arch.ONLY} is supported")
    phoff, shoff = struct.unpack_from("<QQ", head, 32)
    phentsize, phnum, shentsize, shnum = struct.unpack_from("<HHHH", head, 54)
    if phnum == _PN_XNUM or (flattened and shoff):
        # More segments than fit in 16 bits: the number is in sh_info of section 0.
        if shentsize < _SHDR_BYTES or not source.holds(shoff, shoff + _SHDR_BYTES):
            raise cut(where, source.size, shoff + _SHDR_BYTES)
        sections, _, info = struct.unpack("<QII", source.read(shoff + 32, 16))
        phnum = info if phnum == _PN_XNUM else phnum
        shnum = shnum or sections
    if flattened and shnum > 1:
        raise PageproofError(
            f"the flattened dump has {shnum} sections",
            where,
            "convert it to a plain one: makedumpfile -R VMCORE < FLATTENED",
        )
    if phentsize < _PHDR.size:
        raise damaged(where, f"its program headers have {phentsize} bytes")
    if phnum > _MAX_SEGMENTS:
        raise damaged(where, f"it claims {phnum} program headers")
    if not source.holds(phoff, phoff + phnum * phentsize):
        raise cut(where, source.size, phoff + phnum * phentsize)
    segments = []
    for number in range(phnum):
        p_type, _, offset, _, paddr, filesz, memsz, _ = _PHDR.unpack(
            source.read(phoff + number * phentsize, _PHDR.size)
        )
        if filesz and not source.holds(offset, offset + filesz):
            raise cut(where, source.size, offset + filesz)
        if p_type == _PT_LOAD:
            segments.append(Segment(paddr, memsz, filesz, number, offset))
    return segments
