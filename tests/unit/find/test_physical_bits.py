# SPDX-License-Identifier: GPL-2.0-or-later
"""Address bits above MAXPHYADDR."""

from __future__ import annotations

import pytest
from unit.tables import PROTNONE, PSE, TABLE, Tables
from unit.walk.test_walk import ADDRESS_BITS, ROOT, USER, four_levels

from pageproof.arch.x86_64.paging import X86Paging
from pageproof.model import Outcome
from pageproof.model.asked import WalkerChoice
from pageproof.walk import make_walker, walk_address

BEYOND = 1 << 40
FORTY = X86Paging(levels=4, physical_bits=40)


@pytest.mark.parametrize(
    ("tables", "steps"),
    [
        (four_levels(0x7000 | BEYOND | TABLE), 4),
        (four_levels(1 << 51 | TABLE), 4),
        (four_levels(((0x7000 | BEYOND) ^ ADDRESS_BITS) | PROTNONE), 4),
        (four_levels(0, pmd=BEYOND | TABLE | PSE), 3),
        (four_levels(0, pmd=BEYOND | TABLE), 3),
        (four_levels(0, pgd=BEYOND | TABLE), 1),
    ],
    ids=["page", "highest bit", "prot-none", "huge", "table", "top"],
)
def test_a_frame_that_the_processor_can_not_name(tables: Tables, steps: int) -> None:
    """It gives no frame, and no table is read there. Both walkers agree."""
    for choice in (WalkerChoice.PYTHON, WalkerChoice.C):
        walk = make_walker(tables.read, FORTY, choice).walk(ROOT, USER)
        assert (walk.outcome, walk.pfn) == (Outcome.RESERVED_BITS, None)
        assert (len(walk.steps), walk.steps[-1].base) == (steps, None)


def test_the_last_frame_that_it_can_name() -> None:
    raw = BEYOND - 0x1000 | TABLE
    assert walk_address(four_levels(raw).read, ROOT, USER, FORTY).pfn == (BEYOND >> 12) - 1
    closed = ((BEYOND - 0x1000) ^ ADDRESS_BITS) | PROTNONE
    assert walk_address(four_levels(closed).read, ROOT, USER, FORTY).outcome is Outcome.PROT_NONE


def test_the_c_bit_may_lie_beyond() -> None:
    """With SME the kernel lowers MAXPHYADDR, and the C-bit is above it."""
    c_bit = 1 << 47
    paging = X86Paging(levels=4, sme_mask=c_bit, physical_bits=43)
    assert walk_address(four_levels(0x7000 | c_bit | TABLE).read, ROOT, USER, paging).pfn == 7
    beyond = walk_address(four_levels(1 << 44 | c_bit | TABLE).read, ROOT, USER, paging)
    assert beyond.outcome is Outcome.RESERVED_BITS
