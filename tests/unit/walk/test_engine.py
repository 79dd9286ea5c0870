# SPDX-License-Identifier: GPL-2.0-or-later
"""The engine in C compared with the slow walker, on random tables.

Each tree has its own seed, so that a failure can be reproduced.
"""

from __future__ import annotations

import gc
import random
import sys
import threading
import weakref
from collections.abc import Iterable
from dataclasses import replace

import pageproof_pagewalk as engine
import pytest
from unit.tables import NX, PROTNONE, PSE, PWT, RW, TABLE, US, A, D, P, Tables

from pageproof.arch.x86_64.memtypes import X86MemoryType
from pageproof.arch.x86_64.paging import X86Paging
from pageproof.errors import PageproofError
from pageproof.model import MemoryGap, Outcome, Range, SwapLayout
from pageproof.model.asked import WalkerChoice
from pageproof.observe.residency import merge
from pageproof.space.units import PAGE_BYTES
from pageproof.walk import Accounts, TooMuchWork, make_walker
from pageproof.walk.engine import EngineWalker

PAGES = 24
END = (1 << 64) - 1
LAYOUT = SwapLayout(hwpoison=(23, 1), migration=(24, 3), device=(27, 4), marker=(31, 1))
LAYOUT_6_1 = SwapLayout(hwpoison=(26, 1), migration=(27, 3), device=(30, 0), marker=(30, 2))
ADDRESS_BITS = 0x000F_FFFF_FFFF_F000
FLAGS = (RW, US, PWT, A, D, NX, 1 << 9, 1 << 58, 5 << 59, 1 << 12, 1 << 7, 1 << 8)


def random_entry(rng: random.Random, sme: int) -> int:
    """An entry of any kind. Tables point at one of a few pages, so that trees are deep."""
    flags = sum(flag for flag in FLAGS[:9] if rng.random() < 0.3)
    what = rng.random()
    if what < 0.45:
        return (
            rng.randrange(PAGES) * PAGE_BYTES | TABLE & ~flags | flags & NX | rng.choice([0, sme])
        )
    if what < 0.55:
        return rng.getrandbits(52) & ADDRESS_BITS | P | flags
    if what < 0.65:
        return (rng.getrandbits(22) << 30 | P | PSE | flags) & ~sme
    if what < 0.75:
        return (rng.randrange(1 << 20) * PAGE_BYTES ^ ADDRESS_BITS) | PROTNONE | flags & ~P
    if what < 0.85:
        offset = rng.choice([0, 1, 2, 4, 8, rng.getrandbits(50)])
        kind = rng.choice([23, 27, 31, 31, rng.randrange(32)])
        return kind << 59 | (~offset & (1 << 50) - 1) << 9 | rng.choice([0, PSE])
    return rng.getrandbits(64)


def random_tables(rng: random.Random, paging: X86Paging) -> Tables:
    entries: dict[int, int] = {}
    for page in range(PAGES):
        for _ in range(rng.choice([0, 1, 8, 64])):
            index = rng.choice([0, 1, 255, 256, 511, rng.randrange(512)])
            entry = random_entry(rng, paging.sme_mask)
            run = rng.choice([1, 1, 1, 30])
            for number in range(min(run, 512 - index)):
                entries[page * PAGE_BYTES + (index + number) * 8] = (
                    entry + number * PAGE_BYTES & END
                )
    missing = tuple(page * PAGE_BYTES for page in range(1, PAGES) if rng.random() < 0.1)
    zero = tuple(page * PAGE_BYTES for page in range(PAGES) if rng.random() < 0.8)
    return Tables(entries, missing=missing, zero_pages=zero)


def direct_memory(tables: Tables) -> list[tuple[int, memoryview | int]]:
    """The same memory, as a dump gives it: what it omits is EXCLUDED, the rest is unreadable."""
    return [
        (at, PAGE_BYTES if at in tables.missing else memoryview(tables.read(at, PAGE_BYTES)))
        for at in range(0, PAGES * PAGE_BYTES, PAGE_BYTES)
        if at in tables.missing or at // PAGE_BYTES in tables.pages
    ]


def random_paging(rng: random.Random) -> X86Paging:
    types = tuple(rng.choice(list(X86MemoryType)) for _ in range(8))
    return X86Paging(
        levels=rng.choice([4, 5]),
        sme_mask=rng.choice([0, 0, 1 << 47, 1 << 51]),
        pat=types,
        swap=rng.choice([None, LAYOUT, LAYOUT_6_1]),
        zero_fills=rng.random() < 0.2,
        physical_bits=rng.choice([52, 52, 52, 52, 46, 40]),
    )


def random_address(rng: random.Random, levels: int) -> int:
    """An address that often has one of a few indices, so that walks reach the entries."""
    if rng.random() < 0.1:
        return rng.getrandbits(64)
    address = rng.randrange(PAGE_BYTES)
    for level in range(levels):
        address |= rng.choice([0, 1, 2, 255, 256, 511, rng.randrange(512)]) << 12 + 9 * level
    sign = 12 + 9 * levels
    return address | (END >> sign << sign if address >> sign - 1 else 0)


def without_reason(one: Range) -> Range:
    """Drop the failing address: the engine reads whole tables, the walker single entries."""
    return replace(one, detail=one.detail.partition(": ")[0])


def seeds(some: int, *, of: int) -> pytest.MarkDecorator:
    """Seeds of tests that sweep whole trees in Python, a second each: all in test-all only."""
    marked = [
        pytest.param(seed, marks=[] if seed < some else [pytest.mark.long]) for seed in range(of)
    ]
    return pytest.mark.parametrize("seed", marked)


@pytest.mark.parametrize("seed", range(40))
def test_walks_are_the_same(seed: int) -> None:
    rng = random.Random(seed)
    paging = random_paging(rng)
    tables = random_tables(rng, paging)
    slow = make_walker(tables.read, paging, WalkerChoice.PYTHON)
    quick = make_walker(tables.read, paging, WalkerChoice.C)
    seen = set()
    for _ in range(500):
        root = rng.randrange(PAGES) * PAGE_BYTES
        address = random_address(rng, paging.levels)
        walk = slow.walk(root, address)
        assert quick.walk(root, address) == walk
        seen.add(walk.outcome)
    assert len(seen) > 3  # else the tables do not test enough


def test_all_outcomes_come_up_in_these_tests() -> None:
    rng = random.Random(1)
    seen = set()
    for _ in range(400):
        paging = random_paging(rng)
        walker = make_walker(random_tables(rng, paging).read, paging, WalkerChoice.C)
        for _ in range(300):
            root = rng.randrange(PAGES) * PAGE_BYTES
            seen.add(walker.walk(root, random_address(rng, paging.levels)).outcome)
    assert seen == set(Outcome)


@seeds(15, of=40)
def test_ranges_are_the_same(seed: int) -> None:
    rng = random.Random(1000 + seed)
    paging = random_paging(rng)
    tables = random_tables(rng, paging)
    slow = make_walker(tables.read, paging, WalkerChoice.PYTHON)
    quick = make_walker(tables.read, paging, WalkerChoice.C)
    spans = [0, PAGE_BYTES - 1, 1 << 21, 1 << 31, 1 << 40, END]
    for _ in range(6):
        root = rng.randrange(PAGES) * PAGE_BYTES
        first = rng.choice([0, random_address(rng, paging.levels)])
        last = min(END, first + rng.choice(spans))
        expected = [without_reason(one) for one in slow.ranges(root, first, last)]
        assert [without_reason(one) for one in quick.ranges(root, first, last)] == expected


def shared(ranges: Iterable[Range]) -> list[Range]:
    return [one for one in ranges if one.shared_with is not None]


@seeds(3, of=10)
def test_merging_loses_nothing(seed: int) -> None:
    rng = random.Random(2000 + seed)
    paging = random_paging(rng)
    walker = make_walker(random_tables(rng, paging).read, paging, WalkerChoice.C)
    fewer = 0
    for root in range(0, PAGES * PAGE_BYTES, PAGE_BYTES):
        single = list(walker.ranges(root, 0, END))
        merged = list(walker.ranges(root, 0, END, merged=True))
        fewer += len(single) - len(merged)
        assert list(merge(paging, merged)) == list(merge(paging, single))
        assert shared(merged) == shared(single)
    assert fewer


@pytest.mark.parametrize("most", [1, 2, 3, 600, 1024])
def test_the_bound_on_work_is_the_same(most: int) -> None:
    tables = Tables({0x1000: 0x2000 | TABLE, 0x2000: 0x3000 | TABLE, 0x3000: 0x4000 | TABLE})
    tables.entries[0x4000 + 8] = 0x7000 | P
    tables.pages.add(4)
    ends = []
    for choice in (WalkerChoice.PYTHON, WalkerChoice.C):
        walker = make_walker(tables.read, X86Paging(levels=4), choice)
        got = []
        with pytest.raises(TooMuchWork) as error:
            got += list(walker.ranges(0x1000, 0, END, max_entries=most))
        ends.append((str(error.value), got))
    assert ends[0] == ends[1]


def test_the_reason_of_a_gap_is_the_readers_own() -> None:
    tables = Tables({0x1000: 0x2000 | TABLE}, missing=(0x2000,))
    for choice in (WalkerChoice.PYTHON, WalkerChoice.C):
        walker = make_walker(tables.read, X86Paging(levels=4), choice)
        assert walker.walk(0x1000, 0).detail == "PUD table at 0x2000: left out of the dump"
        (first, *_) = walker.ranges(0x1000, 0, END)
        assert first.detail == "PUD table at 0x2000: left out of the dump"


BOTH = pytest.mark.parametrize("choice", [WalkerChoice.PYTHON, WalkerChoice.C])
LEFT_OUT = "PUD table at 0x2000: left out of the dump"


@BOTH
def test_the_reason_of_a_gap_is_the_sweeps_own(choice: WalkerChoice) -> None:
    """A sweep is consumed slowly while others run. It once reported their reason, zero-filled."""
    tables = Tables({0x1000: 0x2000 | TABLE, 0x1008: 0x3000 | TABLE}, missing=(0x2000,))
    walker = make_walker(tables.read, X86Paging(levels=4), choice)
    sweep = walker.ranges(0x1000, 0, END)
    first = next(sweep)
    assert walker.walk(0x1000, 1 << 39).detail == "PUD table at 0x3000: no memory at 0x3000"
    tables.missing, tables.pages = (), {1}
    assert next(walker.ranges(0x1000, 0, END)).detail == "PUD table at 0x2000: no memory at 0x2000"
    assert not list(walker.alike(0x1000, END - 0xFFF, END))
    assert first.detail == LEFT_OUT
    assert next(sweep).detail == "PUD table at 0x3000: no memory at 0x3000"


def test_the_reasons_of_two_sweeps_that_take_turns() -> None:
    """The second sweep reads its tables before the first one yields a range."""
    tables = Tables({0x1000: 0x2000 | TABLE, 0x1008: 0x3000 | TABLE}, missing=(0x2000,))
    walker = make_walker(tables.read, X86Paging(levels=4), WalkerChoice.C)
    sweep = walker.ranges(0x1000, 0, END)
    next(sweep)
    tables.missing = (0x3000,)
    index = walker.index()
    index.add(0, 0x1000, 0, END)
    walker.account(0x1000, 0, END, Accounts.empty(1))
    assert next(sweep).detail == "PUD table at 0x3000: no memory at 0x3000"


def test_a_reader_that_walks_itself() -> None:
    """For example, a reader that checks that a page is mapped before it reads the page."""
    tables = Tables({0x1000: 0x2000 | TABLE}, missing=(0x2000,))

    def read(paddr: int, length: int) -> bytes:
        if paddr & -PAGE_BYTES == 0x2000:
            assert walker.walk(0x9000, 0).outcome is Outcome.UNREADABLE
        return tables.read(paddr, length)

    walker = make_walker(read, X86Paging(levels=4), WalkerChoice.C)
    assert walker.walk(0x1000, 0).detail == LEFT_OUT


def test_the_reasons_of_two_threads() -> None:
    """Both calls are inside the engine at the same time."""
    meet = threading.Barrier(2, timeout=30)
    tables = Tables({0x1000: 0x2000 | TABLE}, missing=(0x2000,))

    def read(paddr: int, length: int) -> bytes:
        if paddr & -PAGE_BYTES == 0x1000:
            meet.wait()
        return tables.read(paddr, length)

    walker = make_walker(read, X86Paging(levels=4), WalkerChoice.C)
    details: list[str] = []
    threads = [
        threading.Thread(target=lambda: details.append(next(walker.ranges(0x1000, 0, END)).detail))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert details == [LEFT_OUT] * 2


def test_a_root_may_be_a_cr3_value() -> None:
    tables = Tables({0x1000: 0x2000 | TABLE}, missing=(0x2000,))
    walker = make_walker(tables.read, X86Paging(levels=4), WalkerChoice.C)
    cr3 = 1 << 63 | 0x1806
    assert walker.walk(cr3, 0).root == 0x1000


def test_what_the_reader_raises_comes_out() -> None:
    def read(paddr: int, length: int) -> bytes:
        raise KeyboardInterrupt(paddr)

    walker = make_walker(read, X86Paging(levels=4), WalkerChoice.C)
    with pytest.raises(KeyboardInterrupt):
        walker.walk(0x1000, 0)
    with pytest.raises(KeyboardInterrupt):
        list(walker.ranges(0x1000, 0, END))


@pytest.mark.parametrize("address", [-1, 1 << 64])
def test_what_is_no_64_bit_number_is_refused(address: int) -> None:
    walker = make_walker(Tables({}).read, X86Paging(levels=4), WalkerChoice.C)
    with pytest.raises(ValueError, match="64-bit"):
        walker.walk(0, address)
    with pytest.raises(ValueError, match="not a range"):
        list(walker.ranges(0, 5, address))


# The extension itself.

TYPES = bytes(8)


def small_memory() -> bytearray:
    """Space 0: PGD at 0, PUD, PMD, PTEs: 16 pages of frames 100 to 115, writable from 8 on."""
    memory = bytearray(4 * PAGE_BYTES)
    for table in range(3):
        memory[table * PAGE_BYTES : table * PAGE_BYTES + 8] = (
            (table + 1) * PAGE_BYTES | TABLE
        ).to_bytes(8, "little")
    for page in range(16):
        entry = (100 + page) * PAGE_BYTES | P | (RW if page >= 8 else 0)
        at = 3 * PAGE_BYTES + page * 8
        memory[at : at + 8] = entry.to_bytes(8, "little")
    return memory


def test_direct_memory_needs_no_reader() -> None:
    memory = small_memory()
    walker = engine.Walker("x86_64-4", TYPES, direct=[(0, memory)])
    assert walker.walk(0, 5 * PAGE_BYTES + 7)[2] == 105 * PAGE_BYTES + 7
    data, stats, stopped = walker.sweep(
        0, 0, (1 << 30) - 1, merge=engine.MERGE_FRAMES, skip=1 << engine.KINDS.index("none")
    )
    assert len(data) == 2 * 56
    assert stats[0] == 4
    assert stopped is None
    with pytest.raises(BufferError):
        memory.append(0)  # it is being read


def test_direct_memory_that_was_left_out() -> None:
    walker = engine.Walker("x86_64-4", TYPES, direct=[(0, small_memory()), (1 << 40, 4096)])
    assert engine.KINDS[walker.walk(1 << 40, 0)[0]] == "excluded"
    assert engine.KINDS[walker.walk(1 << 41, 0)[0]] == "unreadable"


def test_direct_memory_that_overlaps_is_refused() -> None:
    with pytest.raises(ValueError, match="overlap"):
        engine.Walker("x86_64-4", TYPES, direct=[(4096, b"12345678"), (0, bytes(4097))])


def test_a_walker_that_its_own_reader_holds_is_collected() -> None:
    """With a memoryview as direct memory, clearing the view first crashed the interpreter."""

    class Holder:
        walker: engine.Walker

        def read(self, paddr: int, length: int) -> int:
            return engine.KINDS.index("unreadable")

    memory = small_memory()
    view = memoryview(memory)
    holder = Holder()
    holder.walker = engine.Walker("x86_64-4", TYPES, read=holder.read, direct=[(0, view)])
    gone = weakref.ref(holder)
    del holder, view
    gc.collect()
    assert gone() is None
    memory.append(0)  # the buffer was released


@pytest.mark.parametrize("answer", [b"1234567", 3, None, "text"])
def test_nonsense_from_a_reader_is_an_error(answer: object) -> None:
    walker = engine.Walker("x86_64-4", TYPES, read=lambda paddr, length: answer)  # type: ignore[arg-type, return-value]
    with pytest.raises((ValueError, TypeError)):
        walker.walk(0, 0)


@pytest.mark.parametrize("types", [b"", bytes(7), bytes([0, 0, 0, 0, 0, 0, 0, 6])])
def test_nonsense_as_memory_types_is_refused(types: bytes) -> None:
    with pytest.raises(ValueError, match="memory_types"):
        engine.Walker("x86_64-4", types)


def test_index_finds_what_was_added() -> None:
    walker = engine.Walker("x86_64-4", TYPES, direct=[(0, small_memory())])
    index = engine.Index()
    for space in (7, 3):
        stats, whole = index.add(walker, space, 0, 0, (1 << 47) - 1)
        assert whole
        assert stats[0] == 4
    with pytest.raises(RuntimeError, match="finish"):
        index.lookup(100)
    index.finish()
    writable = engine.WRITE
    assert index.lookup(100) == [
        (space, 0, 1, engine.ACCESS | engine.EXECUTE, 0) for space in (3, 7)
    ]
    assert [found[:2] for found in index.lookup(115)] == [(3, 0xF000), (7, 0xF000)]
    assert index.lookup(115)[0][3] & writable
    assert not index.lookup(100)[0][3] & writable
    assert index.lookup(99) == index.lookup(116) == []
    assert index.size() == (4, 32)


def test_several_threads_sweep_at_once() -> None:
    """If a sweep kept the GIL while it waits, the threads would wait for each other forever."""
    meet = threading.Barrier(2, timeout=30)
    memory = small_memory()

    def read(paddr: int, length: int) -> bytes:
        if paddr == 0:
            meet.wait()
        return bytes(memory[paddr : paddr + length])

    results: list[int] = []
    walker = engine.Walker("x86_64-4", TYPES, read=read)

    def run() -> None:
        results.append(len(walker.sweep(0, 0, (1 << 21) - 1)[0]))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == [512 * 56, 512 * 56]


def test_the_walker_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(paddr: int, length: int) -> bytes:
        raise MemoryGap(Outcome.UNREADABLE, "nothing there")

    assert make_walker(read, X86Paging(levels=4)).name == "c"
    assert make_walker(read, X86Paging(levels=4), WalkerChoice.PYTHON).name == "python"
    monkeypatch.setitem(sys.modules, "pageproof_pagewalk", None)
    assert make_walker(read, X86Paging(levels=4)).name == "python"
    with pytest.raises(PageproofError, match="make engine"):
        make_walker(read, X86Paging(levels=4), WalkerChoice.C)


def compare_indices(rng: random.Random) -> int:
    """Compare the two indices. Returns how many mappings they found; each leads to its frame."""
    paging = random_paging(rng)
    read = random_tables(rng, paging).read
    slow, quick = (make_walker(read, paging, one) for one in (WalkerChoice.PYTHON, WalkerChoice.C))
    indices = slow.index(), quick.index()
    roots = range(0, PAGES * PAGE_BYTES, 4 * PAGE_BYTES)
    frames: set[int] = set()
    for space, root in enumerate(roots):
        first = rng.choice([0, random_address(rng, paging.levels)])
        last = min(END, first + rng.choice([1 << 31, 1 << 40, END]))
        swept = [index.add(space, root, first, last) for index in indices]
        assert swept[0] == swept[1]
        ranges = quick.ranges(root, first, last, merged=True)
        frames |= {one.frame >> 12 for one in ranges if one.frame is not None}
    for index in indices:
        index.finish()
    hits = 0
    for pfn in rng.sample(sorted(frames), min(20, len(frames))):
        found = indices[1].lookup(pfn)
        if len(found) > 500:
            continue  # tables shared at several levels: too many for the slow index
        assert indices[0].lookup(pfn) == found
        hits += len(found)
        for space, address in found[:20]:
            assert slow.walk(roots[space], address).pfn == pfn
    return hits


def test_frames_are_found_at_the_same_places() -> None:
    assert sum(compare_indices(random.Random(3000 + seed)) for seed in range(6)) > 500


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("number", [1, 5, 300])
def test_an_index_of_wanted_frames_finds_what_the_whole_one_finds(seed: int, number: int) -> None:
    rng = random.Random(3100 + seed)
    paging = random_paging(rng)
    tables = random_tables(rng, paging)
    quick = EngineWalker(tables.read, paging, direct_memory(tables))
    quick.threads = 2
    spaces = [[(page * PAGE_BYTES, 0, 1 << 40)] for page in range(0, PAGES, 4)]
    spaces[0].append((0, END - (1 << 40), END))
    whole = quick.index()
    for space, parts in enumerate(spaces):
        for part in parts:
            whole.add(space, *part)
    whole.finish()
    pfns = [rng.choice([rng.randrange(PAGES), rng.randrange(1 << 36)]) for _ in range(number)]
    pfns += [one.frame >> 12 for one in quick.ranges(*spaces[0][0], merged=True) if one.frame][:9]
    index = quick.index(pfns)
    index.add_spaces(spaces)
    index.finish()
    for pfn in pfns:
        assert index.lookup(pfn) == whole.lookup(pfn)
    other = next(pfn for pfn in range(1 << 20) if pfn not in pfns)
    for one in (index, make_walker(tables.read, paging, WalkerChoice.PYTHON).index(pfns)):
        with pytest.raises(ValueError, match="wanted"):
            one.lookup(other)
