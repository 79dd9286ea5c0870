# SPDX-License-Identifier: GPL-2.0-or-later
"""pageproof: proof that a kernel and a user mapping are the same physical memory."""

from __future__ import annotations

from typing import Final

__version__: Final = "0.1.0"
