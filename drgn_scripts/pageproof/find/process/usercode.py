# SPDX-License-Identifier: GPL-2.0-or-later
"""Names of instructions of user programs: function, file, line."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import drgn

from pageproof.find.kernel.code import source_line
from pageproof.model import VmaFacts
from pageproof.model.watch import CodePlace
from pageproof.space.units import PAGE_BYTES

#: elf(5): where an ELF header has the offset and number of its program headers.
_HEADER: Final = struct.Struct("<4sB27xQ14xHH")
_SEGMENT: Final = struct.Struct("<II6Q")
_PT_NOTE, _ELFCLASS64, _NT_GNU_BUILD_ID = 4, 2, 3
_MOST_HEADERS: Final = 64
_NOTES_BYTES: Final = 1024

#: Reads user memory: address and length; None if some of it is not there.
Read = Callable[[int, int], bytes | None]


def build_id(read: Read, base: int) -> bytes | None:
    """Return the build ID of the ELF file that is mapped at an address, from its memory.

    Args:
        read: of the process's memory, which is not trusted.
        base: where the file's first page is mapped.
    """
    header = read(base, _HEADER.size)
    if header is None:
        return None
    magic, width, at, size, count = _HEADER.unpack(header)
    if magic != b"\x7fELF" or width != _ELFCLASS64 or size != _SEGMENT.size:
        return None
    if count > _MOST_HEADERS or at + count * size > PAGE_BYTES:
        return None
    table = read(base + at, count * size)
    for kind, _, offset, _, _, length, _, _ in _SEGMENT.iter_unpack(table or b""):
        # The notes are in the first segment, whose addresses and file offsets go together.
        if kind == _PT_NOTE and offset + length <= PAGE_BYTES:
            notes = read(base + offset, min(length, _NOTES_BYTES))
            for name, what, value in _notes(notes or b""):
                if (name, what) == (b"GNU\0", _NT_GNU_BUILD_ID):
                    return value
    return None


def _notes(data: bytes) -> Iterator[tuple[bytes, int, bytes]]:
    while len(data) >= 12:
        name_bytes, value_bytes, what = struct.unpack_from("<III", data)
        value_at = 12 + (name_bytes + 3 & ~3)
        yield data[12 : 12 + name_bytes], what, data[value_at : value_at + value_bytes]
        data = data[value_at + (value_bytes + 3 & ~3) :]


class Programs:
    """Names code of user programs.

    Args:
        platform: of the target.
        files: ELF files that the user gave; each is used for the programs with its build ID.
        path_of: returns a path by which the file of a process's VMA can be opened here, or None.
    """

    def __init__(
        self,
        platform: drgn.Platform,
        files: Iterable[Path],
        path_of: Callable[[int, VmaFacts], Path | None],
    ) -> None:
        self._platform, self._files, self._path_of = platform, tuple(files), path_of
        #: By address space and load address.
        self._known: dict[tuple[int, int], drgn.Program | None] = {}

    def code(self, pid: int, mm: int, pc: int, vmas: Iterable[VmaFacts], read: Read) -> CodePlace:
        """Return the names of user code.

        Args:
            pid: the process.
            mm: its address space.
            pc: address of the instruction after the one that is meant.
            vmas: the VMAs of the process.
            read: of its memory.
        """
        every = list(vmas)
        vma = next((one for one in every if one.start <= pc - 1 < one.end), None)
        if vma is None or vma.file is None:
            return CodePlace(pc)
        of_file = [one for one in every if one.file and one.file.inode == vma.file.inode]
        base = min(one.start for one in of_file)
        end = max(one.end for one in of_file)
        offset = pc - vma.start + vma.pgoff_pages * PAGE_BYTES
        name = vma.file.dentry_name
        program = self._program(pid, mm, range(base, end), vma, read)
        try:
            if program is None:
                raise LookupError
            symbol = program.symbol(pc - 1)
        except LookupError:
            return CodePlace(pc, f"file offset {offset:#x}", name)
        words = f"{symbol.name}+{pc - symbol.address:#x}"
        return CodePlace(pc, words, name, source_line(program, pc - 1))

    def _program(
        self, pid: int, mm: int, loaded: range, vma: VmaFacts, read: Read
    ) -> drgn.Program | None:
        key = mm, loaded.start
        if key not in self._known:
            self._known[key] = self._load(pid, loaded, vma, read)
        return self._known[key]

    def _load(self, pid: int, loaded: range, vma: VmaFacts, read: Read) -> drgn.Program | None:
        program = drgn.Program(self._platform)
        module = program.extra_module(vma.file.dentry_name if vma.file else "", create=True)
        # drgn takes the start for the address of the file's first segment.
        module.address_range = loaded.start, loaded.stop
        wanted = build_id(read, loaded.start)
        if wanted:
            module.build_id = wanted
        if path := self._path_of(pid, vma):
            module.try_file(path, force=True)
        for path in self._files if wanted else ():
            module.try_file(path)  # ignored if it has another build ID
        return program if module.loaded_file_path or module.debug_file_path else None


def opened_file(pid: int, vma: VmaFacts) -> Path | None:
    """Return the path of a VMA's file on the machine itself (proc(5), map_files)."""
    path = Path(f"/proc/{pid}/map_files/{vma.start:x}-{vma.end:x}")
    return path if path.exists() else None
