# SPDX-License-Identifier: GPL-2.0-or-later
"""The room that reads the kernel's data: takes a program, gives facts, lets no drgn object out."""

from __future__ import annotations
