# SPDX-License-Identifier: GPL-2.0-or-later
"""Every mapping of a frame, in plain drgn.

    drgn -c VMCORE drgn_scripts/alias.py PFN|ADDRESS [--pid PID] …
    drgn --qemu SOCKET drgn_scripts/alias.py PFN|ADDRESS [--pid PID] …

Takes the options of ``pageproof alias`` and has its exit codes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import drgn

sys.path.insert(0, str(Path(__file__).resolve().parent))

from pageproof.cli import main_in_drgn

sys.exit(main_in_drgn(drgn.get_default_prog(), "alias", sys.argv[1:]))
