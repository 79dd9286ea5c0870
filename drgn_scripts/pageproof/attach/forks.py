# SPDX-License-Identifier: GPL-2.0-or-later
"""Detecting a fork of a process that has used drgn.

drgn reads debug info with OpenMP (libdrgn/dwarf_info.c). Only the parent has the thread pool of GNU
OpenMP, and a child that needs the pool waits forever. A child of a parent with such threads must
therefore not open a target. The check is made when the process forks. drgn starts the threads at
the first look-up of a type, but never with OMP_NUM_THREADS=1 or on one core.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from pageproof.errors import PageproofError

_used = False
_threads_at_fork = False
_lost = False


def check_fork() -> None:
    """Note that drgn is about to be used.

    Raises:
        PageproofError: this process is a child without drgn's threads.
    """
    global _used
    if _lost:
        raise PageproofError(
            "this process was forked from one that has used pageproof, and drgn's threads are "
            "missing here",
            "",
            'start it by "spawn" or "forkserver" instead '
            '(multiprocessing.get_context("spawn")), use pageproof only in the children, or set '
            "OMP_NUM_THREADS=1 for the parent",
        )
    _used = True


def _before() -> None:
    global _threads_at_fork
    _threads_at_fork = _used and os.environ.get("OMP_NUM_THREADS") != "1" and _has_native_threads()


def _has_native_threads() -> bool:
    """Return whether there are threads that Python did not start, such as OpenMP's."""
    try:
        return len(list(Path("/proc/self/task").iterdir())) > threading.active_count()
    except OSError:
        return True


def _in_child() -> None:
    global _lost
    _lost = _lost or _threads_at_fork


os.register_at_fork(before=_before, after_in_child=_in_child)
