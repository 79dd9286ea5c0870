# SPDX-License-Identifier: GPL-2.0-or-later
"""Every mapping of one frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pageproof.model.facts import AreaOwner, MappingFacts, PagingFacts, StructPageFacts, TargetFacts
from pageproof.model.hexint import Address, Paddr, Pfn
from pageproof.model.report import Finding
from pageproof.model.walk import MemoryType, Permissions, Walk

ALIAS_SCHEMA: Final = "pageproof/alias-1"


@dataclass(frozen=True)
class Alias:
    """One mapping of the frame.

    Attributes:
        tables: whose: "init_mm", "init_mm, user half" (PTI), "efi_mm", "pid N".
        root: physical address of their topmost table.
        address: of the frame's first byte.
        region: row of the kernel's memory map; None in the user half.
        process: whose tables, with the VMA that covers the address; None for
            the kernel's own.
        counted: struct page counts it (``_mapcount``); the kernel's own
            mappings and special ones (PFNMAP, the zero page) it never does.
    """

    tables: str
    root: Paddr
    address: Address
    leaf_bytes: int
    permissions: Permissions | None
    memory_type: MemoryType | None
    region: str | None
    process: MappingFacts | None
    counted: bool


@dataclass(frozen=True)
class SweepGap:
    """Page tables of which a part could not be swept.

    Attributes:
        tables: whose they are, as in :class:`Alias`.
        unreadable: tables could not be read; otherwise there were more entries than are read.
    """

    tables: str
    unreadable: bool


@dataclass(frozen=True)
class KernelSides:
    """Adjoining pages of a process, and where the kernel maps their frames.

    Attributes:
        pid: the process.
        address: of its first page.
        pages: how many there are, each with a frame and aliases that adjoin the last one's.
        pfn: the first one's frame.
        aliases: the kernel's mappings of it, with what is there.
    """

    pid: int
    address: Address
    pages: int
    pfn: Pfn
    aliases: tuple[tuple[Alias, str], ...]


@dataclass(frozen=True)
class AliasReport:
    """Every mapping of a frame, and what struct page says of their number.

    Attributes:
        asked: address or frame, as the user wrote it.
        walk: from the address to the frame; None if the frame itself was named.
        page: None where there is no ``struct page``.
        mapcount: how many user mappings the kernel counts of this page; None
            where it keeps no such count.
        spaces: address spaces that were swept.
        kernel, users: the mappings in the kernel's half and in user halves, by
            tables and address.
        area: of vmalloc space that has the frame; None for none.
        attempts, stable: as for a walk; true if every mapping still stood at the end.
        exit_code: 0 if these are all mappings, 3 if that is not sure.
    """

    schema: str
    version: str
    target: TargetFacts
    paging: PagingFacts
    asked: str
    walk: Walk | None
    pfn: Pfn
    page: StructPageFacts | None
    mapcount: int | None
    spaces: int
    kernel: tuple[Alias, ...]
    users: tuple[Alias, ...]
    findings: tuple[Finding, ...]
    area: AreaOwner | None
    attempts: int
    stable: bool
    exit_code: int
