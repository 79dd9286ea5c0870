# SPDX-License-Identifier: GPL-2.0-or-later
"""Work in threads: order of results, and errors."""

from __future__ import annotations

import threading

import pytest

from pageproof.walk.threads import in_threads


def test_results_keep_the_order_of_the_items() -> None:
    both = threading.Barrier(2, timeout=30)

    def worker(number: int) -> int:
        if number < 2:
            both.wait()  # both workers are at work at once
        return number * 10

    assert in_threads(range(50), [worker, worker]) == list(range(0, 500, 10))
    assert in_threads([], [worker]) == []


def test_one_worker_needs_no_thread() -> None:
    here = threading.current_thread()
    assert in_threads([1, 2], [lambda _: threading.current_thread()]) == [here, here]


def test_an_error_ends_all_workers() -> None:
    done: list[int] = []

    def worker(number: int) -> None:
        if number == 3:
            raise KeyError(number)
        done.append(number)

    with pytest.raises(KeyError):
        in_threads(range(100_000), [worker, worker])
    assert len(done) < 100_000
