# SPDX-License-Identifier: GPL-2.0-or-later
"""The parts of a split dump (``makedumpfile --split``).

Each part has the headers, VMCOREINFO, notes and bitmaps of the whole dump, and the data of a range
of pages. Source: makedumpfile's ``writeout_multiple_dumpfiles()``, ``reassemble_kdump_header()``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from pageproof.attach.kdump import ALL_PARTS, KdumpLayout
from pageproof.errors import PageproofError


@dataclass(frozen=True)
class SplitPart:
    """One file of a split dump."""

    path: Path
    layout: KdumpLayout


def check_parts(parts: Sequence[SplitPart]) -> tuple[SplitPart, ...]:
    """Check that files are different parts of one dump.

    Returns:
        The parts, in order of their pages.

    Raises:
        PageproofError: they are not, or none of them has a page.
    """
    first = parts[0]
    for one in parts:
        if one.layout.identity != first.layout.identity:
            raise PageproofError(
                f"this is a part of another dump than {first.path}",
                str(one.path),
                "give the files of one makedumpfile --split",
            )
    ordered = sorted(parts, key=lambda one: (one.layout.first_page, one.layout.end_page))
    filled = [one for one in ordered if one.layout.first_page < one.layout.end_page]
    for one, other in pairwise(filled):
        if other.layout.first_page < one.layout.end_page:
            raise PageproofError(
                f"this part of the dump has pages that {one.path} has too",
                str(other.path),
                "give each part once",
            )
    if not any(one.layout.pages for one in ordered):
        what = "this part of a split dump has no pages" if len(parts) == 1 else "no part has a page"
        raise PageproofError(what, str(first.path), ALL_PARTS)
    return tuple(ordered)


def missing_pages(parts: Sequence[SplitPart]) -> Iterator[range]:
    """Yield the ranges of pages that no part has, of parts that were checked."""
    end = 0
    for one in parts:
        if one.layout.first_page > end:
            yield range(end, one.layout.first_page)
        end = max(end, one.layout.end_page)
    if end < parts[0].layout.max_page:
        yield range(end, parts[0].layout.max_page)


def missing_parts(parts: Sequence[SplitPart]) -> tuple[str, ...]:
    """Return a note if there are such pages."""
    missing = list(missing_pages(parts))
    if not missing:
        return ()
    where = ", ".join(f"{one.start:#x} to {one.stop - 1:#x}" for one in missing[:3])
    more = f" and {len(missing) - 3} more ranges" if len(missing) > 3 else ""
    return (
        f"the dump is split, and the parts with frames {where}{more} were not given; {ALL_PARTS}",
    )
