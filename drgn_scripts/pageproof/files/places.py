# SPDX-License-Identifier: GPL-2.0-or-later
"""Read the text of a place back into data.

Baselines name places as text, and so do reports of a pageproof that did not write the data beside
it. The texts are those of :func:`pageproof.render.where.where_words`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from pageproof.model.where import NOWHERE, Where, WhereKind

#: Addresses have up to 64 bits; a longer number is part of a name.
_HEX: Final = "[0-9a-f]{1,16}"
_NUMBER: Final = "[0-9]{1,20}"
# A process may have any name, with commas and parentheses too: each text is matched to its end.
_SPACE: Final = rf"(?:(?P<tables>[a-z_]+_mm)|pid (?P<pid>{_NUMBER}) \((?P<comm>.*)\))"

_FORMS: Final[tuple[tuple[WhereKind, re.Pattern[str]], ...]] = tuple(
    (kind, re.compile(form, re.DOTALL))
    for kind, form in (
        (WhereKind.FRAMES, rf"PFN 0x(?P<frame>{_HEX})(?:-0x(?P<last_frame>{_HEX}))?"),
        (WhereKind.SECTION, rf"section (?P<section>{_NUMBER}), PFN 0x(?P<frame>{_HEX})"),
        (WhereKind.VMA, rf"VMA at 0x(?P<address>{_HEX})"),
        (WhereKind.KERNEL, r"(?P<address>[0-9a-f]{16})-(?P<last>[0-9a-f]{16})"),
        (
            WhereKind.ENTRY,
            rf"{_SPACE}(?P<user_half>, user half)?, entry (?P<entry>{_NUMBER})",
        ),
        (WhereKind.SPACE, rf"{_SPACE}, (?P<address>{_HEX})(?:-(?P<last>{_HEX}))?"),
        (
            WhereKind.PROCESS,
            rf"(?:page (?P<page>{_NUMBER}), |(?P<region>.*), )?pid (?P<pid>{_NUMBER})"
            rf"(?: at 0x(?P<address>{_HEX}))?",
        ),
        (WhereKind.TASK, rf"pid (?P<pid>{_NUMBER}) (?P<comm>.*)"),
        (WhereKind.ROW, r"(?P<row>[a-z0-9-]+) at (?P<address>[0-9a-f]{16})"),
        (WhereKind.TABLES, r"(?P<tables>[a-z_]+_mm(?:, user half)?)"),
    )
)


def _hex(text: str) -> int:
    return int(text, 16)


_READERS: Final[dict[str, Callable[[str], object]]] = {
    "user_half": bool,
    "page": int,
    "pid": int,
    "entry": int,
    "section": int,
    "address": _hex,
    "last": _hex,
    "frame": _hex,
    "last_frame": _hex,
}


def read_where(text: str) -> Where:
    """Return the place that a text names; a text of no known form names a region."""
    if not text:
        return NOWHERE
    for kind, form in _FORMS:
        found = form.fullmatch(text)
        if found is not None:
            given = {name: one for name, one in found.groupdict().items() if one is not None}
            read = {name: _READERS.get(name, str)(one) for name, one in given.items()}
            return Where(kind, **read)  # type: ignore[arg-type]
    return Where(WhereKind.REGION, region=text)
