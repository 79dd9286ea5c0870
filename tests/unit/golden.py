# SPDX-License-Identifier: GPL-2.0-or-later
"""Comparison of texts with golden files; test_render.py describes how to renew them."""

from __future__ import annotations

import os
from pathlib import Path


def matches_golden(path: Path, got: str) -> None:
    """Fail if a file has another text; write it instead if PAGEPROOF_GOLDEN is "write"."""
    if os.environ.get("PAGEPROOF_GOLDEN") == "write":
        path.write_text(got, encoding="utf-8")
    assert got == path.read_text(encoding="utf-8"), f"{path} differs: see test_render.py"
