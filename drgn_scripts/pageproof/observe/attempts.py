# SPDX-License-Identifier: GPL-2.0-or-later
"""Looking at what moves: again and again, within bounds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

from pageproof.errors import TornError

#: How often what moves is looked at before it is given up.
ATTEMPTS: Final = 5
PAUSE_SECONDS: Final = 0.01

_Seen = TypeVar("_Seen")


def look_until(
    settled: Callable[[_Seen], bool], look: Callable[[], _Seen], *, live: bool
) -> tuple[_Seen, int]:
    """Look until it has settled, a bounded number of times; once where nothing can move.

    A TornError is something that has not settled.

    Returns:
        What was seen last, and how many looks it took.

    Raises:
        TornError: the last look raised it.
    """
    for attempt in range(1, ATTEMPTS):
        if not live:
            break
        try:
            seen = look()
            if settled(seen):
                return seen, attempt
        except TornError:
            pass
        time.sleep(PAUSE_SECONDS)
    return look(), ATTEMPTS if live else 1


def look_again(look: Callable[[], _Seen], *, live: bool) -> _Seen:
    """Look once, and again where data was torn.

    Raises:
        TornError: as :func:`look_until`.
    """
    return look_until(lambda _: True, look, live=live)[0]
