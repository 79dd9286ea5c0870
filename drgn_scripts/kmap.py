# SPDX-License-Identifier: GPL-2.0-or-later
"""Show the kernel's memory map, in plain drgn.

    drgn -c VMCORE drgn_scripts/kmap.py [--pid PID] [--explain REGION] …
    drgn --qemu SOCKET drgn_scripts/kmap.py

It has the options and exit codes of ``pageproof kmap``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import drgn

sys.path.insert(0, str(Path(__file__).resolve().parent))

from pageproof.cli import main_in_drgn

sys.exit(main_in_drgn(drgn.get_default_prog(), "kmap", sys.argv[1:]))
