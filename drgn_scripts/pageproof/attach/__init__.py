# SPDX-License-Identifier: GPL-2.0-or-later
"""The room that attaches: takes the target that the user named, gives a program and a reader."""

from __future__ import annotations

from pageproof.attach.debuginfo import DebugInfo
from pageproof.attach.kernelchoice import KernelChoice
from pageproof.attach.reader import Reader
from pageproof.attach.target import Target, Wanted, given_target, open_target

__all__ = [
    "DebugInfo",
    "KernelChoice",
    "Reader",
    "Target",
    "Wanted",
    "given_target",
    "open_target",
]
