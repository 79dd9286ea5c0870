# SPDX-License-Identifier: GPL-2.0-or-later
"""What happens over time: arm places, receive hits, decode them."""

from __future__ import annotations
