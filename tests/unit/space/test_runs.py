# SPDX-License-Identifier: GPL-2.0-or-later
"""Addresses of a region's pages as runs: the same as the list of them."""

from __future__ import annotations

import random

import pytest

from pageproof.space.runs import Runs
from pageproof.space.units import PAGE_BYTES


def random_list(rng: random.Random) -> list[int | None]:
    pages: list[int | None] = []
    while len(pages) < 60:
        first = rng.choice([None, 0, 0x1000, 0x123, (1 << 64) - 64 * PAGE_BYTES])
        count = rng.randrange(1, 6)
        pages += [None if first is None else first + page * PAGE_BYTES for page in range(count)]
    return pages


@pytest.mark.parametrize("seed", range(20))
def test_runs_are_the_list(seed: int) -> None:
    rng = random.Random(seed)
    pages = random_list(rng)
    runs = Runs.by_page(len(pages), {at: one for at, one in enumerate(pages) if one is not None})
    assert list(runs) == [runs[at] for at in range(len(pages))] == pages
    assert runs[-1] == pages[-1]
    assert runs[3:40:2] == pages[3:40:2]
    assert len(runs.runs) < sum(one is not None for one in pages)
    with pytest.raises(IndexError):
        runs[len(pages)]


@pytest.mark.parametrize("seed", range(20))
def test_parts_are_the_list_in_the_windows(seed: int) -> None:
    rng = random.Random(100 + seed)
    pages = random_list(rng)
    windows = [(rng.randrange(80), rng.randrange(12)) for _ in range(rng.randrange(4))]
    there = {page for first, count in windows for page in range(first, first + count)}
    expected = [one if at in there else None for at, one in enumerate(pages)]
    of_list = Runs.parts_of(pages, windows)
    by_page = {at: one for at, one in enumerate(pages) if one is not None}
    of_runs = Runs.parts_of(Runs.by_page(len(pages), by_page), windows)
    assert list(of_list) == list(of_runs) == expected
    assert of_list.packed == of_runs.packed


def test_parts_of_contiguous_addresses() -> None:
    pages = range(0x7000, 0x7000 + 10 * PAGE_BYTES, PAGE_BYTES)
    assert Runs.parts_of(pages, [(8, 5), (1, 2), (20, 1)]).runs == [
        (1, 2, 0x8000),
        (8, 2, 0xF000),
    ]


def test_terabytes_are_a_few_numbers() -> None:
    runs = Runs(1 << 40, [(5, 1 << 39, 0x1000), ((1 << 40) - 1, 7, 0)])
    assert (runs[4], runs[5], runs[1 << 39], runs[-1]) == (None, 0x1000, (1 << 51) - 0x4000, 0)
    assert runs.runs[-1] == ((1 << 40) - 1, 1, 0)
    assert Runs.parts_of(runs, [(4, 3)]).runs == [(5, 2, 0x1000)]


@pytest.mark.parametrize("runs", [[(0, 2, 0), (1, 1, 0)], [(0, 1, 1 << 64)], [(0, 1, -1)]])
def test_nonsense_is_refused(runs: list[tuple[int, int, int]]) -> None:
    with pytest.raises(ValueError, match="page"):
        Runs(8, runs)
