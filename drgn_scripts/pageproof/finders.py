# SPDX-License-Identifier: GPL-2.0-or-later
"""The names that a package with its own finder needs; see docs/your-driver.md."""

from __future__ import annotations

from pageproof.find.shared.finder import Claim, Finder, Runs

__all__ = ["Claim", "Finder", "Runs"]
