# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of the usage of setup/fresh-chroot.sh. Its work takes minutes: make acceptance."""

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


def test_reports_that_it_needs_root() -> None:
    # Other users may not be able to read the clone, so pass the content of the script.
    under = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
    prefix = under if os.geteuid() == 0 else []
    done = run(
        *prefix, "bash", "-c", SCRIPT.read_text(), "/usr/bin/fresh-chroot.sh", "trixie", "demo"
    )
    assert done.returncode == 2
    assert "needs root" in done.stderr
