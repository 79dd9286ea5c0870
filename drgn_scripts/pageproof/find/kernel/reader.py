# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the reader of a target is found, for the rooms that only have the program."""

from __future__ import annotations

from typing import Final

#: Where ``attach`` puts it in the program's cache.
READER: Final = "pageproof.reader"
