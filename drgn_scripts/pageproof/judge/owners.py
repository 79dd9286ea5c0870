# SPDX-License-Identifier: GPL-2.0-or-later
"""Frames of an area of vmalloc space, and whose they are."""

from __future__ import annotations

from pageproof.model import AreaOwner
from pageproof.model.rule import Shown


def stack_shown(area: AreaOwner) -> Shown:
    """Whose stack, as evidence."""
    return ("task", f"{area.pid} ({area.comm})"), ("stack", f"0x{area.start:x}")


def area_words(area: AreaOwner) -> str:
    """An area of a driver, in words."""
    return f"vmalloc area 0x{area.start:x} of {area.caller}, module {area.module}"
