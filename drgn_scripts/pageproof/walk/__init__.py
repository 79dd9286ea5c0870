# SPDX-License-Identifier: GPL-2.0-or-later
"""The room that walks page tables: takes a root and a way to read, gives what it saw."""

from __future__ import annotations

from pageproof.walk.account import (
    TYPE_BITS,
    USE_NORMAL,
    USE_SPECIAL,
    Accounted,
    Accounts,
    FramePlace,
    TableUse,
)
from pageproof.walk.make import make_walker
from pageproof.walk.protocol import Index, Swept, Walker
from pageproof.walk.ranges import TooMuchWork, walk_range
from pageproof.walk.walker import ReadPhysical, walk_address, zeros_made_up
from pageproof.walk.x86_64 import LINUX_PAT, MOST_PHYSICAL_BITS, Paging

__all__ = [
    "LINUX_PAT",
    "MOST_PHYSICAL_BITS",
    "TYPE_BITS",
    "USE_NORMAL",
    "USE_SPECIAL",
    "Accounted",
    "Accounts",
    "FramePlace",
    "Index",
    "Paging",
    "ReadPhysical",
    "Swept",
    "TableUse",
    "TooMuchWork",
    "Walker",
    "make_walker",
    "walk_address",
    "walk_range",
    "zeros_made_up",
]
