# SPDX-License-Identifier: GPL-2.0-or-later
"""The engine's own tests in C, under AddressSanitizer and UBSan."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

C_HELPER = Path(__file__).resolve().parents[3] / "c-helper"


def test_the_tables_of_entries_in_c() -> None:
    done = subprocess.run(
        ["make", "--no-print-directory", "-C", C_HELPER, "WERROR=1", "test"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    closing = re.search(r"^(\d+) passed, 0 failed$", done.stdout, re.MULTILINE)
    assert closing, done.stdout
    assert int(closing[1]) > 1000
