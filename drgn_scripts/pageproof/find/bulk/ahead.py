# SPDX-License-Identifier: GPL-2.0-or-later
"""Read in threads, some items ahead of the caller: the engine releases the GIL."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def ahead(
    items: Iterable[_Item], read: Callable[[_Item], _Result], threads: int
) -> Iterator[_Result]:
    """Yield the result for each item, in order, while the next ones are read.

    Args:
        items: what to read.
        read: called in a thread.
        threads: as many items are read ahead. With 0, no thread is started.

    Raises:
        BaseException: that of a call, in its turn.
    """
    if not threads:
        yield from map(read, items)
        return
    from concurrent.futures import Future, ThreadPoolExecutor  # takes 10 ms

    waiting: deque[Future[_Result]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for item in items:
            waiting.append(pool.submit(read, item))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:  # after Ctrl-C too, no thread may go on to read the target
        pool.shutdown(cancel_futures=True)
