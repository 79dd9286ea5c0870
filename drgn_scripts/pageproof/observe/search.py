# SPDX-License-Identifier: GPL-2.0-or-later
"""Search all processes of a target while processes start and exit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from pageproof.attach import Target
from pageproof.find.process.mappings import Wanted
from pageproof.find.shared import (
    Claimed,
    Finder,
    Found,
    FoundClaims,
    Unclaimed,
    find_claims,
    find_shared,
)
from pageproof.model import PagingFacts, TaskFault
from pageproof.observe.attempts import look_until

_Found = TypeVar("_Found", Found, FoundClaims)


def search_shared(
    target: Target,
    paging: PagingFacts,
    finders: Sequence[Finder],
    pid: int | None = None,
    only: Wanted | None = None,
) -> Found:
    """Find every VMA that maps shared memory; see :func:`find_shared`.

    On a busy system each look meets some process that is just being created or torn down. Such a
    process is searched again by itself; usually it has exited by then.
    """

    def search(one: int | None) -> Found:
        return find_shared(target.prog, paging, finders, one, only)

    return _search(search, _with_processes, pid, live=target.facts.live)


def search_claims(
    target: Target,
    paging: PagingFacts,
    finders: Sequence[Finder],
    pid: int | None = None,
    only: Wanted | None = None,
) -> FoundClaims:
    """Search as :func:`search_shared`, for what identifies the mappings and their claims alone."""

    def search(one: int | None) -> FoundClaims:
        return find_claims(target.prog, paging, finders, one, only)

    return _search(search, _with_claims, pid, live=target.facts.live)


def _search(
    search: Callable[[int | None], _Found],
    merge: Callable[[_Found, _Found, int], _Found],
    pid: int | None,
    *,
    live: bool,
) -> _Found:
    """Search, and put a new search of each process that could not be read in its place."""
    found = search(pid)
    for fault in found.faults if live else ():
        if fault.pid:
            one = fault.pid
            again, _ = look_until(lambda seen: not seen.faults, partial(search, one), live=True)
            found = merge(found, again, one)
    return found


def _place(one: Claimed) -> tuple[int, int]:
    vma = one.mapping.vma
    return one.mapping.pid, vma.start if vma else 0


def _with_processes(found: Found, again: Found, pid: int) -> Found:
    others = tuple(one for one in found.claimed if one.mapping.pid != pid)
    return replace(
        found,
        claimed=tuple(sorted((*others, *again.claimed), key=_place)),
        unknown=(*(one for one in found.unknown if one.mapping.pid != pid), *again.unknown),
        unclaimed=_unclaimed(found, again),
        faults=_faults(found, again, pid),
    )


def _with_claims(found: FoundClaims, again: FoundClaims, pid: int) -> FoundClaims:
    others = {key: claim for key, claim in found.claims.items() if key[0] != pid}
    return FoundClaims(
        {**others, **again.claims}, _unclaimed(found, again), _faults(found, again, pid)
    )


def _unclaimed(found: Found | FoundClaims, again: Found | FoundClaims) -> tuple[Unclaimed, ...]:
    return tuple(dict.fromkeys((*found.unclaimed, *again.unclaimed)))


def _faults(
    found: Found | FoundClaims, again: Found | FoundClaims, pid: int
) -> tuple[TaskFault, ...]:
    return (*(one for one in found.faults if one.pid != pid), *again.faults)
