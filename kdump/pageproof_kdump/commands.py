# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands of ``pageproof kdump``, in the order of its help."""

from __future__ import annotations

from typing import Final

from pageproof.front.command import Offline
from pageproof_kdump.check.command import CHECK
from pageproof_kdump.load import LOAD
from pageproof_kdump.remove import REMOVE
from pageproof_kdump.setup import SETUP
from pageproof_kdump.verify.command import VERIFY

COMMANDS: Final[tuple[Offline, ...]] = (CHECK, SETUP, REMOVE, LOAD, VERIFY)
