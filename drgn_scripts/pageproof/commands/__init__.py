# SPDX-License-Identifier: GPL-2.0-or-later
"""One file per command: observe, judge, report. No command prints or exits."""

from __future__ import annotations
