# SPDX-License-Identifier: GPL-2.0-or-later
"""The live kernel's tables of nothing but zeros: believed only where they are read themselves."""

from __future__ import annotations

import pytest
from unit.tables import TABLE, Tables

from pageproof.arch.x86_64.paging import X86Paging
from pageproof.model import Outcome
from pageproof.model.asked import WalkerChoice
from pageproof.observe.walkers import _believable
from pageproof.walk import make_walker

ROOT, PUD = 0x1000, 0x2000


@pytest.mark.parametrize("choice", [WalkerChoice.PYTHON, WalkerChoice.C])
@pytest.mark.parametrize(
    ("real", "empty", "outcome"),
    [
        ({PUD >> 12}, True, Outcome.NONE),
        (set(), True, Outcome.ZERO_FILLED),
        (set(), False, Outcome.NONE),
    ],
)
def test_tables_of_zeros(
    choice: WalkerChoice, real: set[int], empty: bool, outcome: Outcome
) -> None:
    """``real``: frames that are known to be read; a table with an entry needs no such knowledge."""
    tables = Tables({ROOT: PUD | TABLE, PUD + 8: 0 if empty else 0x3000 | TABLE})
    read = _believable(tables.read, lambda pfn: pfn in real)
    walker = make_walker(read, X86Paging(levels=4), choice)
    assert walker.walk(ROOT, 0).outcome is outcome
    (first, *_) = walker.ranges(ROOT, 0, 0x1000)
    assert first.outcome is outcome
