# SPDX-License-Identifier: GPL-2.0-or-later
"""Walking page tables: takes a root and a way to read, gives ranges and walks."""

from __future__ import annotations

from pageproof.walk.account import (
    USE_NORMAL,
    USE_SPECIAL,
    Accounted,
    Accounts,
    FramePlace,
    TableUse,
)
from pageproof.walk.make import make_walker
from pageproof.walk.protocol import Index, Part, Swept, Walker
from pageproof.walk.ranges import TooMuchWork, walk_range
from pageproof.walk.sides import Side, Sides, Spans
from pageproof.walk.threads import in_threads
from pageproof.walk.walker import ReadPhysical, walk_address, zeros_made_up

__all__ = [
    "USE_NORMAL",
    "USE_SPECIAL",
    "Accounted",
    "Accounts",
    "FramePlace",
    "Index",
    "Part",
    "ReadPhysical",
    "Side",
    "Sides",
    "Spans",
    "Swept",
    "TableUse",
    "TooMuchWork",
    "Walker",
    "in_threads",
    "make_walker",
    "walk_address",
    "walk_range",
    "zeros_made_up",
]
