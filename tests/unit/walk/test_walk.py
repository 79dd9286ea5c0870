# SPDX-License-Identifier: GPL-2.0-or-later
"""The walker: tables of entries in, outcome and frame out.

The comments beside the entries are the path: level[index].
"""

from __future__ import annotations

import pytest
from unit.tables import NX, PAT_LARGE, PCD, PROTNONE, PSE, PWT, RW, TABLE, US, A, D, G, P, Tables

from pageproof.arch.x86_64 import X86_64
from pageproof.arch.x86_64.memtypes import LINUX_PAT, X86MemoryType
from pageproof.arch.x86_64.paging import X86Paging
from pageproof.model import EntryKind, MemoryType, Outcome, SwapLayout
from pageproof.model.asked import WalkerChoice
from pageproof.render import words
from pageproof.space.units import PAGE_BYTES
from pageproof.walk import (
    make_walker,
    walk_address,
)

FOUR = X86Paging(levels=4)
FIVE = X86Paging(levels=5)
ROOT, T1, T2, T3, T4 = 0x1000, 0x2000, 0x3000, 0x4000, 0x5000
ADDRESS_BITS = 0x000F_FFFF_FFFF_F000

#: 0x7f12_3456_7abc: PGD[254] PUD[72] PMD[418] PTE[359]
USER = 0x7F12_3456_7ABC


def four_levels(pte: int, *, pgd: int = TABLE, pud: int = TABLE, pmd: int = TABLE) -> Tables:
    return Tables(
        {
            ROOT + 254 * 8: T1 | pgd,  # PGD[254]
            T1 + 72 * 8: T2 | pud,  # PUD[72]
            T2 + 418 * 8: T3 | pmd,  # PMD[418]
            T3 + 359 * 8: pte,  # PTE[359]
        }
    )


def test_four_levels_down_to_a_page() -> None:
    walk = walk_address(four_levels(0xABCD_E000 | TABLE | D).read, ROOT, USER, FOUR)
    assert walk.outcome is Outcome.MAPPED
    assert walk.paddr == 0xABCD_EABC
    assert walk.pfn == 0xABCDE
    assert walk.leaf_bytes == 4096
    assert [(s.name, s.level, s.table, s.index) for s in walk.steps] == [
        ("PGD", 4, ROOT, 254),
        ("PUD", 3, T1, 72),
        ("PMD", 2, T2, 418),
        ("PTE", 1, T3, 359),
    ]
    assert [s.base for s in walk.steps] == [T1, T2, T3, 0xABCD_E000]
    assert walk.steps[3].flags == ("P", "RW", "US", "A", "D")


def test_five_levels_translate_nine_bits_more() -> None:
    # 0x00aa_7f12_3456_7abc: PGD[170] P4D[254] PUD[72] PMD[418] PTE[359]
    address = 0x00AA_7F12_3456_7ABC
    tables = Tables(
        {
            ROOT + 170 * 8: T4 | TABLE,  # PGD[170]
            T4 + 254 * 8: T1 | TABLE,  # P4D[254]
            T1 + 72 * 8: T2 | TABLE,  # PUD[72]
            T2 + 418 * 8: T3 | TABLE,  # PMD[418]
            T3 + 359 * 8: 0x7000 | TABLE,  # PTE[359]
        }
    )
    walk = walk_address(tables.read, ROOT, address, FIVE)
    assert walk.paddr == 0x7ABC
    assert [s.name for s in walk.steps] == ["PGD", "P4D", "PUD", "PMD", "PTE"]
    assert walk_address(tables.read, ROOT, address, FOUR).outcome is Outcome.NON_CANONICAL


@pytest.mark.parametrize("levels", [3, 6])
def test_other_numbers_of_levels_are_refused(levels: int) -> None:
    with pytest.raises(ValueError, match="4 or 5 levels"):
        X86Paging(levels=levels)


# PRESENT clear, bit 8 set, address bits inverted.


def test_prot_none_names_the_inverted_frame() -> None:
    raw = (0xABCD_E000 ^ ADDRESS_BITS) | PROTNONE | A | NX
    walk = walk_address(four_levels(raw).read, ROOT, USER, FOUR)
    assert walk.outcome is Outcome.PROT_NONE
    assert walk.pfn == 0xABCDE
    assert walk.permissions is not None
    assert not walk.permissions.access
    assert "PTE entry 359 of the table at 0x4000" in walk.detail


def test_prot_none_huge_page_is_inverted_too() -> None:
    raw = (0x4000_0000 ^ ADDRESS_BITS & ~0x1FF000) | PROTNONE | PSE
    tables = four_levels(0)
    tables.entries[T2 + 418 * 8] = raw
    walk = walk_address(tables.read, ROOT, USER, FOUR)
    assert walk.outcome is Outcome.PROT_NONE
    assert walk.paddr == 0x4000_0000 + (USER & 0x1F_FFFF)


def test_huge_page_in_the_moment_of_a_split_still_names_its_frame() -> None:
    # pmd_mkinvalid(): PSE stays, PRESENT and PROTNONE go, the frame is inverted.
    raw = (0x4000_0000 ^ ADDRESS_BITS & ~0x1FF000) | PSE | RW | US
    tables = four_levels(0)
    tables.entries[T2 + 418 * 8] = raw
    walk = walk_address(tables.read, ROOT, USER, FOUR)
    assert walk.outcome is Outcome.INVALIDATED
    assert walk.pfn == (0x4000_0000 + (USER & 0x1F_FFFF)) >> 12


# bit 7 is PAT in a PTE; PAT is bit 12 in a large leaf; type by the PAT's layout.


@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        (0, X86MemoryType.WB),
        (PWT, X86MemoryType.WC),
        (PCD, X86MemoryType.UC_MINUS),
        (PCD | PWT, X86MemoryType.UC),
        (PSE, X86MemoryType.WB),  # bit 7 is PAT here: index 4
        (PSE | PWT, X86MemoryType.WP),
        (PSE | PCD, X86MemoryType.UC_MINUS),
        (PSE | PCD | PWT, X86MemoryType.WT),
    ],
)
def test_memory_type_of_a_page_comes_from_the_pat(bits: int, expected: MemoryType) -> None:
    walk = walk_address(four_levels(0x7000 | TABLE | bits).read, ROOT, USER, FOUR)
    assert walk.memory_type is expected
    assert walk.leaf_bytes == 4096
    assert "PSE" not in walk.steps[3].flags
    assert ("PAT" in walk.steps[3].flags) == bool(bits & PSE)


def test_pat_of_a_large_leaf_is_bit_12_and_no_address() -> None:
    tables = four_levels(0)
    tables.entries[T2 + 418 * 8] = 0x4000_0000 | TABLE | PSE | PAT_LARGE | PCD | PWT
    walk = walk_address(tables.read, ROOT, USER, FOUR)
    assert walk.memory_type is X86MemoryType.WT
    assert walk.paddr == 0x4000_0000 + (USER & 0x1F_FFFF)
    assert walk.steps[2].flags == ("P", "RW", "US", "PWT", "PCD", "A", "PSE", "PAT")


def test_the_pat_is_the_targets_own() -> None:
    plain = (X86MemoryType.WB, X86MemoryType.WT, X86MemoryType.UC_MINUS, X86MemoryType.UC) * 2
    paging = X86Paging(levels=4, pat=plain)
    walk = walk_address(four_levels(0x7000 | TABLE | PWT).read, ROOT, USER, paging)
    assert walk.memory_type is X86MemoryType.WT
    assert LINUX_PAT[1] is X86MemoryType.WC


# the address is bits 51:12, in tables as in leaves.


@pytest.mark.parametrize("extra", [NX, 0xF << 59, 0x7F << 52, 0xE00, NX | 0x7FF << 52 | 0xE00])
def test_nx_keys_and_software_bits_are_no_address(extra: int) -> None:
    tables = four_levels(
        0xABCD_E000 | TABLE | extra, pgd=TABLE | extra, pud=TABLE | extra, pmd=TABLE | extra
    )
    assert walk_address(tables.read, ROOT, USER, FOUR).pfn == 0xABCDE


def test_all_of_bits_51_to_12_are_address() -> None:
    walk = walk_address(four_levels(ADDRESS_BITS | TABLE).read, ROOT, USER, FOUR)
    assert walk.pfn == (1 << 40) - 1


def test_protection_key_and_software_bits_are_named() -> None:
    walk = walk_address(four_levels(0x7000 | P | 5 << 59 | 1 << 58 | 1 << 9).read, ROOT, USER, FOUR)
    assert walk.steps[3].flags == ("P", "SW9", "SW58", "PKEY5")


# the C-bit.


def test_c_bit_comes_out_of_tables_leaves_and_root() -> None:
    c_bit = 1 << 51
    paging = X86Paging(levels=4, sme_mask=c_bit)
    tables = four_levels(
        0xABCD_E000 | TABLE | c_bit, pgd=TABLE | c_bit, pud=TABLE | c_bit, pmd=TABLE | c_bit
    )
    walk = walk_address(tables.read, ROOT | c_bit, USER, paging)
    assert (walk.pfn, walk.root) == (0xABCDE, ROOT)
    without = walk_address(tables.read, ROOT, USER, FOUR)
    assert without.outcome is Outcome.UNREADABLE


def test_c_bit_is_not_inverted_into_a_prot_none_frame() -> None:
    paging = X86Paging(levels=4, sme_mask=1 << 47)
    raw = ((0xABCD_E000 | 1 << 47) ^ ADDRESS_BITS) | PROTNONE
    assert walk_address(four_levels(raw).read, ROOT, USER, paging).pfn == 0xABCDE


# CR3.


@pytest.mark.parametrize(
    ("cr3", "user_half", "expected"),
    [
        (0x8000_0000_0A00_2006, False, 0x0A00_2000),  # NOFLUSH and PCID 6
        (0x6000_0000_0A00_2000, False, 0x0A00_2000),  # LAM_U48, LAM_U57
        (0x8000_0000_0A00_2806, True, 0x0A00_3000),  # the half that user mode runs on
        (0x8000_0000_0A00_3806, True, 0x0A00_3000),
    ],
)
def test_cr3_is_more_than_an_address(cr3: int, user_half: bool, expected: int) -> None:
    table = FOUR.address_of(cr3)
    assert (X86_64.user_root(table) if user_half else table) == expected


def test_a_walk_may_start_from_cr3() -> None:
    walk = walk_address(four_levels(0x7000 | TABLE).read, 1 << 63 | ROOT | 0x806, USER, FOUR)
    assert walk.pfn == 7


# permissions combine over all levels.


@pytest.mark.parametrize(
    ("pgd", "pmd", "pte", "expected"),
    [
        (TABLE, TABLE, TABLE, (True, True, True)),
        (TABLE, TABLE & ~RW, TABLE, (False, True, True)),
        (TABLE & ~US, TABLE, TABLE, (True, True, False)),
        (TABLE | NX, TABLE, TABLE, (True, False, True)),  # what PTI does to the kernel's PGD
        (TABLE, TABLE, TABLE & ~RW & ~US | NX, (False, False, False)),
    ],
)
def test_permissions_combine(
    pgd: int, pmd: int, pte: int, expected: tuple[bool, bool, bool]
) -> None:
    walk = walk_address(four_levels(0x7000 | pte, pgd=pgd, pmd=pmd).read, ROOT, USER, FOUR)
    assert walk.permissions is not None
    got = walk.permissions
    assert (got.write, got.execute, got.user) == expected
    assert got.access


# non-present is not one thing. The layout is that of a 6.12 with everything on.

LAYOUT = SwapLayout(hwpoison=(23, 1), migration=(24, 3), device=(27, 4), marker=(31, 1))
#: A 6.1 with memory failure: SWP_SWAPIN_ERROR before the markers.
LAYOUT_6_1 = SwapLayout(hwpoison=(26, 1), migration=(27, 3), device=(30, 0), marker=(30, 2))


def swap_entry(swap_type: int, offset: int) -> int:
    """``__swp_entry()`` of pgtable_64.h, said another way: bits 58:9 hold ~offset."""
    return swap_type << 59 | (~offset & (1 << 50) - 1) << 9


@pytest.mark.parametrize(
    ("raw", "layout", "expected"),
    [
        (0, LAYOUT, Outcome.NONE),
        (swap_entry(0, 1), LAYOUT, Outcome.SWAP),
        (swap_entry(22, 0x12345), LAYOUT, Outcome.SWAP),
        (swap_entry(23, 0xABCDE), LAYOUT, Outcome.HWPOISON),
        (swap_entry(24, 0xABCDE), LAYOUT, Outcome.MIGRATION),
        (swap_entry(26, 0xABCDE), LAYOUT, Outcome.MIGRATION),
        (swap_entry(27, 0xABCDE), LAYOUT, Outcome.DEVICE_PRIVATE),
        (swap_entry(30, 0xABCDE), LAYOUT, Outcome.DEVICE_PRIVATE),
        (swap_entry(31, 1), LAYOUT, Outcome.UFFD_WP_MARKER),
        (swap_entry(31, 2), LAYOUT, Outcome.POISON_MARKER),
        (swap_entry(31, 4), LAYOUT, Outcome.GUARD_MARKER),
        (swap_entry(31, 8), LAYOUT, Outcome.OTHER_MARKER),
        (swap_entry(30, 0xABCDE), LAYOUT_6_1, Outcome.POISON_MARKER),
        (swap_entry(31, 1), LAYOUT_6_1, Outcome.UFFD_WP_MARKER),
        (swap_entry(25, 9), LAYOUT_6_1, Outcome.SWAP),
        (swap_entry(3, 9), None, Outcome.SWAP),
        (swap_entry(31, 1), None, Outcome.SPECIAL),
    ],
)
def test_non_present_kinds_are_told_apart(
    raw: int, layout: SwapLayout | None, expected: Outcome
) -> None:
    walk = walk_address(four_levels(raw).read, ROOT, USER, X86Paging(levels=4, swap=layout))
    assert walk.outcome is expected
    assert walk.pfn is None
    assert walk.permissions is None


@pytest.mark.parametrize("layout", [LAYOUT, LAYOUT_6_1, None])
def test_nothing_of_the_kernels_half_is_swapped_out(layout: SwapLayout | None) -> None:
    """As set_memory_np() left the kernel's own text once it was freed: type 16, if it were swap."""
    raw = 0x800F_FFFF_E0B6_6062
    paging = X86Paging(levels=4, swap=layout)
    last, first = (1 << 64) - 1, ((1 << 64) - 1) & -PAGE_BYTES
    tables = Tables(
        {
            ROOT + 511 * 8: T1 | TABLE,
            T1 + 511 * 8: T2 | TABLE,
            T2 + 510 * 8: raw,
            T2 + 511 * 8: T3 | TABLE,
            T3 + 511 * 8: raw,
        }
    )
    for choice in (WalkerChoice.C, WalkerChoice.PYTHON):
        walker = make_walker(tables.read, paging, choice)
        for address, steps in ((last, 4), (last - (2 << 20), 3)):
            walk = walker.walk(ROOT, address)
            assert (walk.outcome, len(walk.steps)) == (Outcome.SPECIAL, steps)
            assert (walk.swap_type, walk.swap_offset, walk.paddr) == (None, None, None)
            assert walk.steps[-1].flags == ("RW", "A", "D", "NX")
            assert "set_memory_np" in words.end(X86_64, walk)
        (run,) = walker.ranges(ROOT, first, last)
        assert (run.outcome, run.frame) == (Outcome.SPECIAL, None)


def test_swap_type_and_offset_are_given() -> None:
    walk = walk_address(four_levels(swap_entry(2, 0x12345)).read, ROOT, USER, FOUR)
    assert (walk.swap_type, walk.swap_offset) == (2, 0x12345)
    assert walk.steps[3].flags == ("type 2", "offset 74565")


def test_a_migrating_huge_page_is_no_leaf() -> None:
    tables = four_levels(0)
    tables.entries[T2 + 418 * 8] = swap_entry(25, 0x40000)
    walk = walk_address(tables.read, ROOT, USER, X86Paging(levels=4, swap=LAYOUT))
    assert walk.outcome is Outcome.MIGRATION
    assert walk.steps[-1].name == "PMD"


def test_rubbish_without_present_in_an_upper_table_is_special() -> None:
    tables = four_levels(0)
    tables.entries[ROOT + 254 * 8] = T1 | RW
    assert walk_address(tables.read, ROOT, USER, FOUR).outcome is Outcome.SPECIAL


@pytest.mark.parametrize(("level", "steps"), [(ROOT + 254 * 8, 1), (T1 + 72 * 8, 2)])
def test_not_present_above_says_where(level: int, steps: int) -> None:
    tables = four_levels(0x7000 | TABLE)
    tables.entries[level] = 0
    tables.entries[level + 8] = TABLE  # the table is not empty
    walk = walk_address(tables.read, ROOT, USER, FOUR)
    assert walk.outcome is Outcome.NONE
    assert len(walk.steps) == steps
    assert walk.steps[-1].kind is EntryKind.NONE


# frame 0 and address 0 are legal.


def test_frame_zero_at_address_zero() -> None:
    tables = Tables({ROOT: T1 | TABLE, T1: T2 | TABLE, T2: T3 | TABLE, T3: P})
    walk = walk_address(tables.read, ROOT, 0, FOUR)
    assert walk.outcome is Outcome.MAPPED
    assert (walk.paddr, walk.pfn) == (0, 0)


def test_the_root_may_be_frame_zero() -> None:
    tables = Tables({0: T1 | TABLE, T1: T2 | TABLE, T2: T3 | TABLE, T3: 0x7000 | P})
    assert walk_address(tables.read, 0, 0, FOUR).pfn == 7


# huge leaves.


def test_two_megabyte_leaf() -> None:
    tables = four_levels(0)
    tables.entries[T2 + 418 * 8] = 0x4000_0000 | TABLE | PSE | D | G
    walk = walk_address(tables.read, ROOT, USER, FOUR)
    assert walk.leaf_bytes == 2 << 20
    assert walk.paddr == 0x4000_0000 + (USER & 0x1F_FFFF)
    assert walk.steps[-1].base == 0x4000_0000


def test_one_gigabyte_leaf() -> None:
    tables = four_levels(0)
    tables.entries[T1 + 72 * 8] = 0x1_8000_0000 | TABLE | PSE
    walk = walk_address(tables.read, ROOT, USER, FOUR)
    assert walk.leaf_bytes == 1 << 30
    assert walk.paddr == 0x1_8000_0000 + (USER & 0x3FFF_FFFF)


@pytest.mark.parametrize(
    ("at", "raw"),
    [
        (ROOT + 254 * 8, T1 | TABLE | PSE),  # PSE in a PGD entry
        (T2 + 418 * 8, 0x4000_2000 | TABLE | PSE),  # bit 13 of a 2 MiB leaf
        (T1 + 72 * 8, 0x4020_0000 | TABLE | PSE),  # bit 21 of a 1 GiB leaf
    ],
)
def test_reserved_bits_are_no_mapping(at: int, raw: int) -> None:
    tables = four_levels(0x7000 | TABLE)
    tables.entries[at] = raw
    walk = walk_address(tables.read, ROOT, USER, FOUR)
    assert walk.outcome is Outcome.RESERVED_BITS
    assert walk.pfn is None


# non-canonical addresses and the last page.


@pytest.mark.parametrize(
    ("address", "paging", "canonical"),
    [
        (0x0000_7FFF_FFFF_FFFF, FOUR, True),
        (0x0000_8000_0000_0000, FOUR, False),
        (0xFFFF_7FFF_FFFF_FFFF, FOUR, False),
        (0xFFFF_8000_0000_0000, FOUR, True),
        (0x00FF_FFFF_FFFF_FFFF, FIVE, True),
        (0x0100_0000_0000_0000, FIVE, False),
        (0xFEFF_FFFF_FFFF_FFFF, FIVE, False),
        (0xFF00_0000_0000_0000, FIVE, True),
    ],
)
def test_canonical_depends_on_the_number_of_levels(
    address: int, paging: X86Paging, canonical: bool
) -> None:
    tables = Tables({ROOT: 0, ROOT + 8: P})
    outcome = walk_address(tables.read, ROOT, address, paging).outcome
    assert outcome is (Outcome.NONE if canonical else Outcome.NON_CANONICAL)
    assert canonical or tables.reads == 0


def test_the_last_page_does_not_wrap() -> None:
    last = (1 << 64) - 1  # PGD[511] PUD[511] PMD[511] PTE[511]
    tables = Tables({t + 511 * 8: n | TABLE for t, n in ((ROOT, T1), (T1, T2), (T2, T3))})
    tables.entries[T3 + 511 * 8] = 0x7000 | P
    tables.pages.add(T3 >> 12)
    assert walk_address(tables.read, ROOT, last, FOUR).paddr == 0x7FFF


@pytest.mark.parametrize("address", [-1, 1 << 64])
def test_what_is_no_64_bit_number_is_refused(address: int) -> None:
    with pytest.raises(ValueError, match="64-bit"):
        walk_address(four_levels(0).read, ROOT, address, FOUR)


# tables that point at themselves.


def test_a_table_that_points_at_itself_is_bounded() -> None:
    tables = Tables({ROOT + 511 * 8: ROOT | TABLE})  # PGD[511] -> PGD
    walk = walk_address(tables.read, ROOT, (1 << 64) - 8, FOUR)
    assert walk.outcome is Outcome.MAPPED
    assert walk.paddr == ROOT + 511 * 8
    assert tables.reads == 4


# zero is not data, missing is not empty.


def test_a_table_of_zeros_is_unknown_where_zeros_are_made_up() -> None:
    tables = four_levels(0)
    tables.entries[T3 + 359 * 8] = 0
    made_up = walk_address(tables.read, ROOT, USER, X86Paging(levels=4, zero_fills=True))
    assert made_up.outcome is Outcome.ZERO_FILLED
    assert "PTE table at 0x4000" in made_up.detail
    honest = walk_address(tables.read, ROOT, USER, FOUR)
    assert honest.outcome is Outcome.NONE


def test_a_zero_entry_in_a_table_with_others_is_not_present() -> None:
    tables = four_levels(0)
    tables.entries[T3] = 0x9000 | P
    walk = walk_address(tables.read, ROOT, USER, X86Paging(levels=4, zero_fills=True))
    assert walk.outcome is Outcome.NONE


def test_a_table_that_the_dump_left_out_is_excluded() -> None:
    tables = four_levels(0x7000 | P)
    tables.missing = (T2,)
    walk = walk_address(tables.read, ROOT, USER, FOUR)
    assert walk.outcome is Outcome.EXCLUDED
    assert walk.detail == "PMD table at 0x3000: left out of the dump"
    assert len(walk.steps) == 2


def test_a_table_beyond_memory_is_unreadable() -> None:
    tables = four_levels(0)
    tables.entries[T1 + 72 * 8] = 0xDEAD_0000 | TABLE
    walk = walk_address(tables.read, ROOT, USER, FOUR)
    assert walk.outcome is Outcome.UNREADABLE
    assert "PMD table at 0xdead0000" in walk.detail


def test_a_short_read_is_unreadable() -> None:
    walk = walk_address(lambda paddr, length: b"\0" * 4, ROOT, USER, FOUR)
    assert walk.outcome is Outcome.UNREADABLE
    assert "4 bytes came instead of 8" in walk.detail
