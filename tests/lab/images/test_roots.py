# SPDX-License-Identifier: GPL-2.0-or-later
"""The Debian trees in which modules are built."""

from pageproof_lab.images.roots import build_root
from pageproof_lab.proc import run_in_root


def test_dev_null_keeps_nothing() -> None:
    """If it were a file, parallel builds would read each other's output from it."""
    root = build_root()
    said = run_in_root(root, ["sh", "-c", "echo something >/dev/null; cat /dev/null; echo end"])
    assert said == "end\n"
    assert (root / "dev/null").stat().st_size == 0
