# SPDX-License-Identifier: GPL-2.0-or-later
"""Accounts of frames by the engine in C compared with the slow walker's, on random tables."""

from __future__ import annotations

import random

import pageproof_pagewalk as engine
import pytest
from unit.tables import US, P, Tables
from unit.walk.test_engine import PAGES, direct_memory, random_paging, random_tables

from pageproof.arch.x86_64 import X86_64
from pageproof.arch.x86_64.memtypes import X86MemoryType
from pageproof.arch.x86_64.paging import X86Paging
from pageproof.model import Range
from pageproof.model.asked import WalkerChoice
from pageproof.space.units import PAGE_BYTES
from pageproof.walk import (
    USE_NORMAL,
    USE_SPECIAL,
    Accounted,
    Accounts,
    make_walker,
)
from pageproof.walk.engine import EngineWalker

FRAMES = 1 << 12
GIB = 1 << 30
SPECIAL = 1 << 9


def pages_of(found: Accounted) -> list[tuple[int, int, int, bool]]:
    """Every page of the places, because walkers may cut them into different runs."""
    return sorted(
        (address, place.frame + address - place.start, place.level, place.special)
        for place in found.places
        for address in range(place.start, place.last, PAGE_BYTES)
    )


@pytest.mark.parametrize("seed", range(30))
def test_accounts_are_the_same(seed: int) -> None:
    rng = random.Random(7000 + seed)
    paging = random_paging(rng)
    tables = random_tables(rng, paging)
    slow = make_walker(tables.read, paging, WalkerChoice.PYTHON)
    quick = make_walker(tables.read, paging, WalkerChoice.C)
    marked = bytes(rng.random() < 0.3 for _ in range(FRAMES))
    for _ in range(4):
        root = rng.randrange(PAGES) * PAGE_BYTES
        first = rng.choice([0, rng.randrange(1 << 20) * PAGE_BYTES, (1 << 64) - (1 << 39)])
        last = min(first + rng.choice([GIB, 1 << 39]) - 1, (1 << 64) - 1)
        mine, other = Accounts.empty(FRAMES), Accounts.empty(FRAMES)
        expected = slow.account(root, first, last, mine, marked, 1 << 20)
        got = quick.account(root, first, last, other, marked, 1 << 20)
        assert other == mine
        assert got.tables == expected.tables
        assert pages_of(got) == pages_of(expected)
        assert (got.gaps, got.whole) == (expected.gaps, expected.whole)


def test_memory_types_have_the_engines_numbers() -> None:
    assert tuple(engine.MEMORY_TYPES) == X86_64.memory_types
    assert (engine.USE_SPECIAL, engine.USE_NORMAL) == (USE_SPECIAL, USE_NORMAL)


@pytest.mark.parametrize("choice", [WalkerChoice.C, WalkerChoice.PYTHON])
def test_what_is_counted_and_reported(choice: WalkerChoice) -> None:
    entries = {
        0x1000: 0x2000 | P | US,
        0x2000: 0x3000 | P | US,
        0x3000: 0x4000 | P | US,
        0x4000: 0x5000 | P,
        0x4008: 0x6000 | P,
        0x4010: 0x5000 | P | SPECIAL | 1 << 4 | 1 << 3,
    }
    walker = make_walker(Tables(entries).read, X86Paging(levels=4), choice)
    accounts = Accounts.empty(16)
    marked = bytearray(16)
    marked[5] = marked[6] = 1
    found = walker.account(0x1000, 0, GIB - 1, accounts, marked, 10)
    both = 1 << X86_64.memory_types.index(X86MemoryType.WB) | 1 << X86_64.memory_types.index(
        X86MemoryType.UC
    )
    assert accounts.uses[5] == both | USE_NORMAL | USE_SPECIAL
    assert (accounts.counts[5], accounts.counts[6]) == (1, 1)
    assert [(one.table, one.level) for one in found.tables] == [
        (0x2000, 3),
        (0x3000, 2),
        (0x4000, 1),
    ]
    assert pages_of(found) == [
        (0, 0x5000, 1, False),
        (0x1000, 0x6000, 1, False),
        (0x2000, 0x5000, 1, True),
    ]
    assert len(walker.account(0x1000, 0, GIB - 1, accounts, marked, 1).places) == 1
    assert walker.account(0x1000, 0, GIB - 1, accounts).places == []


def test_ranges_alike_wherever_the_frames_are() -> None:
    entries = {0x1000: 0x2000 | P, 0x2000: 0x3000 | P, 0x3000: 0x4000 | P}
    entries |= {0x4000 + 8 * i: (0x90000 - i * 0x7000) | P for i in range(8)}
    entries[0x4000 + 8 * 8] = 0x5000 | P | 1 << 4
    walker = make_walker(Tables(entries).read, X86Paging(levels=4), WalkerChoice.C)
    assert [(one.start, one.last) for one in walker.alike(0x1000, 0, GIB - 1)] == [
        (0, 0x7FFF),
        (0x8000, 0x8FFF),
    ]


def test_arrays_must_fit() -> None:
    quick = engine.Walker("x86_64-4", bytes(8))
    with pytest.raises(ValueError, match="same length"):
        quick.account(0, 0, 0xFFF, bytearray(4), counts=bytearray(5))
    with pytest.raises(ValueError, match=r"."):
        quick.account(0, 0, 0x7FF, bytearray(4))
    with pytest.raises(ValueError, match=r"."):
        engine.classify(bytes(16), 8, ((4, 0, 0, 1),), 0)
    assert engine.classify(bytes(16), 8, ((0, 0, 0, 1),), 0) == b"\1\1"


@pytest.mark.parametrize("seed", range(10))
def test_all_spaces_at_once_are_as_one_after_the_other(seed: int) -> None:
    rng = random.Random(7100 + seed)
    paging = random_paging(rng)
    tables = random_tables(rng, paging)
    slow = make_walker(tables.read, paging, WalkerChoice.PYTHON)
    quick = EngineWalker(tables.read, paging, direct_memory(tables))
    quick.threads = 3
    marked = bytes(rng.random() < 0.1 for _ in range(FRAMES))
    spans = [(page * PAGE_BYTES, 0, (1 << 32) - 1) for page in range(PAGES)]
    mine, other = Accounts.empty(FRAMES), Accounts.empty(FRAMES)
    expected = [slow.account(*span, mine) for span in spans]
    got = quick.account_spaces(spans, other)
    assert other == mine
    assert [one.tables for one in got] == [one.tables for one in expected]
    places = quick.account_spaces(spans, None, marked, 1 << 20)
    wanted = slow.account_spaces(spans, None, marked, 1 << 20)
    assert list(map(pages_of, places)) == list(map(pages_of, wanted))


@pytest.mark.parametrize("seed", range(10))
def test_runs_come_with_the_accounts(seed: int) -> None:
    rng = random.Random(7200 + seed)
    paging = random_paging(rng)
    tables = random_tables(rng, paging)
    quick = make_walker(tables.read, paging, WalkerChoice.C)
    span = (rng.randrange(PAGES) * PAGE_BYTES, 0, GIB - 1)
    mine, other = Accounts.empty(FRAMES), Accounts.empty(FRAMES)
    found = quick.account(*span, mine, alike=True)
    alike = [one for one in quick.alike(*span) if one.shared_with is None]
    # A table that is shared no longer divides the runs before and after it.
    assert covered(found.runs) == covered(alike)
    assert found.tables == quick.account(*span, other).tables
    assert other == mine


def covered(runs: list[Range]) -> list[tuple[int, int, object, object, object]]:
    """Runs, merged where only their division differs."""
    merged: list[tuple[int, int, object, object, object]] = []
    for one in runs:
        about = (one.outcome, one.permissions, one.memory_type)
        if merged and (merged[-1][1] + 1, *merged[-1][2:]) == (one.start, *about):
            merged[-1] = (merged[-1][0], one.last, *about)
        else:
            merged.append((one.start, one.last, *about))
    return merged


def test_counts_are_added_with_saturation() -> None:
    uses, counts = bytearray([1, 0]), bytearray([200, 3])
    engine.account_merge(uses, counts, bytes([2, 4]), bytes([100, 4]))
    assert (uses, counts) == (bytearray([3, 4]), bytearray([255, 7]))
    with pytest.raises(ValueError, match="same length"):
        engine.account_merge(uses, counts, bytes(3), bytes(3))


def test_a_run_of_eight_adds_to_full_and_empty_counts() -> None:
    """Eight adjoining frames are counted at once; no count may carry into the next one."""
    entries = {0x1000: 0x2000 | P, 0x2000: 0x3000 | P, 0x3000: 0x4000 | P}
    entries |= {0x4000 + 8 * i: (0x10000 + i * 0x1000) | P for i in range(19)}
    walker = make_walker(Tables(entries).read, X86Paging(levels=4), WalkerChoice.C)
    accounts = Accounts.empty(64)
    before = [0, 255, 254, 127, 128, 255, 255, 1, 0x7E, 0x80, 0xFE, 0xFF, 3, 0, 0xFF, 9, 255, 0, 5]
    accounts.counts[16 : 16 + 19] = bytes(before)
    walker.account(0x1000, 0, GIB - 1, accounts)
    assert list(accounts.counts[16 : 16 + 19]) == [min(one + 1, 255) for one in before]
    assert not any(accounts.counts[:16] + accounts.counts[35:])
    assert set(accounts.uses[16:35]) == {1 | USE_NORMAL}
