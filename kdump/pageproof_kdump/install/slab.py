# SPDX-License-Identifier: GPL-2.0-or-later
"""The dump level for the kernel and the makedumpfile of this machine (pageproof_kdump.filter)."""

from __future__ import annotations

from typing import Final

from pageproof_kdump.check.facts import Facts
from pageproof_kdump.check.machine import Machine
from pageproof_kdump.engine import NoFact
from pageproof_kdump.filter import USER, sound_level, unread_keys

DEFAULT_LEVEL: Final = 31


def safe_level(wanted: int | None) -> tuple[int, str]:
    """Return the level to use, and a sentence if it is not the wanted one.

    Where this cannot be decided, as without root, the initramfs decides before it saves.
    """
    level = DEFAULT_LEVEL if wanted is None else wanted
    facts = Facts(Machine())
    try:
        program = facts.program
        lost = level & USER and program and unread_keys(facts.vmcoreinfo, program.data)
    except NoFact:
        return level, ""
    if not lost:
        return level, ""
    sound = sound_level(level)
    return sound, (
        f"level {level} would lose slab pages of this kernel with this makedumpfile; using {sound}"
    )
