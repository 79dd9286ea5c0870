# SPDX-License-Identifier: GPL-2.0-or-later
"""Identify one address, in plain drgn.

    drgn -c VMCORE drgn_scripts/whatis.py ADDRESS|SYMBOL [--pid PID] …
    drgn --qemu SOCKET drgn_scripts/whatis.py ADDRESS|SYMBOL [--pid PID] …

It has the options and exit codes of ``pageproof whatis``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import drgn

sys.path.insert(0, str(Path(__file__).resolve().parent))

from pageproof.cli import main_in_drgn

sys.exit(main_in_drgn(drgn.get_default_prog(), "whatis", sys.argv[1:]))
