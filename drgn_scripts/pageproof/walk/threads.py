# SPDX-License-Identifier: GPL-2.0-or-later
"""Work on independent address spaces in threads: the engine releases the GIL."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def in_threads(
    items: Sequence[_Item], workers: Sequence[Callable[[_Item], _Result]]
) -> list[_Result]:
    """Call a worker for each item. Each worker runs in a thread of its own.

    Args:
        items: each goes to the first worker that is free.
        workers: at least one. With one, or one item, no thread is started.

    Returns:
        The results, in the order of the items.

    Raises:
        BaseException: the first one of a worker. The other workers finish their current item.
    """
    if len(workers) == 1 or len(items) < 2:
        return [workers[0](item) for item in items]
    results: dict[int, _Result] = {}
    errors: list[BaseException] = []
    left = iter(range(len(items)))
    stop = threading.Event()

    def run(worker: Callable[[_Item], _Result]) -> None:
        try:
            for number in left:  # next() of a range is atomic: it holds the GIL
                if stop.is_set():
                    return
                results[number] = worker(items[number])
        except BaseException as error:
            errors.append(error)
            stop.set()

    threads = [threading.Thread(target=run, args=(worker,)) for worker in workers[: len(items)]]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    finally:  # after Ctrl-C too, no thread may go on to read the target
        stop.set()
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]
    return [results[number] for number in range(len(items))]
