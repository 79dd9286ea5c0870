# SPDX-License-Identifier: GPL-2.0-or-later
"""Search all processes of a target while processes start and exit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from pageproof.attach import Target
from pageproof.find.process.mappings import Wanted
from pageproof.find.shared import Claimed, Finder, Found, FoundClaims, find_claims, find_shared
from pageproof.model import PagingFacts
from pageproof.observe.attempts import look_until


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

    found = search(pid)
    for fault in found.faults if target.facts.live else ():
        if fault.pid:
            found = _in_its_place(found, fault.pid, search)
    return found


def _place(one: Claimed) -> tuple[int, int]:
    vma = one.mapping.vma
    return one.mapping.pid, vma.start if vma else 0


def _in_its_place(found: Found, pid: int, search: Callable[[int | None], Found]) -> Found:
    """Replace what the search of all processes found in one by a new search of that one."""
    again, _ = look_until(lambda seen: not seen.faults, lambda: search(pid), live=True)
    others = tuple(one for one in found.claimed if one.mapping.pid != pid)
    return replace(
        found,
        claimed=tuple(sorted((*others, *again.claimed), key=_place)),
        unknown=(*(one for one in found.unknown if one.mapping.pid != pid), *again.unknown),
        unclaimed=tuple(dict.fromkeys((*found.unclaimed, *again.unclaimed))),
        faults=(*(one for one in found.faults if one.pid != pid), *again.faults),
    )


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

    found = search(pid)
    for fault in found.faults if target.facts.live else ():
        if fault.pid:
            found = _with_claims(found, fault.pid, search)
    return found


def _with_claims(
    found: FoundClaims, pid: int, search: Callable[[int | None], FoundClaims]
) -> FoundClaims:
    again, _ = look_until(lambda seen: not seen.faults, lambda: search(pid), live=True)
    others = {key: claim for key, claim in found.claims.items() if key[0] != pid}
    return FoundClaims(
        {**others, **again.claims},
        tuple(dict.fromkeys((*found.unclaimed, *again.unclaimed))),
        (*(one for one in found.faults if one.pid != pid), *again.faults),
    )
