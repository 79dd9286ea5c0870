# SPDX-License-Identifier: GPL-2.0-or-later
"""Page tables and processor of an x86_64 kernel, from its own data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import drgn
from drgn.helpers.linux.cpumask import for_each_possible_cpu
from drgn.helpers.linux.percpu import per_cpu

from pageproof.arch.kernel import number_in, optional_number, vmcoreinfo
from pageproof.arch.swaplayout import read_swap_layout
from pageproof.arch.x86_64.memtypes import X86MemoryType
from pageproof.arch.x86_64.paging import MOST_PHYSICAL_BITS, START_KERNEL_MAP
from pageproof.errors import PageproofError
from pageproof.model import MemoryType, PagingFacts
from pageproof.space.units import ADDRESS_LAST, PAGE_BYTES

#: The smallest MAXPHYADDR of a processor with long mode (CPUID 0x80000008).
_LEAST_PHYSICAL_BITS: Final = 36

_MEMORY_TYPES: Final = {
    "_PAGE_CACHE_MODE_WB": X86MemoryType.WB,
    "_PAGE_CACHE_MODE_WC": X86MemoryType.WC,
    "_PAGE_CACHE_MODE_UC_MINUS": X86MemoryType.UC_MINUS,
    "_PAGE_CACHE_MODE_UC": X86MemoryType.UC,
    "_PAGE_CACHE_MODE_WT": X86MemoryType.WT,
    "_PAGE_CACHE_MODE_WP": X86MemoryType.WP,
}


def read_paging(prog: drgn.Program) -> PagingFacts:
    """Read the paging form of the kernel under test.

    Raises:
        PageproofError: the kernel's data does not have it.
        drgn.FaultError: it cannot be read.
    """
    info = vmcoreinfo(prog)
    levels, levels_from = read_levels(prog, info)
    phys_base = number_in(info, "NUMBER(phys_base)")
    if phys_base is None:
        phys_base = int(prog["phys_base"])
    # An unsigned long: "negative" where KASLR put the image below its linked place.
    phys_base &= ADDRESS_LAST
    swapper = prog["init_mm"].pgd.value_()
    return PagingFacts(
        levels=levels,
        levels_from=levels_from,
        kernel_root=swapper - START_KERNEL_MAP + phys_base & ADDRESS_LAST,
        sme_mask=_sme_mask(prog, info),
        pat=_pat(prog),
        pti=has_cpu_flag(prog, b"pti", _PTI),
        page_offset_base=page_offset(prog),
        vmalloc_base=optional_number(prog, "vmalloc_base"),
        vmemmap_base=optional_number(prog, "vmemmap_base"),
        phys_base=phys_base,
        swap=read_swap_layout(prog),
        physical_bits=physical_bits(prog),
    )


#: ``X86_FEATURE_PTI`` (arch/x86/include/asm/cpufeatures.h), the same since 4.15.
_PTI: Final = 7 * 32 + 11


def page_offset(prog: drgn.Program) -> int:
    """Return the base of the direct map: a variable, or a constant without its randomization."""
    base = optional_number(prog, "page_offset_base")
    if base is not None:
        return base
    from drgn.helpers.linux.mm import virt_to_phys

    return -int(virt_to_phys(prog, 0).value_()) & ADDRESS_LAST


def read_levels(prog: drgn.Program, info: dict[str, str]) -> tuple[int, str]:
    """Return 4 or 5, and where it comes from: the running kernel, never its configuration.

    CONFIG_X86_5LEVEL only allows 5 levels, and 6.17 removed it (7212b58d6d71).

    Raises:
        PageproofError: the target does not have it.
    """
    enabled = number_in(info, "NUMBER(pgtable_l5_enabled)")
    if enabled is not None:
        return (5 if enabled else 4), "VMCOREINFO pgtable_l5_enabled"
    for name in ("__pgtable_l5_enabled", "pgtable_l5_enabled"):
        value = optional_number(prog, name)
        if value is not None:
            return (5 if value else 4), name
    entries = optional_number(prog, "ptrs_per_p4d")
    if entries in (1, 512):
        return (5 if entries == 512 else 4), "ptrs_per_p4d"
    raise PageproofError(
        "the target does not say whether it has 4 or 5 levels of page tables",
        "",
        "a kernel from 4.17 on with its VMCOREINFO is needed",
    )


def _sme_mask(prog: drgn.Program, info: dict[str, str]) -> int:
    mask = number_in(info, "NUMBER(sme_mask)")
    if mask is None:
        mask = optional_number(prog, "sme_me_mask") or 0
    return mask & ADDRESS_LAST


def physical_bits(prog: drgn.Program) -> int | None:
    """Return MAXPHYADDR without the bits of memory encryption (``early_detect_mem_encrypt()``)."""
    try:
        bits = int(prog["boot_cpu_data"].x86_phys_bits)
    except (LookupError, AttributeError, drgn.FaultError):
        return None
    return bits if _LEAST_PHYSICAL_BITS <= bits <= MOST_PHYSICAL_BITS else None


def _pat(prog: drgn.Program) -> tuple[MemoryType, ...]:
    """Return memory types by PAT index, from the kernel's own table for decoding.

    The kernel fills ``__pte2cachemode_tbl`` (``arch/x86/mm/init.c``) from the PAT MSR as it was
    programmed. Its index is PAT, PCD, PWT from the top.
    """
    table = prog["__pte2cachemode_tbl"]
    enumerators = prog.type("enum page_cache_mode").enumerators or ()
    by_value = {e.value: _MEMORY_TYPES[e.name] for e in enumerators if e.name in _MEMORY_TYPES}
    values = [table[index].value_() for index in range(8)]
    if not set(values) <= set(by_value):
        raise PageproofError(
            f"the kernel's table of memory types is damaged, __pte2cachemode_tbl is {values}"
        )
    return tuple(by_value[value] for value in values)


def has_cpu_flag(prog: drgn.Program, name: bytes, number: int) -> bool:
    """Return whether ``boot_cpu_data`` has a feature, by its name in ``x86_cap_flags``.

    Until "x86/cpu: Remove X86_FEATURE_NAMES" (6.5) a kernel may lack the names, and BTF may
    leave their number open. Then ``number``, the feature's bit, is used.
    """
    capability = prog["boot_cpu_data"].x86_capability
    try:
        names = prog["x86_cap_flags"]
        length = names.type_.length
    except LookupError:
        length = None
    if length is None:
        return bool(capability[number // 32].value_() >> number % 32 & 1)
    for bit in range(length):
        pointer = names[bit]
        address = pointer.value_()
        if address and prog.read_c_string(address, max_size=len(name) + 1) == name:
            return bool(capability[bit // 32].value_() >> bit % 32 & 1)
    return False


#: ``call rel32`` (Intel SDM 2A, CALL).
_CALL: Final = 0xE8
_CALL_BYTES: Final = 5


def called_by(prog: drgn.Program, address: int) -> int | None:
    """Return the target of the ``call rel32`` before an address; None if there is no call.

    Raises:
        drgn.FaultError: the code cannot be read.
    """
    if address < _CALL_BYTES:
        return None
    call = prog.read(address - _CALL_BYTES, _CALL_BYTES)
    if call[0] != _CALL:
        return None
    return address + int.from_bytes(call[1:], "little", signed=True) & ADDRESS_LAST


def recorded_type(prog: drgn.Program) -> Callable[[int], MemoryType] | None:
    """Return a function from ``page->flags`` of a RAM frame to the memory type that it records.

    ``get_page_memtype()`` of arch/x86/mm/pat/memtype.c: two flags, of which one was PG_uncached
    until "x86: remove PG_uncached" (6.12). None without CONFIG_X86_PAT, which brings that flag.
    """
    write_combining = prog.constant("PG_arch_1").value_()
    for name in ("PG_uncached", "PG_arch_2"):
        try:
            uncached = int(prog.constant(name))
        except LookupError:
            continue
        types = (X86MemoryType.WB, X86MemoryType.WC, X86MemoryType.UC_MINUS, X86MemoryType.WT)
        return lambda flags: types[flags >> write_combining & 1 | (flags >> uncached & 1) << 1]
    return None


#: ``MM_CONTEXT_HAS_VSYSCALL`` of arch/x86/include/asm/mmu.h: bit 1, as BIT(1) before 6.4.
_HAS_VSYSCALL: Final = 1 << 1


def gate_vma(prog: drgn.Program, mm: drgn.Object) -> tuple[drgn.Object, str] | None:
    """Return the VMA of the vsyscall page (``get_gate_vma()``), with its name."""
    try:
        gate, mode = prog["gate_vma"], prog["vsyscall_mode"]
        names = {e.value: e.name for e in mode.type_.enumerators or ()}
        if names[mode.value_()] == "NONE":
            return None
        flags = mm.context.flags
    except (LookupError, AttributeError):
        return None
    return (gate, "[vsyscall]") if flags.value_() & _HAS_VSYSCALL else None


def tss_pages(prog: drgn.Program) -> frozenset[int]:
    """Return the pages of each CPU's ``cpu_tss_rw``, which PTI leaves in user mode's tables."""
    try:
        tss = prog["cpu_tss_rw"]
    except LookupError:
        return frozenset()
    cpus = for_each_possible_cpu(prog)
    return frozenset((per_cpu(tss, cpu).address_ or 0) & -PAGE_BYTES for cpu in cpus)
