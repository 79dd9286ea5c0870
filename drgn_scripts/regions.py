# SPDX-License-Identifier: GPL-2.0-or-later
"""List the memory that the kernel shares with user space, in plain drgn.

    drgn -c VMCORE drgn_scripts/regions.py [--kind KIND] …
    drgn --qemu SOCKET drgn_scripts/regions.py [--kind KIND] …

It has the options and exit codes of ``pageproof regions``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import drgn

sys.path.insert(0, str(Path(__file__).resolve().parent))

from pageproof.cli import main_in_drgn

sys.exit(main_in_drgn(drgn.get_default_prog(), "regions", sys.argv[1:]))
