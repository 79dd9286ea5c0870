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
        tables: name of the tables: "init_mm", "init_mm, user half" (PTI), "efi_mm", "pid N".
        root: physical address of the topmost table.
        address: of the frame's first byte.
        region: row of the kernel's memory map; None in the user half.
        process: owner of the tables, with the VMA that covers the address; None for the kernel's.
        counted: struct page counts it (``_mapcount``); False for the kernel's own mappings and
            for special ones (PFNMAP, the zero page).
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
    """Page tables that could not be swept completely.

    Attributes:
        tables: their name, as in :class:`Alias`.
        unreadable: some tables could not be read; otherwise the limit of entries was reached.
    """

    tables: str
    unreadable: bool


@dataclass(frozen=True)
class KernelSides:
    """Adjoining pages of a process, and where the kernel maps their frames.

    Attributes:
        pid: the process.
        address: of its first page.
        pages: their number; the frame and the aliases of each adjoin those of the page before.
        pfn: frame of the first page.
        aliases: the kernel's mappings of it, each with its owner.
    """

    pid: int
    address: Address
    pages: int
    pfn: Pfn
    aliases: tuple[tuple[Alias, str], ...]


@dataclass(frozen=True)
class AliasReport:
    """Every mapping of a frame, and the number that struct page counts.

    Attributes:
        asked: address or frame, as the user wrote it.
        walk: from the address to the frame; None if the frame itself was named.
        page: None if there is no ``struct page``.
        mapcount: number of user mappings that the kernel counts; None if it keeps no count.
        spaces: address spaces that were swept.
        kernel, users: the mappings in the kernel's half and in user halves, by
            tables and address.
        area: the area of vmalloc space that contains the frame; None for none.
        attempts, stable: as for a walk; stable if every mapping was still there at the end.
        exit_code: 0 if these are all mappings, 3 if some may be missing.
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
