# SPDX-License-Identifier: GPL-2.0-or-later
"""What an address is: the report of whatis."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pageproof.model.alias import Alias
from pageproof.model.commands import TableSet, VmaLine
from pageproof.model.facts import (
    AreaOwner,
    MappingFacts,
    PagingFacts,
    SlabFacts,
    StructPageFacts,
    TargetFacts,
)
from pageproof.model.hexint import Address, Bits, Paddr, Pfn
from pageproof.model.kmap import MapRow
from pageproof.model.walk import Outcome, Permissions, Walk

WHATIS_SCHEMA: Final = "pageproof/whatis-1"


@dataclass(frozen=True)
class SymbolFacts:
    """A symbol of the kernel or of a module.

    Attributes:
        size_bytes: 0 if the symbol table has none.
        section: of the kernel's image: "text", "rodata", "data", "bss", "init" …; "" elsewhere.
        freed: it was in the init sections, whose pages were freed.
        source: source of the name: "debug info", or "module's kallsyms".
    """

    name: str
    start: Address
    size_bytes: int
    offset_bytes: int
    section: str
    freed: bool
    source: str


@dataclass(frozen=True)
class ModuleFacts:
    """The module of an address, and the part of it: "text", "rodata", "data" …."""

    name: str
    part: str
    start: Address
    size_bytes: int
    offset_bytes: int


class TaskPart(StrEnum):
    """The part of a task at an address."""

    STRUCT = "task_struct"
    STACK = "stack"


@dataclass(frozen=True)
class TaskFacts:
    """A task whose stack or ``struct task_struct`` an address is in; ``pid`` is the thread's."""

    part: TaskPart
    pid: int
    comm: str
    task: Address
    start: Address
    offset_bytes: int


@dataclass(frozen=True)
class VmapFacts:
    """An area of the vmalloc space, as ``/proc/vmallocinfo`` has it.

    Attributes:
        start, end: of the area; the guard page at its end belongs to it.
        guard: the address is in that guard page.
        caller: "symbol+offset" of its allocation; "" if the kernel does not know.
        flags_words: procfs's words, with "|" between them.
        pages: of memory; 0 if it has none of its own (ioremap).
        physical: the physical address that ioremap maps; None for memory.
    """

    start: Address
    end: Address
    offset_bytes: int
    guard: bool
    caller: str
    caller_address: Address
    flags: Bits
    flags_words: str
    pages: int
    physical: Paddr | None


class PerCpuPart(StrEnum):
    """The part of a per-CPU unit."""

    STATIC = "static"
    """A variable of the kernel's image."""
    MODULE = "module"
    """A variable of a module."""
    DYNAMIC = "dynamic"
    """From ``alloc_percpu()``."""


@dataclass(frozen=True)
class PerCpuFacts:
    """One CPU's copy of per-CPU memory.

    Attributes:
        pointer: the per-CPU pointer, to which the kernel adds ``__per_cpu_offset[cpu]``.
        name: of the variable, or of the module; "" if unknown.
        offset_bytes: into the variable, or into the module's per-CPU memory.
    """

    part: PerCpuPart
    cpu: int
    pointer: Address
    name: str
    offset_bytes: int


@dataclass(frozen=True)
class PageStructFacts:
    """An address in the array of ``struct page``, and its frame."""

    pfn: Pfn
    start: Address
    offset_bytes: int


@dataclass(frozen=True)
class FixmapFacts:
    """A slot of the fixmap.

    Attributes:
        slot: its number, counted down from ``FIXADDR_TOP``.
        name: its enumerator of ``enum fixed_addresses``, or the one before it.
        index: number of slots after that one.
    """

    slot: int
    name: str
    index: int
    offset_bytes: int


@dataclass(frozen=True)
class CpuEntryFacts:
    """A place in the cpu_entry_area.

    Attributes:
        cpu: None for the IDT, which all CPUs share.
        member: of ``struct cpu_entry_area``, with its members in turn ("tss.x86_tss").
    """

    cpu: int | None
    member: str
    start: Address
    offset_bytes: int


@dataclass(frozen=True)
class LdtFacts:
    """A place in the LDT remap; the entry need not be in use."""

    slot: int
    entry: int


@dataclass(frozen=True)
class EspfixFacts:
    """The CPU whose espfix stack it is."""

    cpu: int
    offset_bytes: int


@dataclass(frozen=True)
class VsyscallFacts:
    """A call of the vsyscall page; ``mode`` is the kernel's: "EMULATE", "XONLY", "NONE"."""

    call: str
    mode: str


@dataclass(frozen=True)
class ShadowFacts:
    """KASAN's shadow of an address, or the memory of a shadow address.

    Attributes:
        shadow: address of the shadow byte.
        memory: first of the eight bytes that it describes.
        values: the shadow bytes from ``shadow`` on; () if they cannot be read.
        meanings: the meaning of each value.
    """

    shadow: Address
    memory: Address
    values: tuple[int, ...]
    meanings: tuple[str, ...]


class PageUse(StrEnum):
    """The use of a frame, as recorded by the kernel."""

    NO_STRUCT_PAGE = "no struct page"
    """Not memory of the kernel: a device's, or the firmware's."""
    HWPOISON = "hardware poison"
    FREE = "free"
    """In a block of the buddy allocator, or on a CPU's list of free pages."""
    UNCOUNTED = "refcount 0"
    """It has no reference and is not on a free list: unknown. The pages after the first of a block
    that is not compound look like that while in use."""
    SLAB = "slab"
    LARGE_KMALLOC = "large kmalloc"
    PAGE_TABLE = "page table"
    RESERVED = "reserved"
    """Allocated before the page allocator existed: the image, early allocations, holes."""
    ANONYMOUS = "anonymous"
    KSM = "KSM"
    FILE = "file"
    TYPED = "typed"
    """It has a type that pageproof has no name for."""
    OTHER = "other"
    """In use, and struct page does not name its owner. An area of vmalloc space may."""
    UNKNOWN = "unknown"
    """Its ``struct page`` cannot be read."""


@dataclass(frozen=True)
class OwnerFacts:
    """The owner of a page from its ``struct page``, for a compound page from the head's.

    Attributes:
        mapping: the raw word.
        anonymous, ksm: its low bits.
        inode_number: of the file that the page belongs to; None for others.
        file_name: of a dentry of that inode; "" for none.
        offset_pages: of the page in its file; None for others.
        page_table: the kernel marked it as a page table.
        free_order: order of the free block that contains it; None for pages in use.
        free_cpu: the CPU whose list has that block; None for the buddy allocator.
    """

    mapping: Bits = 0
    anonymous: bool = False
    ksm: bool = False
    inode_number: int | None = None
    file_name: str = ""
    offset_pages: int | None = None
    page_table: bool = False
    free_order: int | None = None
    free_cpu: int | None = None


@dataclass(frozen=True)
class Identity:
    """All that an address was identified as; the other fields are None.

    Attributes:
        drgn: the words of drgn's ``identify_address_all()``.
    """

    symbol: SymbolFacts | None = None
    module: ModuleFacts | None = None
    slab: SlabFacts | None = None
    task: TaskFacts | None = None
    vmap: VmapFacts | None = None
    per_cpu: PerCpuFacts | None = None
    page_struct: PageStructFacts | None = None
    fixmap: FixmapFacts | None = None
    cpu_entry: CpuEntryFacts | None = None
    ldt: LdtFacts | None = None
    espfix: EspfixFacts | None = None
    vsyscall: VsyscallFacts | None = None
    shadow: ShadowFacts | None = None
    drgn: tuple[str, ...] = ()


@dataclass(frozen=True)
class Unknown:
    """A question that could not be answered, and why.

    Attributes:
        question: its name.
        outcome: EXCLUDED if a dump omits the memory, else UNREADABLE or ZERO_FILLED.
    """

    question: str
    outcome: Outcome
    reason: str


@dataclass(frozen=True)
class AliasFacts:
    """Another address that leads to the frame by arithmetic, and the result of walking it.

    Attributes:
        region: "physmap", or "text": the mapping of the kernel's image.
        outcome: how the walk for it ended.
        same: the walk ended at the same physical address.
    """

    region: str
    address: Address
    outcome: Outcome
    same: bool
    permissions: Permissions | None


@dataclass(frozen=True)
class FrameFacts:
    """The frame that an address leads to.

    Attributes:
        use: what it is used for.
        page: None without a ``struct page``, or if it cannot be read.
        content: MAPPED if the target has its bytes; otherwise why a dump lacks them.
        aliases: the kernel's regular other addresses of it.
        area: the area of vmalloc space that contains it; None for none.
    """

    use: PageUse
    page: StructPageFacts | None
    owner: OwnerFacts | None
    content: Outcome
    aliases: tuple[AliasFacts, ...]
    area: AreaOwner | None = None


@dataclass(frozen=True)
class WhatisReport:
    """What an address is.

    Attributes:
        asked: as the user wrote it.
        cpu: the CPU whose copy of a per-CPU variable was requested.
        region: the row of the memory map.
        process: owner of the tables; None for the kernel's own.
        vma: for a user address, the VMA that covers it.
        tables_of: "init_mm", "efi_mm" or "pid N".
        frame: None if the walk does not lead to a frame.
        mappings: every mapping of the frame; None if they were not requested.
        kasan: the kernel has KASAN.
        known: more than the row is known about the address.
        attempts, stable: as for a walk.
        exit_code: 0 if it is identified; 3 if something is undecided, or if nothing is mapped and
            nothing is known.
    """

    schema: str
    version: str
    target: TargetFacts
    paging: PagingFacts
    asked: str
    address: Address
    cpu: int | None
    region: MapRow
    offset_bytes: int
    process: MappingFacts | None
    vma: VmaLine | None
    tables: TableSet
    tables_of: str
    walk: Walk
    frame: FrameFacts | None
    identity: Identity
    unknown: tuple[Unknown, ...]
    mappings: tuple[Alias, ...] | None
    kasan: bool
    known: bool
    attempts: int
    stable: bool
    exit_code: int
