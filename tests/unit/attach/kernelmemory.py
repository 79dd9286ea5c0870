# SPDX-License-Identifier: GPL-2.0-or-later
"""Physical memory with the least that makes a kernel recognisable: a VMCOREINFO and its tables."""

from __future__ import annotations

from dataclasses import dataclass

from mappedmemory import MappedMemory
from unit.tables import RW, TABLE, A, P

from pageproof.space.units import PAGE_BYTES

IMAGE = 0xFFFFFFFF80000000
#: What an image begins with, relative to its start.
STEXT, TABLES, UTS = 0, 0x10000, 0x20000
RELEASE = "6.12.0-test"
BUILD_ID = "0123456789abcdef0123456789abcdef01234567"


@dataclass(frozen=True)
class Made:
    """A kernel: its image at ``paddr``, its text in ``page``, as kernel/vmcore_info.c writes it."""

    paddr: int
    page: int
    virtual: int = IMAGE + 0x1000000
    release: str = RELEASE
    build_id: str = BUILD_ID

    @property
    def root(self) -> int:
        return self.paddr + TABLES

    def text(self, **changed: str) -> bytes:
        lines = {
            "OSRELEASE": self.release,
            "BUILD-ID": self.build_id,
            "PAGESIZE": "4096",
            "SYMBOL(init_uts_ns)": f"{self.virtual + UTS:x}",
            "OFFSET(uts_namespace.name)": "0",
            "SYMBOL(swapper_pg_dir)": f"{self.virtual + TABLES:x}",
            "SYMBOL(_stext)": f"{self.virtual + STEXT:x}",
            "NUMBER(phys_base)": str(self.paddr - (self.virtual - IMAGE)),
            "NUMBER(pgtable_l5_enabled)": "0",
        } | changed
        return "".join(f"{key}={value}\n" for key, value in lines.items()).encode()


class Memory:
    """Memory from physical address 0 on."""

    def __init__(self, length: int = 8 << 20) -> None:
        self.bytes = bytearray(length)

    @property
    def mapped(self) -> MappedMemory:
        return MappedMemory([(0, memoryview(self.bytes))])

    def put(self, paddr: int, data: bytes) -> None:
        self.bytes[paddr : paddr + len(data)] = data

    def entry(self, table: int, index: int, value: int) -> None:
        self.put(table + 8 * index, value.to_bytes(8, "little"))

    def add(self, kernel: Made, text: bytes | None = None) -> None:
        """Put a kernel's text, tables and release into memory."""
        top, virtual = kernel.root, kernel.virtual
        tables = [top, top + 0x1000, top + 0x2000, top + 0x3000]
        for table, below, shift in zip(tables, tables[1:], (39, 30, 21), strict=False):
            self.entry(table, virtual >> shift & 511, below | TABLE)
        for page in range(64):
            address = virtual + page * PAGE_BYTES
            frame = kernel.paddr + page * PAGE_BYTES
            self.entry(tables[3], address >> 12 & 511, frame | P | RW | A)
        names = b"".join(
            word.ljust(65, b"\0") for word in (b"Linux", b"(none)", kernel.release.encode())
        )
        self.put(kernel.paddr + UTS, names)
        self.put(kernel.page, kernel.text() if text is None else text)

    def space(self, kernel: Made, root: int) -> None:
        """Put the topmost table of a process, as pgd_ctor() makes it; accessed bits differ."""
        raw = int.from_bytes(self.bytes[kernel.root + 8 * 511 :][:8], "little")
        self.entry(root, 511, raw & ~A)
