# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading ahead in threads."""

import threading
from collections.abc import Iterator

import pytest

from pageproof.find.bulk.ahead import ahead


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_results_are_in_order(threads: int) -> None:
    assert list(ahead(range(20), lambda one: one * one, threads)) == [n * n for n in range(20)]
    assert list(ahead([], str, threads)) == []


def test_the_next_items_are_read_meanwhile() -> None:
    """The call for the second item ends the wait of the first: both are in threads at once."""
    begun = threading.Event()

    def read(number: int) -> int:
        if number:
            begun.set()
        else:
            assert begun.wait(60)
        return number

    assert list(ahead(range(3), read, 2)) == [0, 1, 2]


def test_few_results_wait() -> None:
    taken = []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    results = ahead(items(), lambda one: one, 2)
    assert next(results) == 0
    assert len(taken) == 3
    assert next(results) == 1
    assert len(taken) == 4


@pytest.mark.parametrize("threads", [0, 2])
def test_an_error_comes_in_its_turn(threads: int) -> None:
    def read(number: int) -> int:
        if number == 2:
            raise ValueError("cannot be read")
        return number

    results = ahead(range(5), read, threads)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="cannot be read"):
        next(results)
    assert threading.active_count() == 1
