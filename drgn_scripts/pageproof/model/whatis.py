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
        size_bytes: 0 where the symbol table has none.
        section: of the kernel's image: "text", "rodata", "data", "bss", "init" …; "" elsewhere.
        freed: it was of the init sections, whose pages now serve others.
        source: where the name is from: "debug info", or "module's kallsyms".
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
    """The module that an address is of, and which part of it: "text", "rodata", "data" …."""

    name: str
    part: str
    start: Address
    size_bytes: int
    offset_bytes: int


class TaskPart(StrEnum):
    """What of a task lies at an address."""

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
        caller: "symbol+offset" of who asked for it; "" where the kernel does not know.
        flags_words: procfs's words, with "|" between them.
        pages: of memory; 0 where it has none of its own (ioremap).
        physical: what ioremap maps; None for memory.
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
    """Which part of a per-CPU unit."""

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
        pointer: the per-CPU pointer: what the kernel adds ``__per_cpu_offset[cpu]`` to.
        name: of the variable, or of the module; "" where none is known.
        offset_bytes: into the variable, or into the module's per-CPU memory.
    """

    part: PerCpuPart
    cpu: int
    pointer: Address
    name: str
    offset_bytes: int


@dataclass(frozen=True)
class PageStructFacts:
    """An address in the array of ``struct page``, and the frame that it is about."""

    pfn: Pfn
    start: Address
    offset_bytes: int


@dataclass(frozen=True)
class FixmapFacts:
    """A slot of the fixmap.

    Attributes:
        slot: its number, counted down from ``FIXADDR_TOP``.
        name: the enumerator of ``enum fixed_addresses`` that it is, or that it comes after.
        index: how many slots after that.
    """

    slot: int
    name: str
    index: int
    offset_bytes: int


@dataclass(frozen=True)
class CpuEntryFacts:
    """A place in the cpu_entry_area.

    Attributes:
        cpu: None for the IDT, which all share.
        member: of ``struct cpu_entry_area``, with its members in turn ("tss.x86_tss").
    """

    cpu: int | None
    member: str
    start: Address
    offset_bytes: int


@dataclass(frozen=True)
class LdtFacts:
    """A place in the LDT remap; the entry is not said to be in use."""

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
    """KASAN's shadow of an address, or what a shadow address is the shadow of.

    Attributes:
        shadow: address of the shadow byte.
        memory: first of the eight bytes that it is about.
        values: the shadow bytes from ``shadow`` on; () if they can't be read.
        meanings: of each of them.
    """

    shadow: Address
    memory: Address
    values: tuple[int, ...]
    meanings: tuple[str, ...]


class PageUse(StrEnum):
    """What a frame is used for, as far as the kernel writes that down."""

    NO_STRUCT_PAGE = "no struct page"
    """No memory of the kernel's: a device's, or the firmware's."""
    HWPOISON = "hardware poison"
    FREE = "free"
    """In a block of the buddy allocator, or on a CPU's list of free pages."""
    UNCOUNTED = "refcount 0"
    """It has no reference and is on no free list: unknown. The pages after the first of a block
    that is not compound are so while they are in use."""
    SLAB = "slab"
    LARGE_KMALLOC = "large kmalloc"
    PAGE_TABLE = "page table"
    RESERVED = "reserved"
    """Taken before there was a page allocator: the image, early allocations, holes."""
    ANONYMOUS = "anonymous"
    KSM = "KSM"
    FILE = "file"
    TYPED = "typed"
    """It has a type that this tool has no name for."""
    OTHER = "other"
    """In use, and struct page does not name its owner. An area of vmalloc space may."""
    UNKNOWN = "unknown"
    """Its ``struct page`` can't be read."""


@dataclass(frozen=True)
class OwnerFacts:
    """What ``struct page`` says of its owner; of the head of a compound page.

    Attributes:
        mapping: the raw word.
        anonymous, ksm: its low bits.
        inode_number: of the file whose page it is; None for others.
        file_name: of a dentry of that inode; "" for none.
        offset_pages: of the page in its file; None for others.
        page_table: the kernel marked it as one.
        free_order: of the free block that it is in; None for pages in use.
        free_cpu: the CPU whose list holds that block; None for the buddy allocator.
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
    """All that was found an address to be; what it is not is None.

    Attributes:
        drgn: what drgn's ``identify_address_all()`` says, in its words.
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
        question: the name of what was asked for.
        outcome: EXCLUDED where a dump left the memory out, else UNREADABLE or ZERO_FILLED.
    """

    question: str
    outcome: Outcome
    reason: str


@dataclass(frozen=True)
class AliasFacts:
    """Another address that leads to the frame by arithmetic, and what the tables say to that.

    Attributes:
        region: "physmap", or "text": the mapping of the kernel's image.
        outcome: how the walk for it ended.
        same: it ended at the same physical address.
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
        page: None without a ``struct page``, or if it can't be read.
        content: MAPPED if the target has its bytes; for a dump, what is in the way.
        aliases: where else the kernel has it as a matter of course.
        area: of vmalloc space that has it; None for none.
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
        cpu: whose copy of a per-CPU variable was asked for.
        region: the row of the memory map.
        process: whose tables; None for the kernel's own.
        vma: for a user address, the VMA that covers it.
        tables_of: "init_mm", "efi_mm" or "pid N".
        frame: None where the walk names no frame.
        mappings: every mapping of the frame; None if they were not asked for.
        kasan: the kernel has KASAN.
        known: something beyond the region is known of the address.
        attempts, stable: as for a walk.
        exit_code: 0 if it is identified; 3 if something could not be decided, or nothing is
            mapped and nothing known.
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
