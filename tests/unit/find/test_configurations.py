# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernels with fewer options than a distribution's: missing parts are not errors.

Enumerators and members are those in the debug info of Debian's 6.12.117 source built from
tinyconfig with SMP, 5 levels and KASAN: without MEMCG, TIME_NS, NUMA, X86_PAT, SWAP, MIGRATION.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import drgn
import pytest
from unit.layouts import FIVE
from unit.program import Made

from pageproof.arch.swaplayout import swap_layout
from pageproof.arch.x86_64.kernel import has_cpu_flag
from pageproof.arch.x86_64.layout import kasan_shadow
from pageproof.arch.x86_64.rows import memory_map
from pageproof.find.frame.ram import recorded_types, zone_of
from pageproof.find.frame.records import page_layout
from pageproof.find.kernel.image import end_symbol, is_loaded
from pageproof.find.kernel.modules import module_at
from pageproof.model import SwapLayout
from pageproof.space.rows import row_at

# From address_markers of a kernel of Debian's 6.12 source with KASAN (PTDUMP_DEBUGFS).
MARKS = {
    4: {
        "KASAN_SHADOW_START_NR": 0xFFFF_EC00_0000_0000,
        "KASAN_SHADOW_END_NR": 0xFFFF_FC00_0000_0000,
    },
    5: {
        "KASAN_SHADOW_START_NR": 0xFFDF_FC00_0000_0000,
        "KASAN_SHADOW_END_NR": 0xFFFF_FC00_0000_0000,
    },
}
#: Documentation/arch/x86/x86_64/mm.rst
SHADOW = {
    4: (0xFFFF_EC00_0000_0000, 0xFFFF_FC00_0000_0000),
    5: (0xFFDF_0000_0000_0000, 0xFFFF_FC00_0000_0000),
}


@pytest.mark.parametrize("levels", [4, 5])
def test_kasans_shadow_begins_at_a_pgd_entry(levels: int) -> None:
    """kasan_init() maps the early shadow for a whole PGD entry."""
    assert kasan_shadow(MARKS[levels], levels, True) == SHADOW[levels]
    assert kasan_shadow({}, levels, True) == SHADOW[levels]
    assert kasan_shadow(MARKS[levels], levels, False) == (None, None)


def test_the_early_shadow_is_in_kasans_row() -> None:
    """Otherwise kmap's mapped-hole and audit's table-used-twice are false alarms."""
    start, end = kasan_shadow(MARKS[5], 5, True)
    rows = memory_map(replace(FIVE, kasan_start=start, kasan_end=end))
    assert row_at(rows, 0xFFDF_0000_0000_0000).region == "kasan"
    assert row_at(rows, 0xFFDE_FFFF_FFFF_FFFF).region == "hole"


def test_a_struct_page_that_does_not_divide_a_page_is_refused() -> None:
    """With CONFIG_KMSAN it has 80 bytes."""
    made = Made(structs={"page": ("flags", "_mapcount", "_refcount")}, sizes={"page": 80})
    with pytest.raises(LookupError, match="80 bytes"):
        page_layout(made.program())


def node_with_zones(prog: drgn.Program, starts: list[int]) -> drgn.Object:
    """Return ``struct pglist_data`` with zones that start at these frames."""
    zone = prog.struct_type(
        "zone", 8, [drgn.TypeMember(prog.type("unsigned long"), "zone_start_pfn", 0)]
    )
    zones = prog.array_type(zone, len(starts))
    node = prog.struct_type(
        "pglist_data", 8 * len(starts), [drgn.TypeMember(zones, "node_zones", 0)]
    )
    return drgn.Object(prog, node, {"node_zones": [{"zone_start_pfn": start} for start in starts]})


def test_zones_without_numa() -> None:
    """The only node is a variable of its own, and the zone is in the top bits of the flags."""
    made = Made(structs={"page": ("flags",)}, enumerators={"__MAX_NR_ZONES": 3})
    prog = made.program()
    made.objects["contig_page_data"] = node_with_zones(prog, [1, 0x10_0000, 0])
    for number, start in enumerate((1, 0x10_0000)):
        found = zone_of(prog, drgn.Object(prog, "struct page", {"flags": number << 62 | 0x2000}))
        assert found is not None
        assert found.zone_start_pfn.value_() == start


def test_no_memory_type_is_recorded_without_pat() -> None:
    """PG_uncached, later PG_arch_2, exists only with CONFIG_X86_PAT."""
    prog = Made(enumerators={"PG_arch_1": 12}).program()
    assert not list(recorded_types(prog, [1, 2]))


@pytest.mark.parametrize("bit", [0, 1])
def test_cpu_features_without_their_names(bit: int) -> None:
    """Without CONFIG_X86_FEATURE_NAMES, which existed until 6.5."""
    made = Made()
    prog = made.program()
    words = prog.array_type(prog.int_type("unsigned int", 4, False), 8)
    cpu = prog.struct_type("cpuinfo_x86", 32, [drgn.TypeMember(words, "x86_capability", 0)])
    made.objects["boot_cpu_data"] = drgn.Object(
        prog, cpu, {"x86_capability": [0] * 7 + [bit << 11]}
    )
    assert has_cpu_flag(prog, b"pti", 7 * 32 + 11) is bool(bit)


def test_swap_types_without_migration() -> None:
    """Options that are off use no swap types (include/linux/swap.h)."""
    assert swap_layout(31, False, True, migrates=False) == SwapLayout(
        hwpoison=(31, 0), migration=(31, 0), device=(31, 0), marker=(31, 1)
    )
    assert swap_layout(30, True, True, migrates=False) == SwapLayout(
        hwpoison=(30, 1), migration=(31, 0), device=(31, 0), marker=(31, 1)
    )


#: drgn 0.3.0's main module for that kernel under KASLR, and for a kernel whose last segment the
#: linker rounded up, as in Debian's.
EXACT = SimpleNamespace(
    address_ranges=((0xFFFF_FFFF_AC80_0000, 0xFFFF_FFFF_AD42_0000),),
    debug_file_bias=0x2B80_0000,
    loaded_file_bias=None,
)
ROUNDED = SimpleNamespace(
    address_ranges=((0xFFFF_FFFF_AC80_0000, 0xFFFF_FFFF_AD60_0000),),
    debug_file_bias=0x2B80_0000,
    loaded_file_bias=None,
)


@pytest.mark.parametrize(
    ("module", "symbol"), [(EXACT, 0xFFFF_FFFF_81C2_0000), (ROUNDED, 0xFFFF_FFFF_AD42_0000)]
)
def test_the_end_of_the_image_is_moved_with_it(module: Any, symbol: int) -> None:
    """Without the bias ``_end`` is below ``_text``, and no code is in the image."""
    prog: Any = SimpleNamespace(
        symbol=lambda name: SimpleNamespace(address=symbol), main_module=lambda: module
    )
    assert end_symbol(prog, "_end") == 0xFFFF_FFFF_AD42_0000


def test_a_kernel_without_modules_has_none_at_any_address() -> None:
    prog = Made().program()
    assert module_at(prog, 0xFFFF_FFFF_C000_0000) is None
    assert not is_loaded(prog, 0xFFFF_FFFF_C000_0000)
