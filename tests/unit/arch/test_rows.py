# SPDX-License-Identifier: GPL-2.0-or-later
"""The memory map: rows from markers made by hand, against the kernel's documentation."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from unit.layouts import FIVE, FOUR, MOVED_FIVE, MOVED_FOUR

from pageproof.arch.x86_64.rows import memory_map
from pageproof.arch.x86_64.rowtexts import ROW_TEXTS
from pageproof.model.kmap import LayoutFacts, Placement

LAYOUTS = {
    "four": FOUR,
    "five": FIVE,
    "moved-four": MOVED_FOUR,
    "moved-five": MOVED_FIVE,
    "no-vsyscall": replace(FOUR, vsyscall=None, fixmap_start=0xFFFF_FFFF_FF79_0000),
    "full": replace(MOVED_FIVE, page_offset_base=0xFF11_0000_0000_0000, physmap_bytes=1 << 60),
    "fixmap-in-modules": replace(FOUR, boot_fixmap_start=0xFFFF_FFFF_FEFF_E000),
    "vmemmap-at-the-end": replace(MOVED_FOUR, vmemmap_base=0xFFFF_FDFF_C000_0000),
}

#: mm.rst: the first address of each row and its size. ``FIXADDR_START`` is variable there.
ALIKE = [
    (0xFFFF_FC00_0000_0000, 2 << 40, "hole"),
    (0xFFFF_FE00_0000_0000, 1 << 39, "cpu-entry-area"),
    (0xFFFF_FE80_0000_0000, 1 << 39, "hole"),
    (0xFFFF_FF00_0000_0000, 1 << 39, "espfix"),
    (0xFFFF_FF80_0000_0000, 444 << 30, "hole"),
    (0xFFFF_FFEF_0000_0000, 64 << 30, "efi"),
    (0xFFFF_FFFF_0000_0000, 2 << 30, "hole"),
    (0xFFFF_FFFF_8000_0000, 512 << 20, "text"),
    (0xFFFF_FFFF_A000_0000, 1520 << 20, "modules"),
    (0xFFFF_FFFF_FF60_0000, 4 << 10, "vsyscall"),
    (0xFFFF_FFFF_FFE0_0000, 2 << 20, "top-hole"),
]
DOCUMENTED = {
    "four": [
        (0, 128 << 40, "user"),
        (0x0000_8000_0000_0000, (1 << 64) - (256 << 40), "non-canonical"),
        (0xFFFF_8000_0000_0000, 8 << 40, "guard-hole"),
        (0xFFFF_8800_0000_0000, 1 << 39, "ldt"),
        (0xFFFF_8880_0000_0000, 64 << 40, "physmap"),
        (0xFFFF_C880_0000_0000, 1 << 39, "hole"),
        (0xFFFF_C900_0000_0000, 32 << 40, "vmalloc"),
        (0xFFFF_E900_0000_0000, 1 << 40, "hole"),
        (0xFFFF_EA00_0000_0000, 1 << 40, "vmemmap"),
        (0xFFFF_EB00_0000_0000, 1 << 40, "hole"),
        (0xFFFF_EC00_0000_0000, 16 << 40, "kasan"),
        *ALIKE,
    ],
    # mm.rst counts 55 physical bits here: 32 PB and 0.5 PB. The kernel's MAX_PHYSMEM_BITS is 52,
    # so that the physmap and vmemmap are smaller and the rest is a row of its own.
    "five": [
        (0, 64 << 50, "user"),
        (0x0100_0000_0000_0000, (1 << 64) - (128 << 50), "non-canonical"),
        (0xFF00_0000_0000_0000, 4 << 50, "guard-hole"),
        (0xFF10_0000_0000_0000, 1 << 48, "ldt"),
        (0xFF11_0000_0000_0000, 4 << 50, "physmap"),
        (0xFF21_0000_0000_0000, 28 << 50, "hole"),
        (0xFF91_0000_0000_0000, 15 << 48, "hole"),
        (0xFFA0_0000_0000_0000, 25 << 49, "vmalloc"),
        (0xFFD2_0000_0000_0000, 1 << 49, "hole"),
        (0xFFD4_0000_0000_0000, 64 << 40, "vmemmap"),
        (0xFFD4_4000_0000_0000, (512 - 64) << 40, "hole"),
        (0xFFD6_0000_0000_0000, 9 << 48, "hole"),
        (0xFFDF_0000_0000_0000, (33 << 48) - (4 << 40), "kasan"),
        *ALIKE,
    ],
}


@pytest.mark.parametrize("name", DOCUMENTED)
def test_the_documented_map(name: str) -> None:
    rows = {row.start: (row.size_bytes, row.region) for row in memory_map(LAYOUTS[name])}
    for start, size, region in DOCUMENTED[name]:
        assert rows[start] == (size, region), f"{start:#x}"
    others = {rows[start][1] for start in rows.keys() - {one[0] for one in DOCUMENTED[name]}}
    assert others == {"boot-fixmap", "fixmap", "hole"}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_every_byte_is_in_one_row(layout: LayoutFacts) -> None:
    rows = memory_map(layout)
    assert (rows[0].start, rows[-1].last) == (0, (1 << 64) - 1)
    for before, after in pairwise(rows):
        assert after.start == before.last + 1
    assert sum(row.size_bytes for row in rows) == 1 << 64
    assert all(row.size_bytes == row.last - row.start + 1 > 0 for row in rows)
    assert {row.region for row in rows} <= set(ROW_TEXTS)


def placements(layout: LayoutFacts) -> dict[str, Placement]:
    return {row.region: row.placement for row in memory_map(layout) if row.region != "hole"}


def test_what_kaslr_moved() -> None:
    found = placements(MOVED_FIVE)
    moved = {name for name, placement in found.items() if placement is Placement.MOVED}
    assert moved == {"physmap", "vmalloc", "vmemmap"}
    inside = {name for name, placement in found.items() if placement is Placement.INSIDE}
    assert inside == {"text", "modules", "cpu-entry-area"}
    assert placements(replace(MOVED_FIVE, cpu_entry_area_moved=False))["cpu-entry-area"] == "fixed"
    holes = {row.start: row.placement for row in memory_map(MOVED_FIVE) if row.region == "hole"}
    assert holes[0xFF11_0000_0000_0000] is Placement.MOVED
    assert holes[0xFFFF_FFFF_0000_0000] is Placement.FIXED
    assert Placement.MOVED not in placements(FIVE).values()
    assert Placement.INSIDE not in placements(FIVE).values()


def test_a_row_begins_at_the_kernels_own_base() -> None:
    rows = {row.region: row for row in memory_map(MOVED_FOUR)}
    assert rows["physmap"].start == MOVED_FOUR.page_offset_base
    assert rows["physmap"].size_bytes == 11 << 40
    assert rows["vmalloc"].start == MOVED_FOUR.vmalloc_base
    assert rows["vmemmap"].start == MOVED_FOUR.vmemmap_base
    assert rows["vmemmap"].size_bytes == (11 << 40) // 4096 * 64
    assert "kasan" not in rows
    assert not rows["espfix"].configured


@pytest.mark.parametrize(
    ("layout", "start", "last", "purpose"),
    [
        # The room that the documentation gives the physmap, up to vmalloc and no further.
        (
            replace(FOUR, physmap_bytes=1 << 45, vmalloc_base=0xFFFF_C880_0000_0000),
            0xFFFF_A880_0000_0000,
            0xFFFF_C87F_FFFF_FFFF,
            "unused hole: room of physmap beyond 45 physical bits",
        ),
        # Under KASLR there is no such room.
        (
            replace(MOVED_FOUR, vmalloc_base=0xFFFF_D000_0000_0000),
            0xFFFF_A65A_4000_0000,
            0xFFFF_CFFF_FFFF_FFFF,
            "unused hole",
        ),
    ],
)
def test_the_hole_behind_the_physmap(
    layout: LayoutFacts, start: int, last: int, purpose: str
) -> None:
    (hole,) = (row for row in memory_map(layout) if row.start == start)
    assert (hole.region, hole.last, hole.purpose) == ("hole", last, purpose)


def test_vmemmap_ends_where_kasan_begins() -> None:
    large = replace(FOUR, struct_page_bytes=256)
    rows = {row.region: row for row in memory_map(large)}
    assert rows["vmemmap"].last + 1 == rows["kasan"].start == FOUR.kasan_start


def test_what_is_not_configured_has_its_room_all_the_same() -> None:
    bare = replace(FOUR, ldt_configured=False, espfix_configured=False, efi_configured=False)
    for layout, configured in ((FOUR, True), (bare, False)):
        rows = {row.region: row for row in memory_map(layout)}
        for name in ("ldt", "espfix", "efi"):
            assert rows[name].configured is configured
            assert rows[name].purpose.endswith(" (not configured: unused)") is not configured
        assert rows["modules"].configured


def test_the_fixmap_ends_where_its_last_page_does() -> None:
    """``FIXADDR_TOP`` is 0xffffffffff7ff000; vsyscall's page is a slot of it."""
    rows = {row.region: row for row in memory_map(LAYOUTS["no-vsyscall"])}
    assert rows["fixmap"].last == 0xFFFF_FFFF_FF7F_FFFF
    assert "vsyscall" not in rows
    assert {row.region: row.last for row in memory_map(FOUR)}["fixmap"] == 0xFFFF_FFFF_FF5F_FFFF


def test_without_kasan_its_room_is_shown_only_where_it_is_free() -> None:
    plain = replace(FOUR, kasan_start=None, kasan_end=None)
    (row,) = (row for row in memory_map(plain) if row.region == "kasan")
    assert (row.start, row.configured) == (0xFFFF_EC00_0000_0000, False)
    assert "not configured" in row.purpose
