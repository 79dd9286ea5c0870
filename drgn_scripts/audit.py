# SPDX-License-Identifier: GPL-2.0-or-later
"""Audit the whole system, in plain drgn.

    drgn -c VMCORE drgn_scripts/audit.py [--rule ID] …
    drgn --qemu SOCKET drgn_scripts/audit.py [--rule ID] …

It has the options and exit codes of ``pageproof audit``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import drgn

sys.path.insert(0, str(Path(__file__).resolve().parent))

from pageproof.cli import main_in_drgn

sys.exit(main_in_drgn(drgn.get_default_prog(), "audit", sys.argv[1:]))
