# SPDX-License-Identifier: GPL-2.0-or-later
"""Look at data that changes: repeatedly, a bounded number of times."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable
from typing import Final, TypeVar

from pageproof.attach.looks import new_look
from pageproof.errors import TornError

#: Looks at changing data before it is given up.
ATTEMPTS: Final = 5
PAUSE_SECONDS: Final = 0.01

_Seen = TypeVar("_Seen")


def look_until(
    settled: Callable[[_Seen], bool], look: Callable[[], _Seen], *, live: bool
) -> tuple[_Seen, int]:
    """Look until the result has settled, a bounded number of times; once if nothing can change.

    A look that raises TornError has not settled.

    Returns:
        The last result, and the number of looks.

    Raises:
        TornError: the last look raised it.
    """
    for attempt in range(1, ATTEMPTS):
        if not live:
            break
        new_look()
        try:
            seen = look()
            if settled(seen):
                return seen, attempt
        except TornError:
            pass
        time.sleep(PAUSE_SECONDS)
    new_look()
    return look(), ATTEMPTS if live else 1


def nothing_new(losses: Callable[[_Seen], Iterable[Hashable]]) -> Callable[[_Seen], bool]:
    """Return a test for :func:`look_until`: whether a look lost nothing that the last one had.

    What two looks lose in the same way is not in motion, and a third would lose it too.

    Args:
        losses: returns what a look could not read, with the reasons.
    """
    before: frozenset[Hashable] = frozenset()

    def settled(seen: _Seen) -> bool:
        nonlocal before
        now, last = frozenset(losses(seen)), before
        before = now
        return now <= last

    return settled


def look_again(look: Callable[[], _Seen], *, live: bool) -> _Seen:
    """Look once, and again if the data was torn.

    Raises:
        TornError: as :func:`look_until`.
    """
    return look_until(lambda _: True, look, live=live)[0]
