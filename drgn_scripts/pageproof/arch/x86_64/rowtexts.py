# SPDX-License-Identifier: GPL-2.0-or-later
"""What each area of the x86_64 memory map is for. Words only; the addresses come from the target.

Sources: ``Documentation/arch/x86/x86_64/mm.rst`` and the files that each text names.
"""

from __future__ import annotations

from typing import Final

from pageproof.arch.architecture import RowText

_TYPES: Final = "arch/x86/include/asm/pgtable_64_types.h"
_WALK: Final = "Only by the page tables"

ROW_TEXTS: Final[dict[str, RowText]] = {
    "user": RowText(
        "user-space virtual memory, different per mm",
        "Programs, libraries, heaps, stacks and the vDSO of one process. Each mm has its own "
        "tables for it; under PTI the kernel's copy is not executable, so the tables that user "
        "mode runs on are walked.",
        f"{_WALK} of that mm: pageproof walk ADDR --pid PID.",
        "TASK_SIZE_MAX (arch/x86/include/asm/page_64_types.h); its last page is a guard.",
    ),
    "non-canonical": RowText(
        "non-canonical addresses: no table can map them",
        "Nothing. Bits 63 to 47 (4 levels) or 63 to 56 (5 levels) of an address must be the "
        "same; an access to another address is a general protection fault, not a page fault.",
        "It does not.",
        "__VIRTUAL_MASK_SHIFT (arch/x86/include/asm/page_64_types.h).",
    ),
    "guard-hole": RowText(
        "guard hole, also reserved for hypervisor",
        "Nothing under plain Linux. In a paravirtualized guest Xen is there. A bad user address "
        "with its top bit set does not reach kernel memory.",
        "It does not.",
        f"GUARD_HOLE_BASE_ADDR, GUARD_HOLE_END_ADDR ({_TYPES}).",
    ),
    "ldt": RowText(
        "LDT remap for PTI, different per mm",
        "The local descriptor table of a process that called modify_ldt(), two slots for two "
        "generations. Only the process's own tables have it, because the CPU must reach it while "
        "user mode's tables are loaded. Without PTI the LDT stays in vmalloc memory.",
        f"{_WALK} of that mm; its pages are those of the LDT's vmalloc or kmalloc memory.",
        f"LDT_BASE_ADDR, LDT_END_ADDR ({_TYPES}); arch/x86/kernel/ldt.c.",
    ),
    "physmap": RowText(
        "direct mapping of all physical memory",
        "All of RAM, at a constant offset. kmalloc() and the page allocator return addresses "
        "in it. Leaves are 1 GiB or 2 MiB, and 4 KiB where permissions were split.",
        "Subtract page_offset_base: __pa(). This does not prove that the page is mapped: "
        "memfd_secret() and others unmap pages.",
        "__PAGE_OFFSET = page_offset_base (arch/x86/include/asm/page_64_types.h); its room is "
        "MAX_PHYSMEM_BITS, less under KASLR (arch/x86/mm/kaslr.c).",
    ),
    "vmalloc": RowText(
        "vmalloc/ioremap space",
        "vmalloc(), ioremap(), vmap(), kernel stacks (VMAP_STACK), per-CPU chunks, BPF programs' "
        "data. Areas have guard pages between them; /proc/vmallocinfo lists them.",
        f"{_WALK}, page by page: the frames are not contiguous, and __pa() of such an address "
        "means nothing.",
        f"VMALLOC_START = vmalloc_base, VMALLOC_END ({_TYPES}).",
    ),
    "vmemmap": RowText(
        "virtual memory map: struct page of each frame",
        "The array of struct page, indexed by PFN, mapped only where memory exists. HugeTLB may "
        "have several of its pages on one frame, read-only.",
        f"{_WALK}; the PFN that a struct page describes is (address - vmemmap_base) / "
        "sizeof(struct page).",
        f"VMEMMAP_START = vmemmap_base ({_TYPES}).",
    ),
    "kasan": RowText(
        "KASAN shadow memory",
        "One byte of shadow for eight bytes of kernel memory. Most of it is one zero page behind "
        "tables that are shared thousands of times.",
        f"{_WALK}. The shadow of an address is (address >> 3) + KASAN_SHADOW_OFFSET.",
        "KASAN_SHADOW_START, KASAN_SHADOW_END (arch/x86/include/asm/kasan.h).",
    ),
    "cpu-entry-area": RowText(
        "cpu_entry_area mapping",
        "For each CPU its GDT, TSS, entry and exception stacks, and the IDT, which user "
        "mode's tables must map too. From 6.2 on the CPUs' places in it are random.",
        f"{_WALK}; most pages are aliases of per-CPU data.",
        f"CPU_ENTRY_AREA_BASE ({_TYPES}); arch/x86/mm/cpu_entry_area.c.",
    ),
    "espfix": RowText(
        "%esp fixup stacks",
        "A tiny stack for each CPU, for IRET to a 16-bit stack segment, which would leak the "
        "upper half of the kernel's stack pointer. One table is shared thousands of times.",
        f"{_WALK}; read-only aliases of normal pages.",
        f"ESPFIX_BASE_ADDR ({_TYPES}); arch/x86/kernel/espfix_64.c.",
    ),
    "efi": RowText(
        "EFI region mapping space",
        "The firmware's runtime services. Only efi_mm's tables have them. They are loaded "
        "during a call.",
        f"{_WALK} of efi_mm.",
        f"EFI_VA_START, EFI_VA_END ({_TYPES}); arch/x86/platform/efi/efi_64.c.",
    ),
    "text": RowText(
        "kernel text mapping: the image, from _text to _end",
        "The kernel's code, read-only data, data and bss, linked here. KASLR moves the image "
        "inside the range, in steps of CONFIG_PHYSICAL_ALIGN. Freed init parts are holes in it.",
        "Subtract __START_KERNEL_map and add phys_base: __pa_symbol(). The same frames are in "
        "the physmap too.",
        "__START_KERNEL_map, KERNEL_IMAGE_SIZE (arch/x86/include/asm/page_64_types.h).",
    ),
    "modules": RowText(
        "module mapping space",
        "Modules, BPF's jitted code, kprobe and ftrace trampolines: within 2 GiB of the kernel's "
        "text, because its calls are relative. KASLR moves the first module.",
        f"{_WALK}, page by page as vmalloc.",
        f"MODULES_VADDR = __START_KERNEL_map + KERNEL_IMAGE_SIZE, MODULES_END ({_TYPES}).",
    ),
    "boot-fixmap": RowText(
        "boot-time fixmap slots: early_ioremap()",
        "512 slots for early_ioremap() and early_memremap(), before ioremap() works; empty later.",
        f"{_WALK}.",
        "FIXADDR_TOT_START, FIX_BTMAP_END, FIX_BTMAP_BEGIN (arch/x86/include/asm/fixmap.h).",
    ),
    "fixmap": RowText(
        "kernel-internal fixmap range",
        "Slots with addresses known at compile time and frames set at run time: local APIC, "
        "I/O APICs, EHCI debug port, GHES, and text_poke() of older kernels.",
        f"{_WALK}; slot N is at FIXADDR_TOP - N pages.",
        "FIXADDR_START, enum fixed_addresses (arch/x86/include/asm/fixmap.h).",
    ),
    "vsyscall": RowText(
        "legacy vsyscall ABI",
        "gettimeofday(), time() and getcpu() at fixed addresses for old programs. With "
        "vsyscall=none nothing is mapped. With xonly or emulate a call faults and the kernel "
        "emulates it.",
        f"{_WALK}; a page of the kernel's image.",
        "VSYSCALL_ADDR (arch/x86/include/uapi/asm/vsyscall.h); "
        "arch/x86/entry/vsyscall/vsyscall_64.c.",
    ),
    "top-hole": RowText(
        "unused hole: ERR_PTR() values and poisons",
        "Nothing, on purpose: error pointers (the last 4095 bytes) and STACKLEAK_POISON must "
        "fault when they are followed.",
        "It does not.",
        "MAX_ERRNO (include/linux/err.h), STACKLEAK_POISON (include/linux/stackleak.h).",
    ),
    "hole": RowText(
        "unused hole",
        "Nothing. Holes separate areas. Under KASLR they are the distances that areas were "
        "moved by.",
        "It does not.",
        "No macro: it is the space between two areas.",
    ),
}
