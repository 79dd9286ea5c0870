# SPDX-License-Identifier: GPL-2.0-or-later
"""The paging form of the kernel under test, from its own data."""

from __future__ import annotations

from typing import Final

import drgn

from pageproof.errors import PageproofError
from pageproof.model import MemoryType, PagingFacts, SwapLayout
from pageproof.space.units import ADDRESS_LAST

#: ``__START_KERNEL_map``: where the kernel image's mapping is linked on every x86_64.
START_KERNEL_MAP: Final = 0xFFFF_FFFF_8000_0000


#: What a processor with long mode may say of itself (CPUID 0x80000008).
_LEAST_PHYSICAL_BITS: Final = 36
_MOST_PHYSICAL_BITS: Final = 52

_MEMORY_TYPES: Final = {
    "_PAGE_CACHE_MODE_WB": MemoryType.WB,
    "_PAGE_CACHE_MODE_WC": MemoryType.WC,
    "_PAGE_CACHE_MODE_UC_MINUS": MemoryType.UC_MINUS,
    "_PAGE_CACHE_MODE_UC": MemoryType.UC,
    "_PAGE_CACHE_MODE_WT": MemoryType.WT,
    "_PAGE_CACHE_MODE_WP": MemoryType.WP,
}


def read_paging(prog: drgn.Program) -> PagingFacts:
    """Read how the kernel under test pages.

    Raises:
        PageproofError: the kernel's data does not say.
    """
    try:
        return _read_paging(prog)
    except drgn.FaultError as error:
        raise PageproofError(
            f"the kernel's data about its page tables can't be read: {error}",
            "",
            "the dump may be damaged or a part of one",
        ) from None


def _read_paging(prog: drgn.Program) -> PagingFacts:
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
        swap=_swap_layout(prog),
        physical_bits=_physical_bits(prog),
    )


#: ``X86_FEATURE_PTI`` (arch/x86/include/asm/cpufeatures.h), the same since 4.15.
_PTI: Final = 7 * 32 + 11


def page_offset(prog: drgn.Program) -> int:
    """Base of the direct map: ``page_offset_base``; a constant only without its randomization."""
    base = optional_number(prog, "page_offset_base")
    if base is not None:
        return base
    from drgn.helpers.linux.mm import virt_to_phys

    return -int(virt_to_phys(prog, 0).value_()) & ADDRESS_LAST


def vmcoreinfo(prog: drgn.Program) -> dict[str, str]:
    """The lines of VMCOREINFO, by what stands before their first "="."""
    text = prog["VMCOREINFO"].string_().decode("utf-8", "replace")
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def number_in(info: dict[str, str], key: str, base: int = 10) -> int | None:
    """A NUMBER() of VMCOREINFO; None if the kernel does not export it.

    Raises:
        PageproofError: it is no number of 64 bits.
    """
    if key not in info:
        return None
    try:
        number = int(info[key], base)
    except ValueError:
        number = 1 << 64
    if not -(1 << 63) <= number < 1 << 64:
        raise PageproofError(f"the target's VMCOREINFO is damaged: {key}={info[key]!r}")
    return number


def optional_number(prog: drgn.Program, name: str) -> int | None:
    """A variable's value; None if this kernel has no such variable or it is optimized out."""
    try:
        return int(prog[name].value_())
    except (LookupError, drgn.ObjectAbsentError):
        return None


def read_levels(prog: drgn.Program, info: dict[str, str]) -> tuple[int, str]:
    """4 or 5, and what says so: the running kernel, and never its configuration.

    CONFIG_X86_5LEVEL says what could be, and 6.17 dropped it (7212b58d6d71).

    Raises:
        PageproofError: the target does not say.
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


def _physical_bits(prog: drgn.Program) -> int | None:
    """MAXPHYADDR, less what memory encryption takes of it (``early_detect_mem_encrypt()``)."""
    try:
        bits = int(prog["boot_cpu_data"].x86_phys_bits)
    except (LookupError, AttributeError, drgn.FaultError):
        return None
    return bits if _LEAST_PHYSICAL_BITS <= bits <= _MOST_PHYSICAL_BITS else None


def _pat(prog: drgn.Program) -> tuple[MemoryType, ...]:
    """Memory types by PAT index, from the table that the kernel itself decodes with.

    ``__pte2cachemode_tbl`` of ``arch/x86/mm/init.c``: filled from the PAT MSR
    as it was programmed. Its index is PAT, PCD, PWT from the top.
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
    """Whether ``boot_cpu_data`` has a feature, looked up by its name in ``x86_cap_flags``.

    Until "x86/cpu: Remove X86_FEATURE_NAMES" (6.5) a configuration could leave the names out; then
    ``number`` is the feature's bit.
    """
    capability = prog["boot_cpu_data"].x86_capability
    try:
        names = prog["x86_cap_flags"]
    except LookupError:
        return bool(capability[number // 32].value_() >> number % 32 & 1)
    for bit in range(names.type_.length or 0):
        pointer = names[bit]
        if pointer.value_() and pointer.string_() == name:
            return bool(capability[bit // 32].value_() >> bit % 32 & 1)
    return False


def _swap_layout(prog: drgn.Program) -> SwapLayout | None:
    """Read what :func:`swap_layout` needs; None where the target does not say."""
    try:
        files = prog["swap_info"].type_.length
    except LookupError:
        return None
    if files is None:
        return None
    try:
        prog.constant("PG_anon_exclusive")
        exclusive = True
    except LookupError:
        exclusive = False
    poison = optional_number(prog, "sysctl_memory_failure_recovery") is not None
    return swap_layout(files, poison, exclusive, migrates=_has_function(prog, "migrate_pages"))


def _has_function(prog: drgn.Program, name: str) -> bool:
    try:
        prog.symbol(name)
    except LookupError:
        return False
    return True


def swap_layout(
    files: int, poison: bool, exclusive: bool, *, migrates: bool = True
) -> SwapLayout | None:
    """Where the special swap types begin.

    ``include/linux/swap.h``: of 32 types the last are, in this order, hwpoison
    (0 or 1), migration (2, or 3 since 6c287605fd56 in 5.19, which also brought
    PG_anon_exclusive), device memory (0, 2, 4, or 3 since 6.15) and markers (0,
    1 or, with the swap-in error of 5.19 to 6.2, 2). They are macros, which
    DWARF does not have; but the kernel's own array has as many elements as
    there are types left for swap files.

    Args:
        files: MAX_SWAPFILES, the length of ``swap_info``.
        poison: the kernel has CONFIG_MEMORY_FAILURE.
        exclusive: it knows PG_anon_exclusive.
        migrates: it has CONFIG_MIGRATION.

    Returns:
        None where the numbers fit no known layout.
    """
    if exclusive:
        migration, splits = 3, {0: (0, 0), 1: (0, 1), 2: (0, 2), 4: (3, 1), 5: (4, 1), 6: (4, 2)}
    else:
        migration, splits = 2, {0: (0, 0), 2: (2, 0), 4: (4, 0)}
    if not migrates:
        migration = 0
    hwpoison = int(poison)
    first_device = files + hwpoison + migration
    rest = 32 - first_device
    if rest not in splits:
        return None
    device, marker = splits[rest]
    return SwapLayout(
        hwpoison=(files, hwpoison),
        migration=(files + hwpoison, migration),
        device=(first_device, device),
        marker=(first_device + device, marker),
    )
