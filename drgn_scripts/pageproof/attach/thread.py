# SPDX-License-Identifier: GPL-2.0-or-later
"""Python's work while drgn loads debug info."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def in_a_thread(work: Callable[[], None]) -> Iterator[None]:
    """Call a function in a thread during the block, and wait for it at the end.

    drgn releases Python's global lock while it reads debug info (drgn_begin_blocking() of
    libdrgn/python/program.c), which takes most of a command's start.
    """
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join()
