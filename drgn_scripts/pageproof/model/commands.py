# SPDX-License-Identifier: GPL-2.0-or-later
"""The reports of walk and maps."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pageproof.model.facts import (
    MappingFacts,
    PagingFacts,
    SecondOpinion,
    StructPageFacts,
    TargetFacts,
    VmaFacts,
)
from pageproof.model.hexint import Address, Bits, Paddr
from pageproof.model.walk import MemoryType, Outcome, Permissions, Walk

WALK_SCHEMA: Final = "pageproof/walk-1"
MAPS_SCHEMA: Final = "pageproof/maps-1"


class TableSet(StrEnum):
    """The tree of tables to walk."""

    KERNEL = "kernel"
    """``init_mm.pgd``."""
    PROCESS = "process"
    """``mm->pgd``: what the kernel runs on in the process."""
    PROCESS_USER = "process-user"
    """The half of the pair that user mode runs on; it differs from ``mm->pgd`` only with PTI."""


@dataclass(frozen=True)
class WalkReport:
    """The way from one address to its frame.

    Attributes:
        asked: the address as the user wrote it.
        process: owner of the tables, with the VMA that covers the address, or None for that VMA.
            None for the kernel's own tables.
        vma_unknown: why its VMA is unknown; "" if it is known or there is none.
        second: drgn's translation; None for PTI's user half, which drgn cannot walk.
        disputed: drgn's translation contradicts the walk.
        page: ``struct page`` of the frame; None if there is none.
        attempts: number of looks until two agreed.
        stable: two walks agreed; always True for a dump.
        exit_code: 0 if the address leads to a frame, 3 if it does not or that is uncertain.
    """

    schema: str
    version: str
    target: TargetFacts
    paging: PagingFacts
    asked: str
    tables: TableSet
    process: MappingFacts | None
    vma_unknown: str
    walk: Walk
    second: SecondOpinion | None
    disputed: bool
    page: StructPageFacts | None
    attempts: int
    stable: bool
    exit_code: int


@dataclass(frozen=True)
class VmaLine:
    """A VMA with its line of ``/proc/PID/maps``.

    Attributes:
        permissions: "rw-p".
        offset_bytes: into the file; 0 without a file.
        name: path, "[heap]", …; "" for none.
    """

    vma: VmaFacts
    permissions: str
    offset_bytes: Bits
    device_major: int
    device_minor: int
    inode_number: int
    name: str


@dataclass(frozen=True)
class MappedRun:
    """Pages that adjoin in virtual and in physical memory, under leaves with the same rights.

    ``start`` and ``last`` are inclusive. ``frame`` is the physical address of
    ``start``, None for entries without a frame; ``leaf_bytes`` is the size of the leaves, or of
    the memory under one entry.
    """

    start: Address
    last: Address
    leaf_bytes: int
    outcome: Outcome
    frame: Paddr | None
    permissions: Permissions | None
    memory_type: MemoryType | None


@dataclass(frozen=True)
class Amount:
    """Bytes whose entries have the same outcome."""

    outcome: Outcome
    length_bytes: int


@dataclass(frozen=True)
class VmaResidency:
    """The contents of the page tables within a VMA.

    Attributes:
        resident_4k_bytes, resident_2m_bytes, resident_1g_bytes: of the VMA
            under leaves of that size with a frame, including PROT_NONE leaves
            and frames that procfs does not count (PFNMAP, the zero page).
        private_bytes, shared_bytes: of those under 4 KiB leaves, the pages that
            one entry maps and that several entries map, by their mapcount. Pages that
            the kernel does not count are in neither: PFNMAP, special pages, huge leaves.
        other: bytes under entries that are not empty and have no frame, and
            under tables that cannot be read.
        memory_types: of the leaves.
        runs: all ranges, merged.
    """

    line: VmaLine
    resident_4k_bytes: int
    resident_2m_bytes: int
    resident_1g_bytes: int
    private_bytes: int
    shared_bytes: int
    other: tuple[Amount, ...]
    memory_types: tuple[MemoryType, ...]
    runs: tuple[MappedRun, ...]


@dataclass(frozen=True)
class MapsReport:
    """An address space: its VMAs, and the contents of its tables.

    Attributes:
        process: its process, without a VMA.
        pgtables_bytes: the kernel's own account of the tables below the PGD
            (``mm->pgtables_bytes``, VmPTE of ``/proc/PID/status``).
        vmas: in order of address.
        lost: why some VMAs are missing; "" if none is missing.
        outside: entries outside any VMA; a sound kernel has none.
        attempts, stable: as for a walk; the list of VMAs must not change between two looks.
        exit_code: 0 if all of it could be read and did not change, else 3.
    """

    schema: str
    version: str
    target: TargetFacts
    paging: PagingFacts
    process: MappingFacts
    pgtables_bytes: int
    vmas: tuple[VmaResidency, ...]
    lost: str
    outside: tuple[MappedRun, ...]
    attempts: int
    stable: bool
    exit_code: int
