# SPDX-License-Identifier: GPL-2.0-or-later
"""Files that say what a text must be; test_render.py tells how to renew them."""

from __future__ import annotations

import os
from pathlib import Path


def matches_golden(path: Path, got: str) -> None:
    """Fail if a file says something else, or write it if the developer asks for that."""
    if os.environ.get("PAGEPROOF_GOLDEN") == "write":
        path.write_text(got, encoding="utf-8")
    assert got == path.read_text(encoding="utf-8"), f"{path} differs: see test_render.py"
