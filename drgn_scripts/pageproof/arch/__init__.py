# SPDX-License-Identifier: GPL-2.0-or-later
"""What differs between architectures, behind one object for each.

The rest of the package gets the object of its target from :func:`of` or :func:`of_program`, and
page tables' form from :meth:`Architecture.paging`. It imports no architecture by name.
"""

from __future__ import annotations

from pageproof.arch.architecture import Architecture
from pageproof.arch.known import ASSUMED, ONLY, of, of_program, row_names, supports_machine
from pageproof.arch.paging import Entry, Level, Paging

__all__ = [
    "ASSUMED",
    "ONLY",
    "Architecture",
    "Entry",
    "Level",
    "Paging",
    "of",
    "of_program",
    "row_names",
    "supports_machine",
]
