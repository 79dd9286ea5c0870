# SPDX-License-Identifier: GPL-2.0-or-later
"""Pages of compressed dumps, read by the engine; and sweeps of them in threads."""

from __future__ import annotations

import random
import struct
import zlib
from pathlib import Path

import pageproof_pagewalk as engine
import pytest
from unit.attach.test_dumpfile import BITMAP_AT, PAGE, flattened, kdump, written
from unit.walk.test_engine import PAGES, random_paging, random_tables

from pageproof.attach.dumpfile import inspect_dump
from pageproof.model import MemoryGap, Outcome
from pageproof.walk import Accounts, make_walker
from pageproof.walk.engine import EngineWalker

ZLIB, LZO = 1, 2


def compressed(pages: dict[int, bytes], method: int) -> bytes:
    """Return a dump of some pages. LZO: literals only, as for data that has no repetition."""
    data = bytearray(kdump(max(pages) + 1))
    descriptors_at = BITMAP_AT + 2 * PAGE
    bits = sum(1 << pfn for pfn in pages).to_bytes(PAGE, "little")
    data[BITMAP_AT:descriptors_at] = bits + bits
    del data[descriptors_at:]
    blocks = [packed(pages[pfn], method) for pfn in sorted(pages)]
    at = descriptors_at + 24 * len(blocks)
    for block in blocks:
        data += struct.pack("<QIIQ", at, len(block), 0 if len(block) == PAGE else method, 0)
        at += len(block)
    return bytes(data) + b"".join(blocks)


def packed(page: bytes, method: int) -> bytes:
    if method == ZLIB:
        return min(zlib.compress(page), page, key=len)
    zeros = len(page) - len(page.rstrip(b"\0"))
    if zeros < 1000:
        return page
    # A run of literals, then a match of distance 1, then the end.
    run, rest = len(page) - zeros + 1, zeros - 1
    lengths, last = divmod(run - 3 - 15 - 1, 255)
    head = bytes([0, *[0] * lengths, last + 1]) if run > 18 else bytes([run + 17])
    more, end = divmod(rest - 2 - 31 - 1, 255)
    return head + page[:run] + bytes([32, *[0] * more, end + 1, 0, 0, 17, 0, 0])


def reader(path: Path, data: bytes) -> engine.Kdump:
    (pages,) = inspect_dump(written(path, data)).kdump
    return engine.Kdump(*pages.for_engine())


@pytest.mark.parametrize("method", [ZLIB, LZO])
@pytest.mark.parametrize("form", ["plain", "flattened"])
def test_pages_are_those_of_the_dump(tmp_path: Path, method: int, form: str) -> None:
    rng = random.Random(5)
    pages = {
        pfn: (rng.randbytes(rng.choice([16, 40, 300, 2000, PAGE])) + bytes(PAGE))[:PAGE]
        for pfn in rng.sample(range(3000), 200)
    }
    data = compressed(pages, method)
    got = reader(tmp_path, flattened(data) if form == "flattened" else data)
    for pfn in range(3010):
        assert got.read(pfn * PAGE + 8) == pages.get(pfn)


def test_pages_of_several_parts(tmp_path: Path) -> None:
    """As for a split dump: a page that one part does not have is looked for in the next one."""
    one = {pfn: bytes([pfn]) * PAGE for pfn in (1, 2)}
    other = {pfn: bytes([pfn]) * PAGE for pfn in (2, 200)}
    (tmp_path / "one").mkdir()
    both = reader(tmp_path / "one", compressed(one, ZLIB))
    (pages,) = inspect_dump(written(tmp_path, compressed(other, ZLIB))).kdump
    both = engine.Kdump(*pages.for_engine(), both)
    for pfn in range(210):
        assert both.read(pfn * PAGE) == (one | other).get(pfn)


def test_a_damaged_page_is_left_to_drgn(tmp_path: Path) -> None:
    data = bytearray(compressed({1: bytes(PAGE), 2: bytes(PAGE)}, ZLIB))
    data[-3] ^= 0xFF
    got = reader(tmp_path, bytes(data))
    assert got.read(PAGE) == bytes(PAGE)
    assert got.read(2 * PAGE) is None


@pytest.mark.parametrize("seed", range(6))
def test_sweeps_in_threads_are_those_of_a_callback(tmp_path: Path, seed: int) -> None:
    rng = random.Random(9000 + seed)
    paging = random_paging(rng)
    tables = random_tables(rng, paging)
    there = [
        pfn for pfn in range(PAGES) if pfn in tables.pages and pfn * PAGE not in tables.missing
    ]
    data = compressed({pfn: tables.read(pfn * PAGE, PAGE) for pfn in there}, ZLIB)
    (pages,) = inspect_dump(written(tmp_path, data)).kdump
    asked: list[int] = []

    def read(paddr: int, length: int) -> bytes:
        asked.append(paddr // PAGE)
        raise MemoryGap(Outcome.EXCLUDED, "left out of the dump")

    def slow(paddr: int, length: int) -> bytes:
        if paddr // PAGE not in there:
            raise MemoryGap(Outcome.EXCLUDED, "left out of the dump")
        return tables.read(paddr, length)

    quick = EngineWalker(read, paging, (), [pages.for_engine()])
    quick.threads = 3
    other = make_walker(slow, paging)
    spans = [(page * PAGE, 0, (1 << 40) - 1) for page in range(PAGES)]
    mine, theirs = Accounts.empty(64), Accounts.empty(64)
    got = quick.account_spaces(spans, mine, alike=True)
    expected = other.account_spaces(spans, theirs, alike=True)
    assert mine == theirs
    assert [one.tables for one in got] == [one.tables for one in expected]
    assert [one.runs for one in got] == [one.runs for one in expected]
    assert not set(asked) & set(there)


def test_what_is_no_layout_is_refused() -> None:
    for arguments in (
        (bytes(10), struct.pack("3Q", 0, 11, 0), 0, 0, 8, 0),
        (bytes(10), struct.pack("3Q", 0, 1, 10), 0, 0, 8, 0),
        (bytes(10), struct.pack("6Q", 0, 4, 0, 3, 4, 4), 0, 0, 8, 0),
        (bytes(10), struct.pack("3Q", (1 << 64) - 1, 4, 0), 0, 0, 8, 0),
        (bytes(10), b"", 1 << 63, 0, 8, 0),
        (bytes(10), b"", 0, 0, 1 << 41, 0),
    ):
        with pytest.raises(ValueError, match=r"parts must be|not the layout"):
            engine.Kdump(*arguments)
    with pytest.raises(TypeError, match="must be a Kdump"):
        engine.Walker("x86_64-4", bytes(8), kdump=object())  # type: ignore[arg-type]
