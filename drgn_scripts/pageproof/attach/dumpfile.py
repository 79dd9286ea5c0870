# SPDX-License-Identifier: GPL-2.0-or-later
"""The format of a dump, and checks that it is complete and consistent.

drgn and libkdumpfile trust the headers of a dump. The checks here find headers that would make them
crash, exhaust memory, or return wrong data.

Sources: ``elf.h``, drgn's ``linux_kernel.c``, libkdumpfile's ``elfdump.c``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from pageproof import arch
from pageproof.attach.elfmap import ElfMap, Segment, map_file
from pageproof.attach.filebytes import FileBytes, FlattenedBytes, PlainBytes, cut, damaged
from pageproof.attach.formats import HEAD_BYTES, Form, recognise
from pageproof.attach.image import Image, open_image
from pageproof.attach.kdump import KdumpLayout, KdumpPages, check_kdump
from pageproof.attach.segments import disagreement
from pageproof.attach.splitparts import SplitPart, check_parts, missing_parts
from pageproof.errors import PageproofError
from pageproof.files.elfnotes import vmcoreinfo_of
from pageproof.files.inputs import NotAFileError, open_file
from pageproof.space.ramranges import RamRange

_ET_CORE: Final = 4
_PT_LOAD: Final = 1
_PT_NOTE: Final = 4
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
        elf_map: physical memory of an "elf" dump; None for other formats.
        kdump: the pages of a kdump-compressed dump, one entry for each part of it.
        split: the parts of a split dump that were given.
        info: VMCOREINFO, if drgn cannot read the dump by itself: it is split or a flattened ELF.
        image: an image of memory; None for dumps.
        notes: for the user.
    """

    format: str
    elf_map: ElfMap | None = None
    kdump: tuple[KdumpPages, ...] = ()
    split: tuple[SplitPart, ...] = ()
    info: bytes | None = None
    image: Image | None = None
    notes: tuple[str, ...] = ()


def inspect_dump(path: Path, ram: Sequence[RamRange] = (), others: Sequence[Path] = ()) -> DumpFile:
    """Recognise and check a dump.

    Args:
        path: the file.
        ram: where a raw image has RAM; none if it is memory from address 0 on.
        others: the other parts of a split dump.

    Raises:
        PageproofError: the file does not exist or may not be read, or it is not a dump, or it is
            truncated or damaged.
    """
    dumps = [_inspect_file(one, ram) for one in (path, *others)]
    if not others and not dumps[0].split:
        return dumps[0]
    for one, dump in zip((path, *others), dumps, strict=True):
        if not dump.split:
            raise PageproofError(
                f"{len(dumps)} files were given, and this one is not a part of a split dump",
                str(one),
                "give several -c only for the files of one makedumpfile --split",
            )
    parts = check_parts([part for dump in dumps for part in dump.split])
    return DumpFile(
        Form.KDUMP,
        kdump=tuple(pages for dump in dumps for pages in dump.kdump),
        split=parts,
        info=parts[0].layout.info,
        notes=missing_parts(parts),
    )


def _inspect_file(path: Path, ram: Sequence[RamRange]) -> DumpFile:
    with open_dump(path) as file:
        return _inspect(file, path, ram, str(path))


@contextmanager
def open_dump(path: Path) -> Iterator[BinaryIO]:
    """Open the file of a dump for the block, in which errors of reading become messages too.

    Raises:
        PageproofError: it does not exist, may not be read, is no file, or cannot be read.
    """
    where = str(path)
    try:
        with open_file(path) as file:
            yield file
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


def _inspect(file: BinaryIO, path: Path, ram: Sequence[RamRange], where: str) -> DumpFile:
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
            return _kdump(form, file, path, check_kdump(flattened, where), flattened.parts())
        if inner is Form.ELF:
            return _flattened_elf(flattened, map_file(file), where)
        raise damaged(where, "its flattened content is neither ELF nor kdump-compressed")
    if form is Form.KDUMP:
        parts = [(0, plain.size, 0)]
        return _kdump(form, file, path, check_kdump(plain, where), parts)
    if form is Form.ELF:
        return DumpFile(form, elf_map=ElfMap(_read_elf(plain, where).loads, map_file(file)))
    image = open_image(form, file, ram, where)
    return DumpFile(form, elf_map=image.elf_map, image=image)


def _kdump(
    form: Form,
    file: BinaryIO,
    path: Path,
    layout: KdumpLayout,
    parts: Sequence[tuple[int, int, int]],
) -> DumpFile:
    memory = map_file(file)
    pages = (KdumpPages(memory, parts, layout),) if memory is not None and layout.pages else ()
    split = (SplitPart(path, layout),) if layout.split else ()
    return DumpFile(form, kdump=pages, split=split)


def _flattened_elf(source: FlattenedBytes, memory: memoryview | None, where: str) -> DumpFile:
    """Read it here: libkdumpfile returns zeros for what it omits."""
    headers = _read_elf(source, where)
    info = vmcoreinfo_of(source.read, headers.notes)
    if info is None:
        raise PageproofError(
            "the dump has no vmcoreinfo", where, "is it complete, and a kernel's dump?"
        )
    if memory is None:
        raise PageproofError(
            "the dump is flattened, and its file system cannot map files",
            where,
            "convert it to a plain one: makedumpfile -R VMCORE < FLATTENED",
        )
    elf_map = ElfMap(source.placed(headers.loads), memory)
    return DumpFile(Form.FLATTENED, elf_map=elf_map, info=info)


class _Headers(NamedTuple):
    """Program headers: PT_LOAD, and the (offset, length) of each PT_NOTE."""

    loads: list[Segment]
    notes: list[tuple[int, int]]


def _read_elf(source: FileBytes, where: str) -> _Headers:
    """Read and check the program headers.

    Args:
        source: the ELF file.
        where: the path, for messages.
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
    if not phnum and shnum:
        raise PageproofError(
            "this is not a dump but a Xen domain core (sections, and no segments)",
            where,
            "set up kdump in the domain, let it panic, and give its vmcore",
        )
    if phnum == _PN_XNUM:
        # More segments than fit in 16 bits: the number is in sh_info of section 0.
        if shentsize < _SHDR_BYTES or not source.holds(shoff, shoff + _SHDR_BYTES):
            raise cut(where, source.size, shoff + _SHDR_BYTES)
        (phnum,) = struct.unpack("<I", source.read(shoff + 44, 4))
    if phentsize < _PHDR.size:
        raise damaged(where, f"its program headers have {phentsize} bytes")
    if phnum > _MAX_SEGMENTS:
        raise damaged(where, f"it claims {phnum} program headers")
    if not source.holds(phoff, phoff + phnum * phentsize):
        raise cut(where, source.size, phoff + phnum * phentsize)
    found = _Headers([], [])
    for number in range(phnum):
        p_type, _, offset, vaddr, paddr, filesz, memsz, _ = _PHDR.unpack(
            source.read(phoff + number * phentsize, _PHDR.size)
        )
        if filesz and not source.holds(offset, offset + filesz):
            raise cut(where, source.size, offset + filesz)
        if p_type == _PT_LOAD:
            found.loads.append(Segment(paddr, memsz, filesz, number, offset, vaddr))
        elif p_type == _PT_NOTE:
            found.notes.append((offset, filesz))
    if wrong := disagreement(found.loads):
        raise damaged(where, wrong)
    return found
