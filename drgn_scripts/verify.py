# SPDX-License-Identifier: GPL-2.0-or-later
"""Verify shared regions, in plain drgn.

    drgn -c VMCORE drgn_scripts/verify.py [--pid PID] [--format json] …
    drgn --qemu SOCKET drgn_scripts/verify.py

It has the options and exit codes of ``pageproof verify``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import drgn

sys.path.insert(0, str(Path(__file__).resolve().parent))

from pageproof.cli import main_in_drgn

sys.exit(main_in_drgn(drgn.get_default_prog(), "verify", sys.argv[1:]))
