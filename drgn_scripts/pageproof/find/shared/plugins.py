# SPDX-License-Identifier: GPL-2.0-or-later
"""Finders of other packages, from entry points of the group ``pageproof.finders``."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from pageproof.errors import PageproofError
from pageproof.find.shared.finder import Finder

GROUP: Final = "pageproof.finders"


def plugin_finders(taken: Iterable[str]) -> tuple[Finder, ...]:
    """Return the finders of all installed packages, in order of the entry points' names.

    Args:
        taken: kinds that are in use already.

    Raises:
        PageproofError: one cannot be loaded, is not a finder, or has the kind of another.
    """
    kinds = set(taken)
    found = []
    for point in sorted(entry_points(group=GROUP), key=lambda one: one.name):
        finder = _load(point)
        if finder.kind in kinds:
            raise _unusable(point, f"there is a finder of kind {finder.kind!r} already")
        kinds.add(finder.kind)
        found.append(finder)
    return tuple(found)


def _load(point: EntryPoint) -> Finder:
    try:
        finder = point.load()
    except Exception as error:  # an import can raise anything
        raise _unusable(point, f"{type(error).__name__}: {error}") from None
    if not isinstance(finder, Finder):
        raise _unusable(
            point, f"it is a {type(finder).__name__} and not a pageproof.finders.Finder"
        )
    return finder


def _unusable(point: EntryPoint, why: str) -> PageproofError:
    package = point.dist.name if point.dist else point.module
    return PageproofError(
        f"the finder {point.name} of the package {package} can't be used: {why}",
        point.value,
        f"fix the package, or remove it (pip uninstall {package})",
    )
