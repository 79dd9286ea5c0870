# SPDX-License-Identifier: GPL-2.0-or-later
"""The reports of the commands that show: walk and maps."""

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
    """Which tree of tables is walked."""

    KERNEL = "kernel"
    """``init_mm.pgd``."""
    PROCESS = "process"
    """``mm->pgd``: what the kernel runs on in the process."""
    PROCESS_USER = "process-user"
    """The half of the pair that user mode runs on; another one only with PTI."""


@dataclass(frozen=True)
class WalkReport:
    """The way from one address to its frame.

    Attributes:
        asked: the address as the user wrote it.
        process: whose tables; its VMA is None if none is found that covers the address. None
            for the kernel's own tables.
        vma_unknown: why its VMA is not known; "" if it is known, or known that there is none.
        second: None for PTI's user half, which drgn has no way to walk.
        disputed: drgn's translation contradicts the walk.
        page: ``struct page`` of the frame; None where there is none.
        attempts: how often was looked until it held still.
        stable: two walks agreed; always true for a dump.
        exit_code: 0 if the address leads to a frame, 3 if it does not or that is not sure.
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
    """A VMA with what ``/proc/PID/maps`` says of it.

    Attributes:
        permissions: "rw-p".
        offset_bytes: into the file; 0 without one.
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
    """Pages in a row, in virtual and in physical memory, under like leaves.

    ``start`` and ``last`` are inclusive. ``frame`` is the physical address of
    ``start``, None for entries that name no frame; ``leaf_bytes`` is the size of the leaves, or
    what one entry spans.
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
    """Bytes whose entries have one outcome."""

    outcome: Outcome
    length_bytes: int


@dataclass(frozen=True)
class VmaResidency:
    """What the page tables hold within a VMA.

    Attributes:
        resident_4k_bytes, resident_2m_bytes, resident_1g_bytes: of the VMA
            under leaves of that size that name a frame, PROT_NONE ones too,
            and frames that procfs counts nowhere (PFNMAP, the zero page).
        private_bytes, shared_bytes: of those under 4 KiB leaves, the pages that
            one and that several entries map, by their mapcount. Neither is
            said of what the kernel does not count: PFNMAP, special pages, huge leaves.
        other: bytes under entries that name no frame and are not empty, and
            under tables that can't be read.
        memory_types: of the leaves.
        runs: all of it, merged.
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
    """An address space: its VMAs, and what its tables hold.

    Attributes:
        process: whose; without a VMA.
        pgtables_bytes: the kernel's own account of the tables below the PGD
            (``mm->pgtables_bytes``, VmPTE of ``/proc/PID/status``).
        vmas: in order of address.
        lost: why some VMAs are missing; "" if none is.
        outside: what the tables hold where no VMA is; nothing, in a sound kernel.
        attempts, stable: as for a walk; the list of VMAs is what must hold still.
        exit_code: 0 if all of it could be read and held still, else 3.
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
