# SPDX-License-Identifier: GPL-2.0-or-later
"""Frames of an area of vmalloc space, and whose they are."""

from __future__ import annotations

from pageproof.model import AreaOwner, OwnerKind
from pageproof.model.rule import Shown


def stack_shown(area: AreaOwner) -> Shown:
    """Whose stack, as evidence."""
    return ("task", f"{area.pid} ({area.comm})"), ("stack", f"0x{area.start:x}")


def is_strangers(area: AreaOwner) -> bool:
    """Whether it is memory of a module that has nothing to do with the one that maps it."""
    return area.kind is OwnerKind.VMALLOC and area.owns and area.related is False


def area_words(area: AreaOwner) -> str:
    """An area of a driver, in words."""
    return f"vmalloc area 0x{area.start:x} of {area.caller}, module {area.module}"
