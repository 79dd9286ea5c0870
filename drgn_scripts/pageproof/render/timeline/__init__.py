# SPDX-License-Identifier: GPL-2.0-or-later
"""What happens over time, written as it happens: a timeline as text, records as JSON lines."""

from __future__ import annotations
