# SPDX-License-Identifier: GPL-2.0-or-later
"""``python -m pageproof``."""

from __future__ import annotations

import sys

from pageproof.cli import main

sys.exit(main())
