# SPDX-License-Identifier: GPL-2.0-or-later
"""Show every access to shared memory, in plain drgn.

    drgn -c VMCORE drgn_scripts/watch.py --gdb SOCKET [--kind KIND] …
    drgn --qemu SOCKET drgn_scripts/watch.py --gdb SOCKET [--kind KIND] …

It has the options and exit codes of ``pageproof watch``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import drgn

sys.path.insert(0, str(Path(__file__).resolve().parent))

from pageproof.cli import main_in_drgn

sys.exit(main_in_drgn(drgn.get_default_prog(), "watch", sys.argv[1:]))
