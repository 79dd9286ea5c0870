# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's memory map: its markers, the rows between them, the contents of the tables."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pageproof.model.facts import PagingFacts, TargetFacts
from pageproof.model.hexint import Address, Bits, Paddr
from pageproof.model.report import Finding

KMAP_SCHEMA = "pageproof/kmap-1"


class Placement(StrEnum):
    """Whether KASLR places a row."""

    FIXED = "fixed"
    """The same in every boot."""
    MOVED = "moved"
    """KASLR moved its start or end in this boot."""
    UNMOVED = "unmoved"
    """KASLR could have moved it and did not: it is at its documented place."""
    INSIDE = "inside"
    """The row is fixed; KASLR moved its contents."""


@dataclass(frozen=True)
class LayoutFacts:
    """The kernel's own markers. All ends are exclusive.

    Attributes:
        levels: 4 or 5.
        markers: True if the fixed ones come from the kernel's own table (``address_markers``).
        kaslr: the boot loader's KASLR flag, as stored by the kernel.
        physmap_bytes: room for the direct map; its source is ``physmap_from``.
        memory_bytes: end of physical memory (``max_pfn`` pages).
        struct_page_bytes: ``sizeof(struct page)``.
        kasan_start, kasan_end: None without KASAN.
        cpu_entry_area_moved: CPUs' areas lie in a random order in it (since 6.2, 97e3d26b5e5f).
        kernel_map: ``__START_KERNEL_map``.
        image_start, image_end: ``_text`` and ``_end``.
        fixmap_start: ``FIXADDR_START``: of the permanent slots.
        boot_fixmap_start: ``FIXADDR_TOT_START``, which includes the slots of ``early_ioremap()``.
        vsyscall: the page's address; None if the kernel has none.
        efi_root: physical address of ``efi_mm.pgd``; None if EFI has no tables of its own.
    """

    levels: int
    markers: bool
    kaslr: bool
    page_offset_base: Address
    physmap_bytes: int
    physmap_from: str
    memory_bytes: int
    vmalloc_base: Address
    vmemmap_base: Address
    struct_page_bytes: int
    ldt: Address
    ldt_configured: bool
    kasan_start: Address | None
    kasan_end: Address | None
    cpu_entry_area: Address
    cpu_entry_area_moved: bool
    espfix: Address
    espfix_configured: bool
    efi_start: Address
    efi_configured: bool
    efi_root: Paddr | None
    kernel_map: Address
    image_start: Address
    image_end: Address
    kaslr_offset: Bits
    modules_start: Address
    modules_end: Address
    fixmap_start: Address
    boot_fixmap_start: Address
    vsyscall: Address | None


@dataclass(frozen=True)
class Contents:
    """The contents of the page tables in a row.

    Attributes:
        tables: the tables that were walked: "init_mm", "efi_mm", "pid N".
        mapped_4k_bytes, mapped_2m_bytes, mapped_1g_bytes: by size of the leaf.
        writable_bytes, executable_bytes: by the permissions of all levels together.
        write_execute_bytes: both at once.
        user_bytes: user mode may access them, by these tables.
        not_present_bytes: entries that are not zero and not present.
        shared_bytes, shared_entries: behind entries that lead to a table that was counted already;
            they are not counted again.
        unknown_bytes: behind tables that cannot be read.
    """

    tables: str
    mapped_4k_bytes: int = 0
    mapped_2m_bytes: int = 0
    mapped_1g_bytes: int = 0
    writable_bytes: int = 0
    executable_bytes: int = 0
    write_execute_bytes: int = 0
    user_bytes: int = 0
    not_present_bytes: int = 0
    shared_bytes: int = 0
    shared_entries: int = 0
    unknown_bytes: int = 0

    @property
    def mapped_bytes(self) -> int:
        """All mapped bytes, without those behind shared tables."""
        return self.mapped_4k_bytes + self.mapped_2m_bytes + self.mapped_1g_bytes


@dataclass(frozen=True)
class MapRow:
    """A range of the 64-bit address space; rows follow each other without gap or overlap.

    Attributes:
        region: its name, for ``--explain``; "hole" for unused addresses. (An area, not a shared
            region: the name is part of the JSON schema.)
        start, last: both inclusive, so that the end needs no 2**64.
        offset_bytes: distance from the top, negative, as in the documentation; from the bottom for
            addresses below 2**63.
        configured: False if this kernel does not use it.
        contents: None if no table was walked: no pid was given, or no table can map it.
    """

    region: str
    start: Address
    last: Address
    offset_bytes: int
    size_bytes: int
    purpose: str
    placement: Placement
    configured: bool = True
    contents: Contents | None = None


@dataclass(frozen=True)
class KernelMap:
    """The report of ``kmap``.

    Attributes:
        pid, comm: the process of the user half and the LDT; None if no pid was given.
        exit_code: 3 if a table could not be read, else 0: a map is not a verdict.
    """

    schema: str
    version: str
    target: TargetFacts
    paging: PagingFacts
    layout: LayoutFacts
    pid: int | None
    comm: str | None
    rows: tuple[MapRow, ...]
    findings: tuple[Finding, ...]
    seconds: float
    exit_code: int
