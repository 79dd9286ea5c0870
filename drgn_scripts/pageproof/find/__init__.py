# SPDX-License-Identifier: GPL-2.0-or-later
"""The room that reads the kernel's data: takes a program, gives facts, never a drgn object."""

from __future__ import annotations
