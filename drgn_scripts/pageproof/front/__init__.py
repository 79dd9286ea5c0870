# SPDX-License-Identifier: GPL-2.0-or-later
"""The front door: one file a command, with its options, its checks and the forms of its answer.

Nothing here imports drgn before a target is wanted, so that help and usage
errors come at once and on any machine.
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
from pageproof.front.whatis import WHATIS

#: Every command that looks at a target, in the order of the help.
COMMANDS: Final[tuple[Command, ...]] = (VERIFY, REGIONS, WALK, MAPS, KMAP, WHATIS, ALIAS, AUDIT)

#: Those that need none, behind them.
OFFLINE: Final[tuple[Offline, ...]] = (DIFF, EXPLAIN)

__all__ = ["COMMANDS", "OFFLINE", "Command", "Offline"]
