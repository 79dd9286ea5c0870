# SPDX-License-Identifier: GPL-2.0-or-later
"""Damage words of kernel memory in a copy of an ELF dump, and restore them."""

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import drgn
from drgn.helpers.linux.mm import follow_phys
from drgn.helpers.linux.pid import for_each_task

#: Kernel address, and the word or bytes to write there.
Words = Sequence[tuple[int, int | bytes]]
#: ``Elf64_Ehdr.e_phoff``, ``e_phnum``; ``Elf64_Phdr``: type, flags, offset, vaddr, paddr, size.
_PHOFF, _PHNUM = 32, 56
_PHDR = struct.Struct("<IIQQQQQQ")
_PT_LOAD = 1


class Damaged:
    """A dump that may be changed.

    Attributes:
        prog: the drgn program on it.
        tasks: all tasks, from before the damage.
    """

    def __init__(self, dump: Path, vmlinux: Path) -> None:
        self.dump = dump
        self.prog = drgn.Program()
        self.prog.set_core_dump(dump)
        self.prog.load_debug_info([str(vmlinux)])
        self._loads = list(self._segments())
        self.tasks = list(for_each_task(self.prog))

    def _segments(self) -> Iterator[tuple[int, int, int]]:
        """Yield (physical address, offset in the file, bytes in the file)."""
        data = self.dump.open("rb").read(1 << 16)
        (start,) = struct.unpack_from("<Q", data, _PHOFF)
        (count,) = struct.unpack_from("<H", data, _PHNUM)
        for number in range(count):
            kind, _, offset, _, paddr, size, _, _ = _PHDR.unpack_from(
                data, start + number * _PHDR.size
            )
            if kind == _PT_LOAD:
                yield paddr, offset, size

    def _offsets(self, address: int) -> list[int]:
        """Return the file offsets of a kernel address. The kernel image is in the file twice."""
        paddr = int(follow_phys(self.prog["init_mm"].address_of_(), address))
        found = [
            offset + paddr - start
            for start, offset, size in self._loads
            if 0 <= paddr - start < size
        ]
        assert found, f"{paddr:#x} is not in the dump"
        return found

    def symbol(self, pointer: drgn.Object) -> str:
        """Return the symbol at a pointer's target, or "" if there is none."""
        try:
            return str(self.prog.symbol(pointer.value_()).name)
        except LookupError:
            return ""

    @contextmanager
    def written(self, *words: tuple[int, int | bytes]) -> Iterator[None]:
        """Write words of 8 bytes, or bytes, to these addresses; restore them at the end."""
        with self.dump.open("r+b", buffering=0) as file:
            before = []
            for address, word in words:
                data = word if isinstance(word, bytes) else struct.pack("<Q", word)
                for at in self._offsets(address):
                    file.seek(at)
                    before.append((at, file.read(len(data))))
                    file.seek(at)
                    file.write(data)
            try:
                yield
            finally:
                for at, data in reversed(before):
                    file.seek(at)
                    file.write(data)
