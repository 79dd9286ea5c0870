# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbers as words, for sentences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def page_list(pages: Sequence[int]) -> str:
    """Return page numbers as text: "page 3", "pages 0-2, 5"."""
    runs: list[range] = []
    for page in pages:
        if runs and page == runs[-1].stop:
            runs[-1] = range(runs[-1].start, page + 1)
        else:
            runs.append(range(page, page + 1))
    return run_list(runs)


def run_list(runs: Iterable[range]) -> str:
    """Return runs of page numbers, which are apart, as text: see :func:`page_list`."""
    runs = tuple(runs)
    texts = [f"{run.start}" if len(run) == 1 else f"{run.start}-{run.stop - 1}" for run in runs]
    return ("page " if [len(run) for run in runs] == [1] else "pages ") + ", ".join(texts)
