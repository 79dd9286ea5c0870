# SPDX-License-Identifier: GPL-2.0-or-later
"""Verify the shared region in plain drgn.

    drgn -c VMCORE drgn_scripts/verify.py [--pid PID] [--format json] …
    drgn --qemu SOCKET drgn_scripts/verify.py

Takes the options of ``pageproof verify`` and has its exit codes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import drgn

sys.path.insert(0, str(Path(__file__).resolve().parent))

from pageproof.cli import main_in_drgn

sys.exit(main_in_drgn(drgn.get_default_prog(), "verify", sys.argv[1:]))
