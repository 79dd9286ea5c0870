# SPDX-License-Identifier: GPL-2.0-or-later
"""Paging forms as data, through the extension: a made-up architecture, and x86_64.

The expected values of toy64 are worked out by hand. A slow walk by the same data is the oracle of
random tables.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from typing import Any

import pageproof_pagewalk as engine
import pytest
from unit.walk import slowform
from unit.walk.test_engine import PAGES, random_address, random_entry
from unit.walk.toy64 import (
    ACCESSED,
    ADDRESS,
    ALL,
    BIG,
    BLOCKED,
    DIRTY,
    HIGH,
    MEMORY_TYPES,
    NO_USER,
    NO_WRITE,
    PXN,
    PXN_BELOW,
    SUPER,
    SWAP,
    TOY64,
    TYPE_0,
    TYPE_1,
    TYPES,
    UXN,
    UXN_BELOW,
    X86_64_4,
    V,
    W,
)

PAGE = 1 << 14
MIB_32 = 1 << 25
GIB_64 = 1 << 36
UPPER = -1 << 39 & ALL
LOW_ROOT, HIGH_ROOT = 0x40, 0x80  # two tables of 64 bytes in one page
ROOTS = LOW_ROOT, HIGH_ROOT
MID, LAST = 0x8000, 0xC000
NO_SWAP_LAYOUT = ((0, 0), (0, 0), (0, 0), (0, 0))
WRITE, EXECUTE, USER = engine.WRITE, engine.EXECUTE, engine.USER
USER_EXECUTE, ACCESS = engine.USER_EXECUTE, engine.ACCESS


def memory_of(entries: dict[int, int], length: int = 0x40000) -> bytearray:
    memory = bytearray(length)
    for paddr, entry in entries.items():
        struct.pack_into("<Q", memory, paddr, entry)
    return memory


def toy_tables() -> dict[int, int]:
    """Both halves share MID and LAST; the table entry of the upper half restricts more."""
    return {
        LOW_ROOT + 8 * 1: MID | V,
        HIGH_ROOT + 8 * 7: MID | V | NO_WRITE | UXN_BELOW,
        MID + 8 * 2: LAST | V,
        MID + 8 * 3: 3 * MIB_32 | V | BIG | W | TYPE_1,
        MID + 8 * 4: 4 * MIB_32 | V | BIG | 1 << 20,  # a bit that must be zero
        MID + 8 * 2047: LAST | V | NO_USER | PXN_BELOW,
        # Frames 0x1_0004_0000_C000 and the next two, of which the bits 49:48 are in bits 3:2.
        LAST + 8 * 5: 0x4_0000_C000 | 0b0100 | V | W | PXN | TYPE_0,
        LAST + 8 * 6: 0x4_0001_0000 | 0b0100 | V | W | PXN | TYPE_0 | ACCESSED,
        LAST + 8 * 7: 0x4_0001_4000 | 0b0100 | V | W | PXN | TYPE_0 | DIRTY,
        LAST + 8 * 8: 0x4_0001_8000 | 0b1000 | V | W | PXN | TYPE_0,  # adjoins in bits 47:14 only
        LAST + 8 * 9: 0x2_0000 ^ (ADDRESS | HIGH) | BLOCKED | SUPER,
        LAST + 8 * 10: 0x2_4000 ^ (ADDRESS | HIGH) | BLOCKED | SUPER,
        LAST + 8 * 11: 28 << 56 | 1 << 16,
        LAST + 8 * 12: 3 << 56 | 77 << 16,
    }


def toy_walker(**options: Any) -> engine.Walker:
    memory = memory_of(toy_tables())
    return engine.Walker(
        engine.Form(**TOY64), MEMORY_TYPES, swap=SWAP, direct=[(0, memory)], **options
    )


# DIR[1], MID[2], PAGE[5]: 1 << 36 | 2 << 25 | 5 << 14
LOW_PAGE = 0x10_0401_4000
# DIR[7], MID[2], PAGE[5] of the upper half: -(1 << 39) + (7 << 36) = -(1 << 36)
HIGH_PAGE = 0xFFFF_FFF0_0401_4000


@pytest.mark.parametrize(
    ("address", "outcome", "paddr", "leaf_bytes", "rights", "kind"),
    [
        (LOW_PAGE + 0x123, "leaf", 0x1_0004_0000_C123, PAGE, WRITE | USER | USER_EXECUTE, 1),
        # The table entry of the upper half takes the rights to write and to execute.
        (HIGH_PAGE + 0x3FFF, "leaf", 0x1_0004_0000_FFFF, PAGE, USER, 1),
        # MID[2047] takes the user's rights, the leaf the kernel's right to execute.
        (0x1F_FE01_4000, "leaf", 0x1_0004_0000_C000, PAGE, WRITE | USER_EXECUTE, 1),
        # MID[3] of the lower half: 1 << 36 | 3 << 25.
        (
            0x10_0600_0000 + 0x12_3456,
            "leaf",
            0x612_3456,
            MIB_32,
            WRITE | USER | EXECUTE | USER_EXECUTE,
            2,
        ),
        (0x10_0800_0000, "reserved-bits", None, 0, 0, 0),
        # PAGE[9]: the frame is stored inverted, and no access is allowed.
        (LOW_PAGE + 4 * PAGE, "prot-none", 0x2_0000, PAGE, EXECUTE | USER_EXECUTE, 0),
        (LOW_PAGE + 6 * PAGE, "hwpoison", None, 0, 0, 0),
        (LOW_PAGE + 7 * PAGE, "swap", None, 0, 0, 0),
        (HIGH_PAGE + 7 * PAGE, "special", None, 0, 0, 0),  # the kernel's memory is not swapped
        (LOW_PAGE + 8 * PAGE, "none", None, 0, 0, 0),
        (0, "none", None, 0, 0, 0),
        (1 << 39, "non-canonical", None, 0, 0, 0),
        (UPPER - 1, "non-canonical", None, 0, 0, 0),
    ],
)
def test_walks_of_a_made_up_architecture(
    address: int, outcome: str, paddr: int | None, leaf_bytes: int, rights: int, kind: int
) -> None:
    found = toy_walker().walk(ROOTS, address)
    assert engine.KINDS[found[0]] == outcome
    assert found[2:4] == (paddr, leaf_bytes)
    assert found[4] == rights | (ACCESS if outcome == "leaf" else 0)
    assert TYPES[found[5]] == TYPES[kind]


def test_steps_of_a_made_up_architecture() -> None:
    walk = toy_walker().walk(ROOTS, LOW_PAGE)
    assert walk[1] == LOW_ROOT
    assert [(level, table, index) for level, table, index, *_ in walk[12]] == [
        (3, LOW_ROOT, 1),
        (2, MID, 2),
        (1, LAST, 5),
    ]
    assert [step[5] for step in walk[12]] == ["V", "V", "V W TYPE1"]
    swapped = toy_walker().walk(ROOTS, LOW_PAGE + 7 * PAGE)
    assert swapped[6:8] == (3, 77)
    assert swapped[12][-1][5] == "type 3 offset 77"
    assert toy_walker().walk(ROOTS, HIGH_PAGE)[12][0][5] == "V RO"


def ranges_of(walker: engine.Walker, **options: Any) -> list[tuple[Any, ...]]:
    data, _, stopped = walker.sweep(
        ROOTS, 0, ALL, skip=1 << engine.KINDS.index("none"), ignore=ALL, **options
    )
    assert stopped is None
    return [
        (start, last, engine.KINDS[kind], paddr, rights, memory_type, level)
        for start, last, paddr, _, _, _, level, kind, rights, memory_type, _ in struct.iter_unpack(
            engine.RANGE_FORMAT, data
        )
    ]


def test_a_sweep_of_a_made_up_architecture() -> None:
    """Compares the ranges of MID[2] and MID[3]; walks test MID[4] and MID[2047]."""
    none = (1 << 64) - 1
    low = [
        # PAGE[5] to [7] merge, because accessed and dirty may differ; [8] has another bit 48.
        (
            LOW_PAGE,
            LOW_PAGE + 3 * PAGE - 1,
            "leaf",
            0x1_0004_0000_C000,
            WRITE | USER | USER_EXECUTE | ACCESS,
            1,
            1,
        ),
        (
            LOW_PAGE + 3 * PAGE,
            LOW_PAGE + 4 * PAGE - 1,
            "leaf",
            0x2_0004_0001_8000,
            WRITE | USER | USER_EXECUTE | ACCESS,
            1,
            1,
        ),
        # Inverted frames that adjoin merge as well.
        (
            LOW_PAGE + 4 * PAGE,
            LOW_PAGE + 6 * PAGE - 1,
            "prot-none",
            0x2_0000,
            EXECUTE | USER_EXECUTE,
            0,
            1,
        ),
        (LOW_PAGE + 6 * PAGE, LOW_PAGE + 7 * PAGE - 1, "hwpoison", none, 0, 0, 1),
        (LOW_PAGE + 7 * PAGE, LOW_PAGE + 8 * PAGE - 1, "swap", none, 0, 0, 1),
        (
            0x10_0600_0000,
            0x10_07FF_FFFF,
            "leaf",
            3 * MIB_32,
            WRITE | USER | EXECUTE | USER_EXECUTE | ACCESS,
            2,
            2,
        ),
    ]
    got = ranges_of(toy_walker(), merge=engine.MERGE_FRAMES, shared_once=False)
    assert got[: len(low)] == low
    upper = [one for one in got if HIGH_PAGE <= one[0] < HIGH_PAGE + 8 * PAGE]
    assert upper[0] == (
        HIGH_PAGE,
        HIGH_PAGE + 3 * PAGE - 1,
        "leaf",
        0x1_0004_0000_C000,
        USER | ACCESS,
        1,
        1,
    )
    # Swap entries of the upper half are special, and adjoin.
    assert upper[-1][:3] == (HIGH_PAGE + 6 * PAGE, HIGH_PAGE + 8 * PAGE - 1, "special")


def test_the_index_of_a_made_up_architecture() -> None:
    index = engine.Index()
    stats, whole = index.add(toy_walker(), 9, ROOTS, 0, ALL)
    assert whole
    assert stats[2] == 0
    index.finish()
    rights = WRITE | USER | USER_EXECUTE | ACCESS
    # The PFN of 0x1_0004_0001_0000 in pages of 16 KiB. MID[2] and MID[2047], in each half.
    assert index.lookup(0x1_0004_0001_0000 >> 14) == [
        (9, LOW_PAGE + PAGE, 1, rights, 1),
        (9, 0x1F_FE01_8000, 1, rights & ~USER, 1),
        (9, HIGH_PAGE + PAGE, 1, USER | ACCESS, 1),
        (9, 0xFFFF_FFFF_FE01_8000, 1, ACCESS, 1),
    ]
    assert [found[1] for found in index.lookup((3 * MIB_32 >> 14) + 7)] == [
        0x10_0600_0000 + 7 * PAGE,
        0xFFFF_FFF0_0600_0000 + 7 * PAGE,
    ]


def test_accounts_of_a_made_up_architecture() -> None:
    """The 32 MiB at MID[3] are 2048 frames from 3 * 2048 on, of type Device."""
    uses, counts = bytearray(4 * 2048), bytearray(4 * 2048)
    data, _, _ = toy_walker().account(ROOTS, 0, ALL, uses, counts=counts)
    device = 1 << TYPES.index("Device") | engine.USE_NORMAL
    assert uses[3 * 2048 :] == bytes([device]) * 2048
    assert counts[3 * 2048 :] == bytes(2048)  # entries of the last level only
    blocked = 1 << TYPES.index("Cached") | engine.USE_NORMAL
    assert uses[8:10] == bytes([blocked]) * 2  # frames 0x2_0000 and 0x2_4000
    assert counts[8:10] == b"\1\1"  # LAST is shared: its entries count once
    tables = [fields[2] for fields in struct.iter_unpack(engine.RANGE_FORMAT, data)]
    assert tables == [MID, LAST, LAST, MID]


def test_one_root_is_for_both_halves() -> None:
    walker = toy_walker()
    assert walker.walk(HIGH_ROOT, HIGH_PAGE) == walker.walk(ROOTS, HIGH_PAGE)
    assert walker.walk(HIGH_ROOT, LOW_PAGE)[1] == HIGH_ROOT
    for wrong in ((1,), (1, 2, 3), "12", None, (1.5, 2)):
        with pytest.raises(TypeError):
            walker.walk(wrong, 0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="64-bit"):
        walker.walk((0, -1), 0)


# Random tables, compared with the slow walk.


def toy_entry(rng: random.Random) -> int:
    flags = sum(bit for bit in (W, SUPER, PXN, UXN, TYPE_0, ACCESSED, DIRTY) if rng.random() < 0.4)
    what = rng.random()
    if what < 0.5:
        return rng.randrange(16) * PAGE | V | flags
    if what < 0.6:
        return rng.getrandbits(23) << 25 & ADDRESS | rng.choice([0, 4, 8]) | V | BIG | flags
    if what < 0.7:
        return rng.getrandbits(48) & (ADDRESS | HIGH) | BLOCKED | flags
    return rng.choice([0, rng.getrandbits(64), 5 << 56 | 9 << 16])


def toy_random(rng: random.Random) -> bytearray:
    entries: dict[int, int] = {}
    for page in range(16):
        for _ in range(rng.choice([1, 8, 40])):
            index = rng.choice([8, 9, 15, 16, 23, 2047, rng.randrange(2048)])
            entry = toy_entry(rng)
            for number in range(min(rng.choice([1, 1, 20]), 2048 - index)):
                entries[page * PAGE + 8 * (index + number)] = entry + number * PAGE & ALL
    return memory_of(entries, 16 * PAGE)


def reader(memory: bytearray) -> Callable[[int], int | None]:
    def read(paddr: int) -> int | None:
        if paddr + 8 > len(memory):
            return None
        return int.from_bytes(memory[paddr : paddr + 8], "little")

    return read


def compared(found: tuple[Any, ...], slow: slowform.Found) -> None:
    assert engine.KINDS[found[0]] == slow.outcome
    assert found[2:4] == (slow.paddr, slow.leaf_bytes)
    if slow.paddr is not None:
        assert found[4:6] == (slow.rights, slow.memory_type)


@pytest.mark.parametrize("seed", range(10))
def test_random_tables_of_a_made_up_architecture(seed: int) -> None:
    rng = random.Random(9000 + seed)
    memory = toy_random(rng)
    direct = engine.Walker(
        engine.Form(**TOY64), MEMORY_TYPES, swap=NO_SWAP_LAYOUT, direct=[(0, memory)]
    )
    read = engine.Walker(
        engine.Form(**TOY64),
        MEMORY_TYPES,
        swap=NO_SWAP_LAYOUT,
        read=lambda paddr, length: (
            bytes(memory[paddr : paddr + length])
            if paddr + length <= len(memory)
            else engine.KINDS.index("unreadable")
        ),
    )
    outcomes = set()
    for _ in range(300):
        roots = rng.randrange(16) * PAGE + 64, rng.randrange(16) * PAGE + 128
        address = rng.randrange(PAGE) | rng.choice([8, 9, 15, 2047, rng.randrange(2048)]) << 14
        address |= rng.choice([8, 16, 23, 2047]) << 25 | rng.randrange(8) << 36
        address |= rng.choice([0, UPPER])
        slow = slowform.walk(TOY64, roots, address, reader(memory), MEMORY_TYPES)
        compared(direct.walk(roots, address), slow)
        compared(read.walk(roots, address), slow)
        outcomes.add(slow.outcome)
        last = min(ALL, address + rng.choice([PAGE, 40 * PAGE, MIB_32]))
        end = check_sweep(direct, TOY64, memory, roots, address, last, rng)
        assert end in (last + 1, 1 << 39, 0)
    assert len(outcomes) > 4


def check_sweep(
    walker: engine.Walker,
    form: dict[str, Any],
    memory: bytearray,
    roots: tuple[int, int],
    first: int,
    last: int,
    rng: random.Random,
) -> int:
    """Ranges, merged or not, report for an address what the slow walk finds. Returns their end."""
    merge = rng.choice([engine.MERGE_NOTHING, engine.MERGE_FRAMES])
    data, _, _ = walker.sweep(roots, first, last, merge=merge, ignore=ALL, max_entries=5000)
    types = MEMORY_TYPES if form is TOY64 else bytes(8)
    following = first
    for start, end, paddr, _, _, _, level, kind, rights, number, gap in struct.iter_unpack(
        engine.RANGE_FORMAT, data
    ):
        assert start == following or form is not TOY64
        following = end + 1
        if engine.KINDS[kind] == "table" or gap:
            continue
        for address in (start, end, rng.randrange(start, end + 1)):
            slow = slowform.walk(form, roots, address, reader(memory), types)
            assert (engine.KINDS[kind], level) == (slow.outcome, slow.level)
            if slow.paddr is not None:
                assert paddr + address - start == slow.paddr
                assert (rights, number) == (slow.rights, slow.memory_type)
    return following


@pytest.mark.parametrize("seed", range(6))
def test_x86_64_as_data_is_the_built_in_one(seed: int) -> None:
    rng = random.Random(9500 + seed)
    memory = bytearray(PAGES * 4096)
    for page in range(PAGES):
        for _ in range(rng.choice([1, 8, 64])):
            at = page * 4096 + 8 * rng.choice([0, 1, 255, 256, 511, rng.randrange(512)])
            struct.pack_into("<Q", memory, at, random_entry(rng, 0))
    types = bytes(rng.randrange(6) for _ in range(8))
    data, built_in = (
        engine.Walker(form, types, direct=[(0, memory)])
        for form in (engine.Form(**X86_64_4), "x86_64-4")
    )
    for _ in range(300):
        root, address = rng.randrange(PAGES) * 4096, random_address(rng, 4)
        assert data.walk(root, address) == built_in.walk(root, address)
    for merge in (engine.MERGE_NOTHING, engine.MERGE_FRAMES, engine.MERGE_LIKE):
        first, last = random_address(rng, 4), ALL
        assert data.sweep(0x1000, first, last, merge=merge, ignore=ALL) == built_in.sweep(
            0x1000, first, last, merge=merge, ignore=ALL
        )
