# SPDX-License-Identifier: GPL-2.0-or-later
"""``python -m pageproof``."""

from __future__ import annotations

import sys

try:
    from pageproof.cli import main
except KeyboardInterrupt:  # before main() can say so
    sys.exit(130)

sys.exit(main())
