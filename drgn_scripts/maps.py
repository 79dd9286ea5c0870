# SPDX-License-Identifier: GPL-2.0-or-later
"""Show a process's address space, in plain drgn.

    drgn -c VMCORE drgn_scripts/maps.py --pid PID [--pages] …
    drgn --qemu SOCKET drgn_scripts/maps.py --pid PID [--pages] …

It has the options and exit codes of ``pageproof maps``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import drgn

sys.path.insert(0, str(Path(__file__).resolve().parent))

from pageproof.cli import main_in_drgn

sys.exit(main_in_drgn(drgn.get_default_prog(), "maps", sys.argv[1:]))
