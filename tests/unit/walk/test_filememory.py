# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory in a file that the engine reads itself: parts, threads, Ctrl-C, and what is not there."""

from __future__ import annotations

import os
import random
import signal
import struct
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path

import pageproof_pagewalk as engine
import pytest
from unit.tables import TABLE, Tables
from unit.walk.test_engine import PAGES, random_paging, random_tables

from pageproof.arch.engine import FileMemory
from pageproof.space.units import PAGE_BYTES
from pageproof.walk import Accounts, make_walker
from pageproof.walk.engine import EngineWalker

END = (1 << 47) - 1
TYPES = bytes(8)


@pytest.fixture
def keep(tmp_path: Path) -> Iterator[Callable[[bytes], int]]:
    """Write bytes into a file, and return a descriptor that cannot write."""
    opened: list[int] = []

    def make(data: bytes) -> int:
        path = tmp_path / f"memory{len(opened)}"
        path.write_bytes(data)
        opened.append(os.open(path, os.O_RDONLY))
        return opened[-1]

    yield make
    for one in opened:
        os.close(one)


def in_file(tables: Tables, rng: random.Random, keep: Callable[[bytes], int]) -> FileMemory:
    """Put the pages that there are into a file, in no order. The last one is not whole."""
    missing = {paddr // PAGE_BYTES for paddr in tables.missing}
    there = [pfn for pfn in range(PAGES) if pfn in tables.pages - missing]
    order = rng.sample(there, len(there))
    data = b"".join(tables.read(pfn * PAGE_BYTES, PAGE_BYTES) for pfn in order)
    parts = [(pfn * PAGE_BYTES, PAGE_BYTES, order.index(pfn) * PAGE_BYTES) for pfn in there]
    return keep(data[:-8]), array("Q", (number for part in parts for number in part))


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("seed", range(6))
def test_sweeps_in_threads_are_those_of_a_callback(keep: Callable[[bytes], int], seed: int) -> None:
    rng = random.Random(9100 + seed)
    paging = random_paging(rng)
    tables = random_tables(rng, paging)
    file = in_file(tables, rng, keep)
    asked: set[int] = set()

    def read(paddr: int, length: int) -> bytes:
        asked.add(paddr // PAGE_BYTES)
        return tables.read(paddr, length)

    quick, other = EngineWalker(read, paging, file=file), make_walker(tables.read, paging)
    quick.threads = 3
    spans = [(page * PAGE_BYTES, 0, (1 << 40) - 1) for page in range(PAGES)]
    mine, theirs = Accounts.empty(64), Accounts.empty(64)
    got = quick.account_spaces(spans, mine, alike=True)
    expected = other.account_spaces(spans, theirs, alike=True)
    assert mine == theirs
    assert [one.tables for one in got] == [one.tables for one in expected]
    assert [one.runs for one in got] == [one.runs for one in expected]
    whole = {paddr // PAGE_BYTES for paddr in file[1][::3]}
    cut = file[1][::3][list(file[1][2::3]).index(max(file[1][2::3]))] // PAGE_BYTES
    assert not asked & (whole - {cut})


def test_a_walk_reads_the_file(keep: Callable[[bytes], int]) -> None:
    tables = b"".join(
        struct.pack("<Q", number * PAGE_BYTES | TABLE) + bytes(PAGE_BYTES - 8)
        for number in (1, 2, 3, 7)
    )
    file = engine.FileMemory(keep(tables), array("Q", (0, 4 * PAGE_BYTES, 0)))
    assert engine.Walker("x86_64-4", TYPES, file=file).walk(0, 5)[2] == 7 * PAGE_BYTES + 5
    assert file.read(PAGE_BYTES, 8) == struct.pack("<Q", 2 * PAGE_BYTES | TABLE)


def test_the_descriptor_is_its_own(keep: Callable[[bytes], int]) -> None:
    given = os.dup(keep(b"12345678"))
    memory = engine.FileMemory(given, array("Q", (0, 8, 0)))
    os.close(given)
    before = open_files()
    assert memory.read(0, 8) == b"12345678"
    del memory
    assert open_files() == before - 1


@pytest.mark.parametrize(
    ("paddr", "length"), [(0, 8), (0x1FF8, 16), (0x2FF8, 8), (0x3000, 8), ((1 << 64) - 8, 8)]
)
def test_what_is_not_there_is_left_to_the_callable(
    keep: Callable[[bytes], int], paddr: int, length: int
) -> None:
    """Before, across, cut off and behind the parts."""
    parts = array("Q", (0x1000, 0x1000, 0, 0x2000, 0x1000, 0x1000))
    memory = engine.FileMemory(keep(bytes(0x1FF0)), parts)
    assert memory.read(0x1FF8, 8) == bytes(8)
    assert memory.read(paddr, length) is None


def test_without_a_callable_it_is_unreadable(keep: Callable[[bytes], int]) -> None:
    file = engine.FileMemory(keep(bytes(8)), array("Q", (0, PAGE_BYTES, 0)))
    walker = engine.Walker("x86_64-4", TYPES, file=file)
    assert engine.KINDS[walker.walk(PAGE_BYTES, 0)[0]] == "unreadable"
    assert engine.KINDS[walker.walk(0, 0)[0]] == "none"


def test_a_long_sweep_ends_at_a_signal(keep: Callable[[bytes], int]) -> None:
    """Each table of four levels is the same: a minute of work, and no call of Python."""
    table = struct.pack("<512Q", *[TABLE] * 512)
    file = engine.FileMemory(keep(table), array("Q", (0, PAGE_BYTES, 0)))
    walker = engine.Walker("x86_64-4", TYPES, file=file)

    class Stopped(Exception):
        pass

    def stop(number: int, frame: object) -> None:
        raise Stopped

    before = signal.signal(signal.SIGUSR1, stop)
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGUSR1))
    start = time.monotonic()
    timer.start()
    try:
        with pytest.raises(Stopped):
            walker.sweep(0, 0, END, merge=engine.MERGE_LIKE, shared_once=False, max_entries=1 << 36)
    finally:
        timer.cancel()
        signal.signal(signal.SIGUSR1, before)
    assert time.monotonic() - start < 30


def test_what_are_no_parts_is_refused(keep: Callable[[bytes], int]) -> None:
    top = (1 << 64) - 1
    for parts in (
        (0x2000, 8, 0, 0x1000, 8, 8),
        (0x1000, 9, 0, 0x1008, 8, 16),
        (top, 8, 0),
        (0, 8, (1 << 63) - 4),
        (0, 1 << 63, 0),
    ):
        with pytest.raises(ValueError, match="parts must be"):
            engine.FileMemory(keep(b""), array("Q", parts))
    with pytest.raises(OSError, match="Bad file descriptor"):
        engine.FileMemory(-1, b"")
    with pytest.raises(ValueError, match="negative"):
        engine.FileMemory(keep(b""), b"").read(0, -1)
    with pytest.raises(TypeError, match="must be a FileMemory"):
        engine.Walker("x86_64-4", TYPES, file=object())  # type: ignore[arg-type]
