# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands as the user sees them: one file for each, with its options, its checks and its run.

Nothing here imports drgn before a target is opened, so help and usage errors appear at once and
on any machine.
"""

from __future__ import annotations

from typing import Final

from pageproof.front.alias import ALIAS
from pageproof.front.audit import AUDIT
from pageproof.front.command import Command, Offline
from pageproof.front.diff import DIFF
from pageproof.front.explain import EXPLAIN
from pageproof.front.kmap import KMAP
from pageproof.front.maps import MAPS
from pageproof.front.regions import REGIONS
from pageproof.front.verify import VERIFY
from pageproof.front.walk import WALK
from pageproof.front.watch import WATCH
from pageproof.front.whatis import WHATIS

#: Commands that read a target, in the order of the help.
COMMANDS: Final[tuple[Command, ...]] = (
    VERIFY,
    REGIONS,
    WALK,
    MAPS,
    KMAP,
    WHATIS,
    ALIAS,
    AUDIT,
    WATCH,
)

#: Commands that need no target; the help lists them last.
OFFLINE: Final[tuple[Offline, ...]] = (DIFF, EXPLAIN)

__all__ = ["COMMANDS", "OFFLINE", "Command", "Offline"]
