# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of how setup/fresh-chroot.sh is called; what it does takes minutes: make acceptance."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "setup" / "fresh-chroot.sh"


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)


@pytest.mark.parametrize("arguments", [[], ["bookworm"], ["../x", "test"], ["--help", "test"]])
def test_wrong_usage(arguments: list[str]) -> None:
    done = run(SCRIPT, *arguments)
    assert done.returncode == 2
    assert "usage: fresh-chroot.sh" in done.stderr


def test_says_that_it_needs_root() -> None:
    # The clone may be closed to other users, so the script goes in by its content.
    under = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
    prefix = under if os.geteuid() == 0 else []
    done = run(
        *prefix, "bash", "-c", SCRIPT.read_text(), "/usr/bin/fresh-chroot.sh", "trixie", "demo"
    )
    assert done.returncode == 2
    assert "needs root" in done.stderr
