# SPDX-License-Identifier: GPL-2.0-or-later
"""What a package needs that brings a finder of its own (docs/your-driver.md has an example)."""

from __future__ import annotations

from pageproof.find.shared.finder import Claim, Finder

__all__ = ["Claim", "Finder"]
