# SPDX-License-Identifier: GPL-2.0-or-later
"""Show every mapping of a frame, in plain drgn.

    drgn -c VMCORE drgn_scripts/alias.py PFN|ADDRESS [--pid PID] …
    drgn --qemu SOCKET drgn_scripts/alias.py PFN|ADDRESS [--pid PID] …

It has the options and exit codes of ``pageproof alias``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import drgn

sys.path.insert(0, str(Path(__file__).resolve().parent))

from pageproof.cli import main_in_drgn

sys.exit(main_in_drgn(drgn.get_default_prog(), "alias", sys.argv[1:]))
