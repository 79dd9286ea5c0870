# SPDX-License-Identifier: GPL-2.0-or-later
"""The markers of the kernel's memory map, from the kernel under test.

Bases that KASLR moves are read from the kernel's variables. Bases that are the same in every boot
are read from ``address_markers`` (``arch/x86/mm/dump_pagetables.c``) if the kernel has it.
Otherwise they follow from the number of levels (``arch/x86/include/asm/pgtable_64_types.h``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import drgn

from pageproof.arch.kernel import number_in, optional_number, vmcoreinfo
from pageproof.arch.x86_64.forms import FORMS
from pageproof.arch.x86_64.kernel import page_offset, read_levels
from pageproof.arch.x86_64.paging import FIXADDR_TOP, LEVELS, START_KERNEL_MAP
from pageproof.errors import PageproofError
from pageproof.model import PagingFacts
from pageproof.space.units import ADDRESS_END, PAGE_BYTES

if TYPE_CHECKING:
    from pageproof.model.kmap import LayoutFacts

_GIB: Final = 1 << 30
_TIB: Final = 1 << 40
_P4D_SHIFT: Final = 39
#: ``PGDIR_SHIFT`` by levels.
_PGD_SHIFT: Final = {levels: tables[0].shift for levels, tables in LEVELS.items()}
#: ``KASLR_FLAG`` of ``boot_params.hdr.loadflags`` (arch/x86/include/uapi/asm/bootparam.h).
_KASLR_FLAG: Final = 1 << 1
_MODULES_END: Final = 0xFFFF_FFFF_FF00_0000
_VSYSCALL: Final = 0xFFFF_FFFF_FF60_0000
#: ``KASAN_SHADOW_START``, ``KASAN_SHADOW_END`` (arch/x86/include/asm/kasan.h) by levels:
#: CONFIG_KASAN_SHADOW_OFFSET has one value for all kernels.
_KASAN: Final = {
    4: (0xFFFF_EC00_0000_0000, 0xFFFF_FC00_0000_0000),
    5: (0xFFDF_FC00_0000_0000, 0xFFFF_FC00_0000_0000),
}


def read_layout(prog: drgn.Program, paging: PagingFacts, image_end: int) -> LayoutFacts:
    """Read where the areas of the kernel's half are.

    Raises:
        PageproofError: the kernel's data does not have it.
    """
    from pageproof.model.kmap import LayoutFacts  # physmap() does without

    info = vmcoreinfo(prog)
    marks = _markers(prog)
    levels = paging.levels
    pgd_shift = _PGD_SHIFT[levels]
    # A kernel without CONFIG_DYNAMIC_MEMORY_LAYOUT has no variables for these bases: they are
    # constants there, __VMALLOC_BASE and __VMEMMAP_BASE.
    form = FORMS[levels]
    memory_bytes = _memory_bytes(prog)
    room, room_from = _physmap_room(prog, info, memory_bytes, paging.page_offset_base, levels)
    kasan_start, kasan_end = kasan_shadow(marks, levels, _has(prog, "kasan_early_shadow_page"))
    image_size = number_in(info, "NUMBER(KERNEL_IMAGE_SIZE)")
    kernel_map = marks.get("HIGH_KERNEL_NR", START_KERNEL_MAP)
    modules = marks.get("MODULES_VADDR_NR")
    if modules is None:
        if image_size is None:
            raise PageproofError(
                "the start of the modules' area is not known: VMCOREINFO has no KERNEL_IMAGE_SIZE",
                "",
                "use a kernel that exports it",
            )
        modules = kernel_map + image_size
    permanent, slots, vsyscall = _fixmap(prog)
    image_start = int(prog.symbol("_text").address)
    efi_pgd = _efi_pgd(prog)
    return LayoutFacts(
        levels=levels,
        markers=bool(marks),
        kaslr=bool(prog["boot_params"].hdr.loadflags.value_() & _KASLR_FLAG),
        page_offset_base=paging.page_offset_base,
        physmap_bytes=room,
        physmap_from=room_from,
        memory_bytes=memory_bytes,
        vmalloc_base=paging.vmalloc_base or marks.get("VMALLOC_START_NR", form.vmalloc),
        vmemmap_base=paging.vmemmap_base or marks.get("VMEMMAP_START_NR", form.vmemmap[0]),
        struct_page_bytes=prog.type("struct page").size or 0,
        ldt=marks.get("LDT_NR", ADDRESS_END - (240 << pgd_shift)),
        ldt_configured=_has(prog, "write_ldt"),
        kasan_start=kasan_start,
        kasan_end=kasan_end,
        cpu_entry_area=marks.get("CPU_ENTRY_AREA_NR", ADDRESS_END - (4 << _P4D_SHIFT)),
        cpu_entry_area_moved=_has(prog, "_cea_offset"),
        espfix=marks.get("ESPFIX_START_NR", ADDRESS_END - (2 << _P4D_SHIFT)),
        espfix_configured=_has(prog, "espfix_stack"),
        efi_start=marks.get("EFI_END_NR", ADDRESS_END - 68 * _GIB),
        efi_configured=_has(prog, "efi_mm"),
        efi_root=None if efi_pgd is None else efi_pgd - paging.page_offset_base,
        kernel_map=kernel_map,
        image_start=image_start,
        image_end=image_end,
        kaslr_offset=number_in(info, "KERNELOFFSET", 16) or 0,
        modules_start=modules,
        modules_end=marks.get("MODULES_END_NR", _MODULES_END),
        fixmap_start=marks.get("FIXADDR_START_NR", FIXADDR_TOP - permanent * PAGE_BYTES),
        boot_fixmap_start=FIXADDR_TOP - slots * PAGE_BYTES,
        vsyscall=_VSYSCALL if vsyscall else None,
    )


def physmap(prog: drgn.Program) -> range:
    """Return the addresses that the direct map may have, those of physical memory from 0 on.

    Raises:
        PageproofError: the kernel's data does not have it.
    """
    info, base = vmcoreinfo(prog), page_offset(prog)
    levels, _ = read_levels(prog, info)
    room, _ = _physmap_room(prog, info, _memory_bytes(prog), base, levels)
    return range(base, base + room)


def _memory_bytes(prog: drgn.Program) -> int:
    return _variable(prog, "max_pfn") * PAGE_BYTES


def _has(prog: drgn.Program, name: str) -> bool:
    """Return whether the kernel has a variable or function: a sign of its configuration."""
    try:
        prog[name]
    except LookupError:
        try:
            prog.symbol(name)
        except LookupError:
            return False
    return True


def _variable(prog: drgn.Program, name: str) -> int:
    value = optional_number(prog, name)
    if value is None:
        raise PageproofError(f"the target has no variable {name}", "", "its vmlinux is needed")
    return value


def _markers(prog: drgn.Program) -> dict[str, int]:
    """Return ``address_markers`` by name, without those never set. Empty without PTDUMP_CORE."""
    try:
        names = prog.type("enum address_markers_idx").enumerators or ()
        table = prog["address_markers"]
        found = {each.name: table[each.value].start_address.value_() for each in names}
    except LookupError:
        return {}
    return {name: address for name, address in found.items() if address}


def kasan_shadow(
    marks: dict[str, int], levels: int, configured: bool
) -> tuple[int, int] | tuple[None, None]:
    """Return start and end of KASAN's shadow; None without KASAN.

    ``kasan_init()`` (arch/x86/mm/kasan_init_64.c) claims the whole PGD entry in which
    KASAN_SHADOW_START lies and maps the early shadow from there on. With 5 levels
    KASAN_SHADOW_START is not aligned to a PGD entry, and ``address_markers`` has it as it is.
    """
    if not configured:
        return None, None
    start, end = _KASAN[levels]
    start = marks.get("KASAN_SHADOW_START_NR", start)
    return start & -1 << _PGD_SHIFT[levels], marks.get("KASAN_SHADOW_END_NR", end)


def _physmap_room(
    prog: drgn.Program, info: dict[str, str], memory_bytes: int, base: int, levels: int
) -> tuple[int, str]:
    """Return the bytes that the direct map may grow to, and the kernel's data that this is from.

    ``physmem_end`` came in 6.11 (ea72ce5da228) and later got a longer name.
    Before, the kernel discarded KASLR's size after boot: the memory in whole
    TiB, plus a padding that only the configuration has.
    """
    for name in ("direct_map_physmem_end", "physmem_end"):
        last = optional_number(prog, name)
        if last:
            return last + 1, name
    bits = number_in(info, "NUMBER(MAX_PHYSMEM_BITS)")
    if bits is None:
        raise PageproofError("the target's VMCOREINFO has no MAX_PHYSMEM_BITS")
    if not 0 < bits < 64:
        raise PageproofError(f"the target's VMCOREINFO is damaged: MAX_PHYSMEM_BITS={bits}")
    if base == FORMS[levels].physmap[0]:
        return 1 << bits, "MAX_PHYSMEM_BITS"
    return -(-memory_bytes // _TIB) * _TIB, "max_pfn in whole TiB; KASLR's padding is not known"


def _fixmap(prog: drgn.Program) -> tuple[int, int, bool]:
    """Return the permanent slots, all slots, and whether vsyscall's page is one of them."""
    slots = {each.name: each.value for each in prog.type("enum fixed_addresses").enumerators or ()}
    return (
        slots["__end_of_permanent_fixed_addresses"],
        slots["__end_of_fixed_addresses"],
        "VSYSCALL_PAGE" in slots,
    )


def _efi_pgd(prog: drgn.Program) -> int | None:
    """Return ``efi_mm.pgd``; None without EFI or without runtime services of the firmware."""
    try:
        return prog["efi_mm"].pgd.value_() or None
    except LookupError:
        return None
