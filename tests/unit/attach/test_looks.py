# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory that is kept during one look, and read again in the next."""

from __future__ import annotations

import pytest

from pageproof.attach import looks
from pageproof.attach.looks import BLOCK_BYTES, MOST_SECONDS, Blocks, new_look
from pageproof.model import MemoryGap, Outcome
from pageproof.observe.attempts import look_until


class Source:
    """Memory that counts, and that a test changes."""

    def __init__(self) -> None:
        self.bytes = bytearray(4 * BLOCK_BYTES)
        self.missing = range(0)
        self.reads: list[tuple[int, int]] = []
        self.now = 100.0
        self.blocks = Blocks(self.read, lambda: self.now)

    def read(self, paddr: int, length: int) -> bytes:
        self.reads.append((paddr, length))
        if paddr + length > len(self.bytes) or set(range(paddr, paddr + length)) & set(
            self.missing
        ):
            raise MemoryGap(Outcome.UNREADABLE, "no memory")
        return bytes(self.bytes[paddr : paddr + length])


def test_one_command_for_a_block() -> None:
    source = Source()
    for at in (0, 8, 4096, BLOCK_BYTES - 1):
        assert source.blocks.read(at, 1) == b"\0"
    assert source.reads == [(0, BLOCK_BYTES)]


def test_across_blocks() -> None:
    source = Source()
    source.bytes[BLOCK_BYTES - 1 : BLOCK_BYTES + 1] = b"ab"
    assert source.blocks.read(BLOCK_BYTES - 1, 2) == b"ab"
    assert len(source.blocks.read(0, 3 * BLOCK_BYTES)) == 3 * BLOCK_BYTES


def test_a_block_that_is_no_memory_in_part() -> None:
    source = Source()
    source.missing = range(100, 200)
    source.bytes[50] = 7
    assert source.blocks.read(50, 1) == b"\7"
    with pytest.raises(MemoryGap):
        source.blocks.read(150, 1)


def test_each_look_reads_again() -> None:
    """Two looks that agree prove something only if the second one reads memory."""
    source = Source()
    seen: list[int] = []

    def look() -> int:
        seen.append(source.blocks.read(0, 1)[0])
        assert source.blocks.read(0, 1)[0] == seen[-1]  # kept within the look
        source.bytes[0] += 1
        return seen[-1]

    look_until(lambda _: False, look, live=True)
    assert seen == [0, 1, 2, 3, 4]


def test_all_caches_are_forgotten() -> None:
    sources = [Source(), Source()]
    for one in sources:
        one.blocks.read(0, 1)
        one.bytes[0] = 9
    new_look()
    assert [one.blocks.read(0, 1) for one in sources] == [b"\11", b"\11"]


def test_time_ends_a_look() -> None:
    source = Source()
    source.blocks.read(0, 1)
    source.now += MOST_SECONDS / 2
    source.blocks.read(BLOCK_BYTES, 1)
    source.now += MOST_SECONDS * 0.75
    source.bytes[0] = source.bytes[BLOCK_BYTES] = 9
    # Counted from the first block: none may be older.
    assert source.blocks.read(BLOCK_BYTES, 1) == b"\11"
    assert source.blocks.read(0, 1) == b"\11"


def test_no_more_than_so_many_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "_MOST_BLOCKS", 2)
    source = Source()
    for number in (0, 1, 2, 0):
        source.blocks.read(number * BLOCK_BYTES, 1)
    assert len(source.reads) == 4
    assert len(source.blocks._blocks) == 2
