# SPDX-License-Identifier: GPL-2.0-or-later
"""The room that attaches: takes what the user named, gives a program and what it can do."""

from __future__ import annotations

from pageproof.attach.attach import Target, Wanted, given_target, open_target
from pageproof.attach.reader import Reader

__all__ = ["Reader", "Target", "Wanted", "given_target", "open_target"]
