# SPDX-License-Identifier: GPL-2.0-or-later
"""What the rules of an audit judge: facts of the whole system, from its data and its tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntFlag, StrEnum
from typing import Final

from pageproof.model.facts import AreaOwner, OwnerKind, PagingFacts, SlabFacts, TargetFacts
from pageproof.model.kmap import LayoutFacts
from pageproof.model.walk import MemoryType, Range, memory_types
from pageproof.model.where import Space


class Need(StrEnum):
    """A part of the facts, by the words that say that it is missing."""

    TOPS = "the topmost tables"
    KERNEL = "the kernel's page tables"
    USER_HALF = "the user half of PTI"
    IMAGE = "the symbols of the kernel's image"
    RAM = "the list of System RAM"
    AREAS = "the vmalloc areas"
    SECTIONS = "the memory sections"
    FRAMES = "struct page of all frames"
    USERS = "the tables and VMAs of all processes"


class FrameClass(IntFlag):
    """What ``struct page`` says of a frame, as far as a rule asks."""

    FREE = 1
    """It is in a block of the buddy allocator, or on a CPU's list of free pages."""
    SLAB = 2
    TABLE = 4
    """Marked as a page table."""
    RESERVED = 8
    NO_PAGE = 16
    """It has no ``struct page`` that could be read."""
    TAIL = 32
    """Of a compound page: it is of its head's classes too."""
    UNREFERENCED = 64
    """Without a reference and a type. It may be free, or of a block whose first page has both."""
    HEAD = 128


#: Classes of frames that no process should map.
UNMAPPABLE: Final = FrameClass.FREE | FrameClass.SLAB | FrameClass.TABLE


@dataclass(frozen=True)
class TopTable:
    """One topmost table.

    Attributes:
        space: the address space.
        root: its physical address.
        entries: all 512; empty if it cannot be read.
        gap: why it cannot.
        user_half: it is the half of a PTI pair that user mode runs on.
    """

    space: Space
    root: int
    entries: tuple[int, ...]
    gap: str = ""
    user_half: bool = False

    @property
    def name(self) -> str:
        """The table in words: "pid 1 (init), user half"."""
        return f"{self.space}, user half" if self.user_half else str(self.space)


@dataclass(frozen=True)
class TopTables:
    """Topmost tables of the kernel and of every address space.

    Attributes:
        kernel: ``init_mm``'s.
        kernel_user: its user half; None without PTI.
        spaces: of every mm: the half that the kernel runs on.
        user_halves: the others; empty without PTI.
        faults: what could not be searched.
    """

    kernel: TopTable
    kernel_user: TopTable | None
    spaces: tuple[TopTable, ...]
    user_halves: tuple[TopTable, ...]
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class Span:
    """Addresses or physical addresses; ``end`` is exclusive."""

    start: int
    end: int


@dataclass(frozen=True)
class ImageFacts:
    """The kernel's image. All of it are virtual addresses.

    Attributes:
        text: ``_text`` to ``_etext``.
        rodata: ``__start_rodata`` to ``__end_rodata``, with what is read-only after init.
        shared: what PTI may leave in user mode's tables, in whole 2 MiB: the entry code, or
            all text and read-only data where its entries are global.
        tss_pages: each CPU's ``cpu_tss_rw``, which PTI leaves there too.
        read_only: false where ``rodata=off`` was asked for.
    """

    text: Span
    rodata: Span
    shared: Span
    tss_pages: tuple[int, ...]
    read_only: bool


@dataclass(frozen=True)
class Area:
    """A vmalloc area.

    Attributes:
        has_vm: it has a ``struct vm_struct``; ``vm_map_ram()``'s and per-CPU's free room has none.
        flags: ``vm_struct.flags``.
        frames: PFNs of ``vm_struct.pages``; empty where there is no such list.
        caller: the function that asked for it, "" if not known.
    """

    start: int
    end: int
    has_vm: bool
    flags: int = 0
    frames: tuple[int, ...] = ()
    caller: str = ""


@dataclass(frozen=True)
class Section:
    """A section of memory that has struct pages.

    Attributes:
        number: among all sections.
        first_pfn, pages: its frames.
        whole: all its struct pages must be there: it is early, or has all its subsections.
        mem_map: what ``section_mem_map`` encodes, without its flags: where struct page of
            frame 0 would be.
        zones: of its first and last struct page: (PFN, first PFN of its zone, the zone's end).
    """

    number: int
    first_pfn: int
    pages: int
    whole: bool
    mem_map: int
    zones: tuple[tuple[int, int, int], ...] = ()


@dataclass(frozen=True)
class VmaBounds:
    """What is asked of a VMA."""

    start: int
    end: int
    vm_flags: int


@dataclass(frozen=True)
class UserTable:
    """A use of a table: the table, its level, and the first address behind the entry."""

    table: int
    level: int
    address: int


@dataclass(frozen=True)
class UserSpace:
    """The user half of an address space.

    Attributes:
        name: the process.
        vmas: in order of address.
        runs: what its tables hold, by rights and memory type.
        tables: every entry that leads to a table.
        gap: "" if all of it was read.
        is_locked: somebody held its mmap_lock, as munmap() does while entries outlive their VMA.
    """

    name: Space
    vmas: tuple[VmaBounds, ...]
    runs: tuple[Range, ...]
    tables: tuple[UserTable, ...]
    gap: str = ""
    is_locked: bool = False


@dataclass(frozen=True)
class FramePlaces:
    """Where a frame that a rule asks about is mapped, and what struct page says of it.

    Attributes:
        places: (space, address) of user mappings, the first of many.
        counted: how many entries map it that struct page should count.
        mapcount: how many it counts; None where it keeps no count.
        types: memory types by whose they are, "physmap" for the kernel's direct map.
        slab: the object at its beginning; None if it is no slab's, or that can't be told.
        area: of vmalloc space that has it; None for none, or where nobody asked.
        stranger: who counts a mapping of it, where a driver maps it as a raw frame; "" for none.
    """

    pfn: int
    classes: FrameClass
    places: tuple[tuple[Space, int], ...]
    counted: int = 0
    mapcount: int | None = None
    types: tuple[tuple[str, MemoryType], ...] = ()
    slab: SlabFacts | None = None
    area: AreaOwner | None = None
    stranger: str = ""

    def is_mapped_as(self, classes: FrameClass) -> bool:
        """Return whether a process maps it and it is of one of these classes."""
        return bool(self.classes & classes) and bool(self.places)

    @property
    def is_mapped_stack(self) -> bool:
        """Whether a process maps it and it is a page of a task's kernel stack."""
        return self.area is not None and self.area.kind is OwnerKind.STACK and bool(self.places)

    @property
    def is_others(self) -> bool:
        """Whether a process maps it and it belongs to somebody else."""
        strangers = self.area is not None and self.area.is_strangers
        return bool(self.places) and (strangers or bool(self.stranger))

    @property
    def is_uncounted(self) -> bool:
        """Whether more entries map it than ``_mapcount`` counts, where that is kept."""
        counts = not self.classes & UNMAPPABLE and self.mapcount is not None
        return counts and self.counted > (self.mapcount or 0)

    @property
    def has_conflict(self) -> bool:
        """Whether its mappings have memory types that differ in effect."""
        return len(memory_types(kind for _, kind in self.types)) > 1


@dataclass(frozen=True)
class UserFacts:
    """All user halves together.

    Attributes:
        spaces: of every address space.
        frames: how many frames they map.
        suspects: frames that should not be mapped so.
        more_suspects: how many were not looked at any closer.
        kernel_tables: every entry of init_mm's upper half that leads to a table.
        faults: what could not be searched.
        free_doubt: why a mapped frame without references may be free; "" if that is known.
    """

    spaces: tuple[UserSpace, ...]
    frames: int
    suspects: tuple[FramePlaces, ...]
    more_suspects: int
    kernel_tables: tuple[UserTable, ...] = ()
    faults: tuple[str, ...] = ()
    free_doubt: str = ""


@dataclass(frozen=True)
class AuditFacts:
    """All that was collected; None for what no rule asked for and for what is missing.

    Attributes:
        kernel: ranges of init_mm's upper half, in order of address, entries that are not
            empty; user_half: of its user half, with PTI.
        ram: physical memory of the System RAM, whole pages.
        unmapped: why a RAM frame is deliberately not in the direct map, by PFN.
        memtypes: RAM frames with another memory type than write-back that ``struct page``
            records (``memtype_reserve()``), by PFN.
        moving: parts of vmalloc space that changed while they were looked at.
        classes: of each frame, by PFN (FrameClass).
        missing: why a part of the facts could not be had.
    """

    target: TargetFacts
    paging: PagingFacts
    layout: LayoutFacts | None = None
    tops: TopTables | None = None
    kernel: tuple[Range, ...] | None = None
    user_half: tuple[Range, ...] | None = None
    image: ImageFacts | None = None
    ram: tuple[Span, ...] | None = None
    unmapped: Mapping[int, str] = field(default_factory=dict)
    memtypes: Mapping[int, MemoryType] = field(default_factory=dict)
    areas: tuple[Area, ...] | None = None
    moving: tuple[Span, ...] = ()
    sections: tuple[Section, ...] | None = None
    classes: bytes | None = None
    users: UserFacts | None = None
    missing: Mapping[Need, str] = field(default_factory=dict)
