# SPDX-License-Identifier: GPL-2.0-or-later
"""Facts about the whole system that the rules of an audit judge."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntFlag, StrEnum
from typing import Final, overload

from pageproof.model.facts import AreaOwner, OwnerKind, PagingFacts, SlabFacts, TargetFacts
from pageproof.model.kmap import LayoutFacts
from pageproof.model.walk import MemoryType, Range
from pageproof.model.where import Space


class Need(StrEnum):
    """A part of the facts; the value is its name in messages."""

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
    """Properties of a frame that rules use, from its ``struct page``."""

    FREE = 1
    """It is in a block of the buddy allocator, or on a CPU's list of free pages."""
    SLAB = 2
    TABLE = 4
    """Marked as a page table."""
    RESERVED = 8
    NO_PAGE = 16
    """Its ``struct page`` does not exist or could not be read."""
    TAIL = 32
    """A tail of a compound page; it has its head's classes too."""
    UNREFERENCED = 64
    """It has no reference and no type: free, or part of a block whose first page has both."""
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
        kernel: the one of ``init_mm``.
        kernel_user: the user half of it; None without PTI.
        spaces: those of every mm: the half that the kernel runs on.
        user_halves: the other halves; empty without PTI.
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
    """The kernel's image, in virtual addresses.

    Attributes:
        text: ``_text`` to ``_etext``.
        rodata: ``__start_rodata`` to ``__end_rodata``, with data that is read-only after init.
        shared: the part that PTI may leave in user mode's tables, in whole 2 MiB: the entry code,
            or all text and read-only data if its entries are global.
        tss_pages: each CPU's ``cpu_tss_rw``, which PTI leaves there too.
        read_only: False if the kernel was booted with ``rodata=off``.
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
        has_vm: it has a ``struct vm_struct``; areas of ``vm_map_ram()`` and per-CPU chunks lack it.
        flags: ``vm_struct.flags``.
        frames: PFNs of ``vm_struct.pages``; empty if there is no such list.
        caller: the function that allocated it; "" if unknown.
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
        mem_map: the address in ``section_mem_map``, without its flags: struct page of frame 0
            would be there.
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
    """The bounds and flags of a VMA."""

    start: int
    end: int
    vm_flags: int


class VmaTable(Sequence[VmaBounds]):
    """The bounds and flags of many VMAs, in order of address, as numbers.

    Args:
        starts, ends, vm_flags: of each VMA.
    """

    def __init__(
        self, starts: Iterable[int] = (), ends: Iterable[int] = (), vm_flags: Iterable[int] = ()
    ) -> None:
        self.starts, self.ends = array("Q", starts), array("Q", ends)
        self.vm_flags = array("Q", vm_flags)

    @classmethod
    def of(cls, *vmas: VmaBounds) -> VmaTable:
        """Return the table of VMAs."""
        return cls(
            (one.start for one in vmas),
            (one.end for one in vmas),
            (one.vm_flags for one in vmas),
        )

    def __len__(self) -> int:
        return len(self.starts)

    @overload
    def __getitem__(self, number: int) -> VmaBounds: ...
    @overload
    def __getitem__(self, number: slice) -> VmaTable: ...
    def __getitem__(self, number: int | slice) -> VmaBounds | VmaTable:
        if isinstance(number, slice):
            return VmaTable(self.starts[number], self.ends[number], self.vm_flags[number])
        return VmaBounds(self.starts[number], self.ends[number], self.vm_flags[number])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, VmaTable):
            return NotImplemented
        mine, theirs = (self.starts, self.ends), (other.starts, other.ends)
        return mine == theirs and self.vm_flags == other.vm_flags

    __hash__ = None  # type: ignore[assignment]  # as any value that has lists


@dataclass(frozen=True)
class UserTable:
    """A use of a table: the table, its level, and the first address that the entry maps."""

    table: int
    level: int
    address: int


@dataclass(frozen=True)
class UserSpace:
    """The user half of an address space.

    Attributes:
        name: the process.
        vmas: in order of address.
        runs: ranges of its tables, by rights and memory type.
        tables: every entry that leads to a table.
        gap: "" if all of it was read.
        is_locked: its mmap_lock was held, as munmap() does while entries outlive their VMA.
    """

    name: Space
    vmas: VmaTable
    runs: tuple[Range, ...]
    tables: tuple[UserTable, ...]
    gap: str = ""
    is_locked: bool = False


@dataclass(frozen=True)
class FramePlaces:
    """The mappings of a suspect frame, and the facts of its struct page.

    Attributes:
        places: (space, address) of the first user mappings.
        counted: number of entries that struct page should count.
        mapcount: number of mappings that it counts; None if it keeps no count.
        types: (mapping, memory type) of its mappings, the kernel's included.
        slab: the object at its beginning; None if it is not a slab's, or if that is unknown.
        area: the area of vmalloc space that contains it; None for none, or if not looked up.
        stranger: another owner that counts a mapping of it while a driver maps it as a raw frame;
            "" for none.
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
        """Whether a process maps it and it belongs to another owner."""
        strangers = self.area is not None and self.area.is_strangers
        return bool(self.places) and (strangers or bool(self.stranger))

    @property
    def is_uncounted(self) -> bool:
        """Whether more entries map it than ``_mapcount`` counts."""
        counts = not self.classes & UNMAPPABLE and self.mapcount is not None
        return counts and self.counted > (self.mapcount or 0)


@dataclass(frozen=True)
class UserFacts:
    """All user halves together.

    Attributes:
        spaces: of every address space.
        frames: number of frames that they map.
        suspects: frames whose mapping looks wrong.
        more_suspects: number of suspects that were not examined.
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
    """All facts that were collected; None for facts that no rule needs and for missing ones.

    Attributes:
        kernel: ranges of init_mm's upper half, in order of address, entries that are not
            empty; user_half: of its user half, with PTI.
        ram: physical memory of the System RAM, whole pages.
        unmapped: why a RAM frame is deliberately not in the direct map, by PFN.
        memtypes: RAM frames with another memory type than write-back that ``struct page``
            records (``memtype_reserve()``), by PFN.
        moving: parts of vmalloc space that changed while they were read.
        classes: of each frame, by PFN (FrameClass).
        missing: why a part of the facts could not be read.
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
