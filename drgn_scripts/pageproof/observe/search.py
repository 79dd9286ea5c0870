# SPDX-License-Identifier: GPL-2.0-or-later
"""Searching all processes of a target on which processes come and go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import drgn

from pageproof.attach import Target
from pageproof.find.shared import Claimed, Finder, Found, find_shared
from pageproof.model import PagingFacts
from pageproof.observe.attempts import look_until


def search_shared(
    target: Target,
    paging: PagingFacts,
    finders: Sequence[Finder],
    pid: int | None = None,
    only: Callable[[drgn.Object], bool] | None = None,
) -> Found:
    """Every VMA that maps memory which the kernel shares; see :func:`find_shared`.

    Where processes fork and exit all the time, each look meets some other one that is just being
    made or torn down. Such a process is looked at again by itself: mostly it has gone by then.
    """

    def search(one: int | None) -> Found:
        return find_shared(target.prog, paging, finders, one, only)

    found = search(pid)
    for fault in found.faults if target.facts.live else ():
        if fault.pid:
            found = _in_its_place(found, fault.pid, search)
    return found


def _place(one: Claimed) -> tuple[int, int]:
    vma = one.mapping.vma
    return one.mapping.pid, vma.start if vma else 0


def _in_its_place(found: Found, pid: int, search: Callable[[int | None], Found]) -> Found:
    """What a search of one process gives, in place of what the search of all gave of it."""
    again, _ = look_until(lambda seen: not seen.faults, lambda: search(pid), live=True)
    others = tuple(one for one in found.claimed if one.mapping.pid != pid)
    return replace(
        found,
        claimed=tuple(sorted((*others, *again.claimed), key=_place)),
        unknown=(*(one for one in found.unknown if one.mapping.pid != pid), *again.unknown),
        unclaimed=tuple(dict.fromkeys((*found.unclaimed, *again.unclaimed))),
        faults=(*(one for one in found.faults if one.pid != pid), *again.faults),
    )
