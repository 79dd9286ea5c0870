# SPDX-License-Identifier: GPL-2.0-or-later
"""Layouts of kernels made by hand, for tests of the memory map."""

from __future__ import annotations

from dataclasses import replace

from pageproof.model.kmap import LayoutFacts

GIB = 1 << 30

FOUR = LayoutFacts(
    levels=4,
    markers=True,
    kaslr=False,
    page_offset_base=0xFFFF_8880_0000_0000,
    physmap_bytes=1 << 46,
    physmap_from="physmem_end",
    memory_bytes=GIB,
    vmalloc_base=0xFFFF_C900_0000_0000,
    vmemmap_base=0xFFFF_EA00_0000_0000,
    struct_page_bytes=64,
    ldt=0xFFFF_8800_0000_0000,
    ldt_configured=True,
    kasan_start=0xFFFF_EC00_0000_0000,
    kasan_end=0xFFFF_FC00_0000_0000,
    cpu_entry_area=0xFFFF_FE00_0000_0000,
    cpu_entry_area_moved=True,
    espfix=0xFFFF_FF00_0000_0000,
    espfix_configured=True,
    efi_start=0xFFFF_FFEF_0000_0000,
    efi_configured=True,
    efi_root=None,
    kernel_map=0xFFFF_FFFF_8000_0000,
    image_start=0xFFFF_FFFF_8100_0000,
    image_end=0xFFFF_FFFF_83C0_0000,
    kaslr_offset=0,
    # As mm.rst has it: KERNEL_IMAGE_SIZE is 512 MiB.
    modules_start=0xFFFF_FFFF_A000_0000,
    modules_end=0xFFFF_FFFF_FF00_0000,
    fixmap_start=0xFFFF_FFFF_FF57_9000,
    boot_fixmap_start=0xFFFF_FFFF_FF1F_E000,
    vsyscall=0xFFFF_FFFF_FF60_0000,
)

FIVE = replace(
    FOUR,
    levels=5,
    page_offset_base=0xFF11_0000_0000_0000,
    physmap_bytes=1 << 52,
    vmalloc_base=0xFFA0_0000_0000_0000,
    vmemmap_base=0xFFD4_0000_0000_0000,
    ldt=0xFF10_0000_0000_0000,
    kasan_start=0xFFDF_0000_0000_0000,
)

#: Real bases of two boots with KASLR; without KASAN, which forbids it.
MOVED_FOUR = replace(
    FOUR,
    kaslr=True,
    page_offset_base=0xFFFF_9B5A_4000_0000,
    physmap_bytes=11 << 40,
    vmalloc_base=0xFFFF_B1C5_8000_0000,
    vmemmap_base=0xFFFF_E1B3_C000_0000,
    kasan_start=None,
    kasan_end=None,
    espfix_configured=False,
    kaslr_offset=0x30E0_0000,
    image_start=0xFFFF_FFFF_B1E0_0000,
    image_end=0xFFFF_FFFF_B4A3_0000,
    modules_start=0xFFFF_FFFF_C000_0000,
)
MOVED_FIVE = replace(
    MOVED_FOUR,
    levels=5,
    page_offset_base=0xFF45_C89A_C000_0000,
    physmap_bytes=1 << 52,
    vmalloc_base=0xFF6C_55D6_C000_0000,
    vmemmap_base=0xFFF9_C2EC_4000_0000,
    ldt=0xFF10_0000_0000_0000,
)
