# SPDX-License-Identifier: GPL-2.0-or-later
"""Sides of shared memory: both walkers compared with one walk for each page."""

from __future__ import annotations

import random
import threading
from array import array
from collections.abc import Iterator

import pageproof_pagewalk as engine
import pytest
from unit.tables import NX, PROTNONE, PSE, TABLE, P, Tables
from unit.walk.test_engine import random_address, random_entry, random_paging

from pageproof.arch.x86_64.paging import X86Paging
from pageproof.model import GAPS, Outcome
from pageproof.model.asked import WalkerChoice
from pageproof.space.units import PAGE_BYTES
from pageproof.walk import Side, Sides, Spans, TooMuchWork, Walker, make_walker
from pageproof.walk import engine as walk_engine
from pageproof.walk.compare import is_compared
from pageproof.walk.sides import merged

ADDRESS_BITS = 0x000F_FFFF_FFFF_F000
BOTH = pytest.mark.parametrize("choice", [WalkerChoice.PYTHON, WalkerChoice.C])


def spans_of(*spans: tuple[int, int, int]) -> Spans:
    return array("Q", [number for span in spans for number in span])


def page_by_page(
    walker: Walker, root: int, spans: Spans, expected: Sides | None = None
) -> Iterator[Side]:
    """The slow and obvious way."""
    there = {
        one.first + page: (one.paddr or 0) + page * PAGE_BYTES
        for one in expected or ()
        if is_compared(one.outcome)
        for page in range(one.pages)
    }
    for number in range(len(spans) // 3):
        first, pages, address = spans[3 * number : 3 * number + 3]
        for page in range(pages):
            walk = walker.walk(root, address + page * PAGE_BYTES)
            if walk.outcome in (Outcome.NONE, Outcome.NON_CANONICAL):
                continue
            one = Side(first + page, 1, walk.paddr, number, walk.outcome, same=False)
            if is_compared(walk.outcome) and there.get(first + page) == walk.paddr:
                one = one._replace(paddr=None, same=True)
            yield one


def two_trees(rng: random.Random, levels: int, sme: int) -> Tables:
    """Tables at 0 and at 0x10000 that map the first 10 MiB, mostly to the same frames."""
    entries: dict[int, int] = {}
    for tree in (0, 0x10000):
        down = [tree + level * PAGE_BYTES for level in range(levels)]
        entries |= {table: (table + PAGE_BYTES) | TABLE for table in down[:-1]}
        pmd, last = down[-2], down[-1]
        entries[pmd + 8] = (last + PAGE_BYTES) | TABLE
        entries[pmd + 16] = rng.choice([0x40000000, 0x80000000]) | P | PSE
        entries[pmd + 24] = 0x90000 | TABLE  # there is nothing
        entries[pmd + 32] = last | P
    frame = 0
    for at in range(1024):
        frame = frame + PAGE_BYTES if rng.random() < 0.7 else rng.getrandbits(22) * PAGE_BYTES
        entry = rng.choice([frame | P | sme, frame | P | NX, frame ^ ADDRESS_BITS | PROTNONE])
        for tree in (0, 0x10000):
            here = random_entry(rng, sme) if rng.random() < 0.1 else entry
            entries[tree + (levels - 1) * PAGE_BYTES + 8 * at] = here & (1 << 64) - 1
    return Tables(entries)


def random_spans(rng: random.Random, levels: int) -> Spans:
    spans = []
    for _ in range(rng.choice([1, 3, 8])):
        address = rng.randrange(5 * 512) * PAGE_BYTES
        if rng.random() < 0.1:
            address = random_address(rng, levels)
        elif rng.random() < 0.1:
            address += 0x123
        pages = min(rng.choice([0, 1, 3, 40, 600]), (1 << 64) - address >> 12)
        spans.append((rng.choice([0, 7, rng.getrandbits(40)]), pages, address))
    return spans_of(*spans)


def counted(sides: list[Side], spans: int) -> list[tuple[int, int]]:
    """Count the pages with a frame and the unknown ones, by span."""
    return [
        (
            sum(one.pages for one in sides if one.span == span and one.outcome is Outcome.MAPPED),
            sum(one.pages for one in sides if one.span == span and one.outcome in GAPS),
        )
        for span in range(spans)
    ]


def compare(seed: int) -> int:
    """Compare the walkers. Returns how many runs are at their expected frames."""
    rng = random.Random(9000 + seed)
    paging = random_paging(rng)
    tables = two_trees(rng, paging.levels, paging.sme_mask)
    slow = make_walker(tables.read, paging, WalkerChoice.PYTHON)
    quick = make_walker(tables.read, paging, WalkerChoice.C)
    marked = 0
    for _ in range(4):
        spans = random_spans(rng, paging.levels)
        obvious = list(merged(page_by_page(quick, 0, spans)))
        assert list(quick.sides(0, spans)) == obvious
        assert list(slow.sides(0, spans)) == obvious
        assert quick.sides(0, spans).counts(len(spans) // 3) == counted(obvious, len(spans) // 3)
        # The first span's pages, as the other tree has them.
        expected = quick.sides(0x10000, spans[:3])
        obvious = list(merged(page_by_page(quick, 0, spans, expected)))
        assert list(quick.sides(0, spans, expected)) == obvious
        assert list(slow.sides(0, spans, expected)) == obvious
        marked += sum(one.same for one in obvious)
    return marked


def test_sides_are_what_each_walk_finds() -> None:
    # With fewer runs the tables would not test enough.
    assert sum(compare(seed) for seed in range(12)) > 100


MAPPED = {0x1000: 0x2000 | TABLE, 0x2000: 0x3000 | TABLE, 0x3000: 0x4000 | TABLE}


@BOTH
def test_expected_pages_are_one_run(choice: WalkerChoice) -> None:
    frames = (0x9000, 0x7000, 0x20000, 0x5000)
    entries = MAPPED | {0x4000 + 8 * at: frame | P for at, frame in enumerate(frames)}
    entries[0x4010] = 0x21000 | P | NX
    entries[0x4018] = 0x5000 ^ ADDRESS_BITS | PROTNONE
    entries[0x3008] = 0x40000000 | P | PSE
    walker = make_walker(Tables(entries).read, X86Paging(levels=4), choice)
    kernel = walker.sides(0x1000, spans_of((0, 4, 0), (4, 2, 0x205000)))
    assert [(one.first, one.pages, one.paddr) for one in kernel] == [
        (0, 1, 0x9000),
        (1, 1, 0x7000),
        (2, 1, 0x21000),
        (3, 1, 0x5000),
        (4, 2, 0x40005000),
    ]
    entries[0x4000 + 8 * 2] = 0x20000 | P
    walker = make_walker(Tables(entries).read, X86Paging(levels=4), choice)
    user = walker.sides(0x1000, spans_of((0, 4, 0), (5, 2, 0x206000)), kernel)
    assert list(user) == [
        Side(0, 2, None, 0, Outcome.MAPPED, same=True),
        Side(2, 1, 0x20000, 0, Outcome.MAPPED, same=False),
        Side(3, 1, None, 0, Outcome.PROT_NONE, same=True),
        Side(5, 1, None, 1, Outcome.MAPPED, same=True),
        Side(6, 1, 0x40007000, 1, Outcome.MAPPED, same=False),
    ]
    assert [user[at] for at in range(len(user))] == list(user)
    assert list(user.indices()) == [0, 2, 3, 5, 6]
    assert user == walker.sides(0x1000, spans_of((0, 4, 0), (5, 2, 0x206000)), kernel)


@BOTH
def test_a_span_beyond_the_last_address_is_refused(choice: WalkerChoice) -> None:
    walker = make_walker(Tables(MAPPED).read, X86Paging(levels=4), choice)
    assert not list(walker.sides(0x1000, spans_of((0, 1, (1 << 64) - 1))))
    with pytest.raises(ValueError, match="range of addresses"):
        walker.sides(0x1000, spans_of((0, 2, (1 << 64) - PAGE_BYTES)))


def test_the_bound_on_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that leads to itself at each level maps 256 TiB."""
    tables = Tables(dict.fromkeys(range(4096, 8192, 8), 4096 | TABLE))
    walker = make_walker(tables.read, X86Paging(levels=4), WalkerChoice.C)
    monkeypatch.setattr(walk_engine, "MAX_ENTRIES", 1000)
    with pytest.raises(TooMuchWork, match="gave up at 0x3e4000: too many entries"):
        walker.sides(0x1000, spans_of((0, 1 << 34, 0)))
    (one,) = walker.sides(0x1000, spans_of((0, 1, 0)))
    assert one == Side(0, 1, 0x1000, 0, Outcome.MAPPED, same=False)


def test_threads_share_a_walker() -> None:
    entries = MAPPED | {0x4000 + 8 * at: (at << 13) | P for at in range(512)}
    walker = make_walker(Tables(entries).read, X86Paging(levels=4), WalkerChoice.C)
    spans = spans_of((0, 512, 0))
    expected = walker.sides(0x1000, spans)
    found: list[Sides] = []
    threads = [
        threading.Thread(target=lambda: found.append(walker.sides(0x1000, spans, expected)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [list(one) for one in found] == [[Side(0, 512, None, 0, Outcome.MAPPED, same=True)]] * 4


def test_each_table_is_read_once() -> None:
    entries = MAPPED | {0x4000 + 8 * at: 0x9000 | P for at in range(512)}
    tables = Tables(entries)
    walker = make_walker(tables.read, X86Paging(levels=4), WalkerChoice.C)
    walker.sides(0x1000, spans_of(*((at, 1, (at * 37 % 512) * PAGE_BYTES) for at in range(512))))
    assert tables.reads == 4


@pytest.mark.parametrize("buffer", [bytes(23), memoryview(bytearray(32))[1:25]])
def test_the_extension_refuses_what_is_no_array(buffer: bytes | memoryview) -> None:
    walker = engine.Walker("x86_64-4", bytes(8))
    with pytest.raises(ValueError, match="24 bytes"):
        walker.sides(0, buffer)
    with pytest.raises(ValueError, match="32 bytes"):
        walker.sides(0, b"", bytes(31))
    assert walker.sides(0, b"") == (b"", None)
