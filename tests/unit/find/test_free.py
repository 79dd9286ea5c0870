# SPDX-License-Identifier: GPL-2.0-or-later
"""Broken lists of free pages: each walk ends, and pages found before are kept."""

from __future__ import annotations

from typing import Any

import drgn
import pytest

from pageproof.find.frame.flags import flag_names
from pageproof.find.frame.free import FreeBlock, FreeLists
from pageproof.find.frame.records import PageLayout

VMEMMAP = 0xFFFF_EA00_0000_0000
LAYOUT = PageLayout(page_bytes=64, mapcount=48, private=40, lru=8, tests=())
HEAD = 0xFFFF_8880_0000_0000


class Memory:
    """A target with words at addresses; other addresses cannot be read."""

    def __init__(self, words: dict[int, int]) -> None:
        self.words, self.cache = words, {"pageproof page layout": LAYOUT}

    def read_u64(self, address: int) -> int:
        if address not in self.words:
            raise drgn.FaultError("not there", address)
        return self.words[address]


def link(pfn: int) -> int:
    return VMEMMAP + pfn * 64 + 8


def walk(words: dict[int, int]) -> tuple[list[int], str]:
    prog: Any = Memory(words)
    lists = FreeLists(prog)
    lists._vmemmap = VMEMMAP
    return list(lists._list(HEAD, set())), lists.doubt


@pytest.mark.parametrize(
    ("words", "pages", "doubt"),
    [
        ({HEAD: HEAD}, [], ""),
        ({HEAD: link(5), link(5): link(3), link(3): HEAD}, [5, 3], ""),
        ({HEAD: link(5), link(5): link(3), link(3): link(5)}, [5, 3], "broken"),
        ({HEAD: link(5), link(5): link(5)}, [5], "broken"),
        ({HEAD: link(5) + 8}, [], "broken"),
        ({HEAD: link(5)}, [5], "can't be read"),
    ],
    ids=["empty", "two", "ring", "itself", "no-page", "lost"],
)
def test_a_list_ends(words: dict[int, int], pages: list[int], doubt: str) -> None:
    found, why = walk(words)
    assert found == pages
    assert (doubt in why) == bool(doubt) or not doubt
    assert bool(why) == bool(doubt)


def test_a_block_has_its_frames() -> None:
    block = FreeBlock(8, 2)
    assert [pfn for pfn in range(16) if block.has(pfn)] == [8, 9, 10, 11]
    assert block.end_pfn == 12


#: Names by bit in 6.12, in the order of its enum pageflags.
NAMES = {
    3: ("uptodate", "reported"),
    4: ("dirty", "savepinned"),
    8: ("owner_priv_1", "checked", "swapcache", "foreign"),
    16: ("mappedtodisk", "anon_exclusive"),
    19: ("swapbacked",),
}


@pytest.mark.parametrize(
    ("flags", "mapping", "buddy", "words"),
    [
        (1 << 3, 0, False, "uptodate"),
        (1 << 3, 0, True, "reported"),
        (1 << 4 | 1 << 16, 0, False, "dirty mappedtodisk"),
        (1 << 16, 0x1001, False, "anon_exclusive"),
        (1 << 16, 0x1000, False, "mappedtodisk"),
        (1 << 8, 0x1001, False, "owner_priv_1"),
        (1 << 8 | 1 << 19, 0x1001, False, "swapcache swapbacked"),
        (0, 0, False, ""),
    ],
)
def test_one_name_for_each_flag(flags: int, mapping: int, buddy: bool, words: str) -> None:
    prog: Any = Memory({})
    prog.cache = {"pageproof page flags": NAMES}
    assert " ".join(flag_names(prog, flags, mapping, buddy=buddy)) == words
