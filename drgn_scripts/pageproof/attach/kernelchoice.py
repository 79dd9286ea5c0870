# SPDX-License-Identifier: GPL-2.0-or-later
"""What a user may ask for if a guest has panicked into its crash kernel."""

from __future__ import annotations

from enum import StrEnum


class KernelChoice(StrEnum):
    """Which of two kernels in one memory, of which one has panicked into the other."""

    RUNNING = "running"
    CRASHED = "crashed"
