# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernel structures in bulk: VMAs, entries of XArrays and fields of many structures at once."""

from __future__ import annotations

from typing import Final, Protocol

import drgn

from pageproof import arch
from pageproof.arch.engine import CompressedMemory, DirectMemory, FileMemory
from pageproof.errors import PageproofError
from pageproof.find.bulk.objects import ObjectBulk
from pageproof.find.bulk.protocol import Bulk
from pageproof.find.kernel.layout import physmap
from pageproof.find.kernel.paging import read_paging
from pageproof.find.kernel.reader import READER
from pageproof.model import MemoryGap

_BULK: Final = "pageproof.bulk"


class Reader(Protocol):
    """Reads physical memory; :class:`pageproof.attach.reader.Reader` does."""

    def read_physical(self, paddr: int, length: int) -> bytes:
        """Return bytes, or raise MemoryGap."""

    def direct_memory(self) -> DirectMemory:
        """Return physical memory that needs no read."""

    def compressed_memory(self) -> CompressedMemory:
        """Return physical memory that the engine decompresses itself."""

    def file_memory(self) -> FileMemory | None:
        """Return physical memory that the engine reads itself."""


class _OfProgram:
    """Reads physical memory of a program that drgn has attached."""

    def __init__(self, prog: drgn.Program) -> None:
        self._prog = prog

    def read_physical(self, paddr: int, length: int) -> bytes:
        """Return bytes, or raise MemoryGap."""
        try:
            return bytes(self._prog.read(paddr, length, True))
        except drgn.FaultError as error:
            raise MemoryGap.from_fault(error) from None

    def direct_memory(self) -> DirectMemory:
        """Return nothing."""
        return ()

    def compressed_memory(self) -> CompressedMemory:
        """Return nothing."""
        return ()

    def file_memory(self) -> None:
        """Return nothing."""


def bulk_of(prog: drgn.Program) -> Bulk:
    """Return the bulk reader of a target: the one in C, or without the engine the one in Python."""
    known: Bulk | None = prog.cache.get(_BULK)
    if known is None:
        known = prog.cache[_BULK] = _engine(prog) or ObjectBulk(prog)
    return known


def _engine(prog: drgn.Program) -> Bulk | None:
    try:
        from pageproof.find.bulk.engine import EngineBulk
    except ImportError:
        return None
    try:
        facts = read_paging(prog)
    except (PageproofError, LookupError):
        return None  # not a kernel: a part of one, made by hand
    try:
        direct_map = physmap(prog)
    except PageproofError:
        direct_map = range(0)
    reader: Reader = prog.cache.get(READER) or _OfProgram(prog)
    return EngineBulk(
        prog,
        arch.of_program(prog).paging(facts, zero_fills=False),
        facts.kernel_root,
        direct_map,
        reader.read_physical,
        reader.direct_memory(),
        reader.compressed_memory(),
        reader.file_memory(),
        still=not prog.flags & drgn.ProgramFlags.IS_LIVE,
    )
