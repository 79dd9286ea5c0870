# SPDX-License-Identifier: GPL-2.0-or-later
"""Owners of frames in vmalloc space, in words."""

from __future__ import annotations

from pageproof.model import AreaOwner
from pageproof.model.rule import Shown


def stack_shown(area: AreaOwner) -> Shown:
    """Return the task and the stack, as evidence."""
    return ("task", f"{area.pid} ({area.comm})"), ("stack", f"0x{area.start:x}")


def area_words(area: AreaOwner) -> str:
    """Return an area of a driver, in words."""
    return f"vmalloc area 0x{area.start:x} of {area.caller}, module {area.module}"
