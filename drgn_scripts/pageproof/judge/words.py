# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbers as words, for sentences."""

from __future__ import annotations

from collections.abc import Sequence


def page_list(pages: Sequence[int]) -> str:
    """Return page numbers as text: "page 3", "pages 0-2, 5"."""
    spans: list[list[int]] = []
    for page in pages:
        if spans and page == spans[-1][1] + 1:
            spans[-1][1] = page
        else:
            spans.append([page, page])
    texts = [f"{first}" if first == last else f"{first}-{last}" for first, last in spans]
    return ("page " if len(pages) == 1 else "pages ") + ", ".join(texts)
