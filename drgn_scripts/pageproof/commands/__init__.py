# SPDX-License-Identifier: GPL-2.0-or-later
"""One file a command: where the rooms meet. None of them prints or exits."""

from __future__ import annotations
