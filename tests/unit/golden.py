# SPDX-License-Identifier: GPL-2.0-or-later
"""Comparison of texts with golden files.

After a wanted change, write them anew and look at the difference:

    PAGEPROOF_GOLDEN=write pytest tests/unit && git diff tests/golden
"""

from __future__ import annotations

import os
from pathlib import Path


def matches_golden(path: Path, got: str) -> None:
    """Fail if a file has another text; write it instead if PAGEPROOF_GOLDEN is "write"."""
    if os.environ.get("PAGEPROOF_GOLDEN") == "write":
        path.write_text(got, encoding="utf-8")
    assert got == path.read_text(encoding="utf-8"), f"{path} differs: see tests/unit/golden.py"
