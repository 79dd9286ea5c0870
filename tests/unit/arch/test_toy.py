# SPDX-License-Identifier: GPL-2.0-or-later
"""The seam of architectures: the tests' own runs through both walkers, ``walk`` and ``maps``."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import drgn
import pytest
from unit.arch.toy import (
    ADDRESS,
    ALL,
    BLOCK,
    HALF_BITS,
    HIDDEN,
    KERNEL_ROOT,
    NOEXEC,
    SPECIAL,
    TABLE_RO,
    TOY,
    TYPE_0,
    TYPE_1,
    UPPER,
    USER,
    WRITE,
    ToyMemoryType,
    ToyPaging,
    V,
)
from unit.commandfacts import line
from unit.facts import CORE, mapping
from unit.tables import Tables

from pageproof import arch
from pageproof.arch import known
from pageproof.attach import Target
from pageproof.commands import maps as maps_command
from pageproof.commands import walk as walk_command
from pageproof.errors import PageproofError
from pageproof.find.process.maps import ProcessMaps
from pageproof.model import Outcome, Permissions, Range, SecondOpinion, SwapLayout
from pageproof.model.asked import WalkAsked, WalkerChoice
from pageproof.render.jsonform import report_to_json
from pageproof.render.table import to_text
from pageproof.space.units import PAGE_BYTES
from pageproof.walk import Accounts, Walker, make_walker

USER_ROOT = 0x1400
MID, END = 0x2000, 0x3000
PAGES = 12
LAYOUT = SwapLayout(hwpoison=(23, 1), migration=(24, 3), device=(27, 4), marker=(31, 1))
#: TOP[2], MID[3], END[4]: 2 << 30 | 3 << 21 | 4 << 12
LOW = 0x8060_4000
#: TOP[63], MID[3], END[4] of the upper half.
HIGH = ALL - (1 << 30) + 1 + 0x60_4000
READ_WRITE = Permissions(write=True, execute=False, user=True)


def toy_tables() -> Tables:
    """Both halves lead to MID and END. The way through the upper half cannot be written."""
    return Tables(
        {
            USER_ROOT + 8 * 2: MID | V,
            KERNEL_ROOT + 8 * 63: MID | V | TABLE_RO,
            MID + 8 * 3: END | V,
            MID + 8 * 5: 0x60_0000 | V | BLOCK | WRITE | USER | TYPE_0,
            END + 8 * 4: 0x9000 | V | WRITE | USER | NOEXEC | TYPE_1,
            END + 8 * 5: 0xA000 | V | WRITE | USER | NOEXEC | TYPE_1 | SPECIAL,
            END + 8 * 6: 0xB000 | HIDDEN,
            END + 8 * 7: 3 << 11 | 77 << 16,
        }
    )


def walkers(tables: Tables, paging: ToyPaging) -> tuple[Walker, Walker]:
    return tuple(  # type: ignore[return-value]
        make_walker(tables.read, paging, choice) for choice in (WalkerChoice.PYTHON, WalkerChoice.C)
    )


@pytest.mark.parametrize("choice", [WalkerChoice.PYTHON, WalkerChoice.C])
def test_a_walk(choice: WalkerChoice) -> None:
    walker = make_walker(toy_tables().read, ToyPaging(swap=LAYOUT), choice)
    low = walker.walk(USER_ROOT, LOW + 0x123)
    assert (low.outcome, low.paddr, low.memory_type) == (Outcome.MAPPED, 0x9123, "buffered")
    assert low.permissions == READ_WRITE
    assert [(step.name, step.table, step.index) for step in low.steps] == [
        ("TOP", USER_ROOT, 2),
        ("MID", MID, 3),
        ("END", END, 4),
    ]
    assert low.steps[-1].flags == ("V", "W", "U", "XN", "T1")
    high = walker.walk(KERNEL_ROOT, HIGH)
    assert (high.pfn, high.permissions) == (9, replace(READ_WRITE, write=False))
    block = walker.walk(USER_ROOT, 0x80A0_0000 + 0x1234)
    assert (block.paddr, block.leaf_bytes, block.memory_type) == (0x60_1234, 2 << 20, "device")
    hidden = walker.walk(USER_ROOT, LOW + 2 * PAGE_BYTES)
    assert (hidden.outcome, hidden.pfn) == (Outcome.PROT_NONE, 0xB)
    swapped = walker.walk(USER_ROOT, LOW + 3 * PAGE_BYTES)
    assert (swapped.outcome, swapped.swap_type, swapped.swap_offset) == (Outcome.SWAP, 3, 77)
    assert walker.walk(KERNEL_ROOT, HIGH + 3 * PAGE_BYTES).outcome is Outcome.SPECIAL
    assert walker.walk(USER_ROOT, 1 << HALF_BITS).outcome is Outcome.NON_CANONICAL
    assert walker.walk(USER_ROOT, UPPER - 1).outcome is Outcome.NON_CANONICAL


@pytest.mark.parametrize("choice", [WalkerChoice.PYTHON, WalkerChoice.C])
def test_an_index_of_both_halves(choice: WalkerChoice) -> None:
    index = make_walker(toy_tables().read, ToyPaging(), choice).index()
    index.add(0, USER_ROOT, 0, (1 << HALF_BITS) - 1)
    index.add(1, KERNEL_ROOT, UPPER, ALL)
    index.finish()
    assert index.lookup(9) == [(0, LOW), (1, HIGH)]
    assert index.lookup(0x605) == [(0, 0x80A0_5000), (1, ALL - (1 << 30) + 1 + 0xA0_5000)]


# Random tables.


def random_entry(rng: random.Random) -> int:
    flags = sum(1 << bit for bit in range(2, 10) if rng.random() < 0.4)
    what = rng.random()
    if what < 0.5:
        return rng.randrange(PAGES) * PAGE_BYTES | V | flags | rng.choice([0, TABLE_RO])
    if what < 0.65:
        return rng.getrandbits(20) << 21 & ADDRESS | V | BLOCK | flags
    if what < 0.75:
        return rng.getrandbits(30) << 12 & ADDRESS | HIDDEN | flags
    return rng.choice([0, rng.getrandbits(64), rng.choice([3, 23, 27, 31]) << 11 | 5 << 16])


def random_tables(rng: random.Random) -> Tables:
    entries: dict[int, int] = {}
    for page in range(PAGES):
        for _ in range(rng.choice([1, 8, 40])):
            index = rng.choice([0, 1, 63, 64, 127, 511, rng.randrange(512)])
            entry = random_entry(rng)
            for number in range(min(rng.choice([1, 1, 20]), 512 - index)):
                entries[page * PAGE_BYTES + 8 * (index + number)] = (
                    entry + number * PAGE_BYTES & ALL
                )
    return Tables(entries, missing=(5 * PAGE_BYTES,), zero_pages=tuple(range(0, 0xC000, 0x1000)))


def without_reason(one: Range) -> Range:
    return replace(one, detail=one.detail.partition(": ")[0])


@pytest.mark.parametrize("seed", range(8))
def test_the_engine_and_the_slow_walker_agree(seed: int) -> None:
    rng = random.Random(4000 + seed)
    tables = random_tables(rng)
    slow, quick = walkers(tables, ToyPaging(swap=rng.choice([None, LAYOUT])))
    outcomes = set()
    for _ in range(200):
        root = rng.randrange(PAGES) * PAGE_BYTES + rng.choice([0, 0x200, 0xE00])
        address = rng.randrange(64) << 30 | rng.choice([0, 1, 63, 511]) << 21
        address |= rng.choice([0, 1, 63, rng.randrange(512)]) << 12 | rng.randrange(PAGE_BYTES)
        address |= rng.choice([0, UPPER])
        expected = slow.walk(root, address)
        got = quick.walk(root, address)
        assert replace(got, detail="") == replace(expected, detail="")
        outcomes.add(expected.outcome)
    assert len(outcomes) > 4
    for _ in range(6):
        root = rng.randrange(PAGES) * PAGE_BYTES
        first = rng.choice([0, UPPER]) + rng.randrange(1 << 36)
        last = min(first + rng.choice([1 << 21, 1 << 31]), ALL)
        assert list(map(without_reason, quick.ranges(root, first, last))) == list(
            map(without_reason, slow.ranges(root, first, last))
        )
        mine, other = Accounts.empty(4096), Accounts.empty(4096)
        first &= -PAGE_BYTES
        last |= PAGE_BYTES - 1
        assert quick.account(root, first, last, other).tables == (
            slow.account(root, first, last, mine).tables
        )
        assert other == mine


# Commands.


class FakeReader:
    def __init__(self, tables: Tables) -> None:
        self.read_physical = tables.read

    def compressed_memory(self) -> tuple[()]:
        return ()

    def direct_memory(self) -> Sequence[tuple[int, memoryview | int]]:
        return ()

    def file_memory(self) -> None:
        return None


@pytest.fixture
def target(monkeypatch: pytest.MonkeyPatch) -> Target:
    """A target of the toy; what commands read beside page tables is replaced."""
    monkeypatch.setitem(known.ARCHITECTURES, TOY.name, TOY)
    nothing = SecondOpinion(None, None, "not of the toy")
    monkeypatch.setattr(walk_command, "second_opinion", lambda *_: nothing)
    monkeypatch.setattr(walk_command, "struct_page_facts", lambda *_: None)
    prog = drgn.Program(drgn.Platform(drgn.Architecture.PPC64))
    facts = replace(CORE, arch=arch.of_program(prog).name)
    return Target(prog, FakeReader(toy_tables()), facts, 0.0, 0.0)  # type: ignore[arg-type]


def test_walk_of_a_kernel_address(target: Target) -> None:
    report = walk_command.walk(target, WalkAsked(f"{HIGH:x}"), lambda _: None)
    assert (report.walk.pfn, report.paging.levels) == (9, 3)
    text = to_text(report)
    assert "3-level page tables" in text
    assert "valid, may be written, U, XN, T1" in text
    assert "buffered" in text
    assert '"memory_type": "buffered"' in report_to_json(report)


def test_walk_of_a_user_address_needs_a_process(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(PageproofError, match="user address"):
        walk_command.walk(target, WalkAsked(f"{LOW:x}"), lambda _: None)
    with pytest.raises(PageproofError, match="not canonical with 3 levels"):
        walk_command.walk(target, WalkAsked(f"{1 << HALF_BITS:x}"), lambda _: None)
    process = replace(mapping(), root=USER_ROOT, kernel_half_root=USER_ROOT)
    monkeypatch.setattr(walk_command, "process_at", lambda *_: (process, ""))
    report = walk_command.walk(target, WalkAsked(f"{LOW:x}", pid=process.pid), lambda _: None)
    assert report.walk.permissions == READ_WRITE


def test_maps(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    process = replace(mapping(), root=USER_ROOT, kernel_half_root=USER_ROOT)
    lines = (line(LOW, LOW + 4 * PAGE_BYTES), line(0x80A0_0000, 0x80C0_0000))
    found = ProcessMaps(process, lines, 3 * PAGE_BYTES, "")
    monkeypatch.setattr(maps_command, "process_maps", lambda *_: found)
    monkeypatch.setattr(maps_command, "read_mapcounts", counts)
    report = maps_command.maps(target, process.pid, lambda _: None)
    small, large = report.vmas
    assert small.resident_4k_bytes == 3 * PAGE_BYTES
    assert small.memory_types == (ToyMemoryType.BUFFERED, ToyMemoryType.CACHED)
    assert [one.outcome for one in small.other] == [Outcome.SWAP]
    assert (large.resident_2m_bytes, large.memory_types) == (2 << 20, (ToyMemoryType.DEVICE,))
    assert report.outside == ()
    text = to_text(report, verbose=True)
    assert "buffered/cached" in text
    assert "2M  PFN 0x600" in text


def counts(prog: drgn.Program, pfn: int, pages: int) -> list[int]:
    return [1] * pages


def test_an_architecture_that_is_not_known_is_refused() -> None:
    prog = drgn.Program(drgn.Platform(drgn.Architecture.PPC64))
    with pytest.raises(PageproofError, match="the target is PPC64") as raised:
        arch.of_program(prog, "vmcore")
    assert raised.value.remedy == "only x86_64 is supported"
    unknown: Any = SimpleNamespace(platform=None)
    with pytest.raises(PageproofError, match="an unknown machine"):
        arch.of_program(unknown)
