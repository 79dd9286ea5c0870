# SPDX-License-Identifier: GPL-2.0-or-later
"""Looking at what moves: again and again, within bounds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

#: How often what moves is looked at before it is given up.
ATTEMPTS: Final = 5
PAUSE_SECONDS: Final = 0.01

_Seen = TypeVar("_Seen")


def look_until(
    settled: Callable[[_Seen], bool], look: Callable[[], _Seen], *, live: bool
) -> tuple[_Seen, int]:
    """Look until it has settled, a bounded number of times; once where nothing can move.

    Returns:
        What was seen last, and how many looks it took.
    """
    attempts = 1
    seen = look()
    while live and not settled(seen) and attempts < ATTEMPTS:
        time.sleep(PAUSE_SECONDS)
        attempts += 1
        seen = look()
    return seen, attempts
