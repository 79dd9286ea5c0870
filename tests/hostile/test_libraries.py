# SPDX-License-Identifier: GPL-2.0-or-later
"""Faults of the libraries below are real (docs/hostile.md), and pageproof refuses such dumps."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hostile.bases import KERNELS, bases
from machine import pageproof

SCRIPT = Path(__file__).with_name("libraries.py")


@pytest.mark.parametrize(
    ("name", "ending", "message"),
    [
        ("no-records", -signal.SIGSEGV, "the flattened format has no data"),
        ("notes-at-the-end", -signal.SIGBUS, "bad range of notes"),
        ("shrinks", -signal.SIGBUS, "the dump is truncated"),
        ("bitmap", 0, "page descriptors do not match"),
    ],
)
def test_a_fault(tmp_path: Path, name: str, ending: int, message: str) -> None:
    scratch = tmp_path / "vmcore"
    dumps = [] if name == "no-records" else [bases(KERNELS[0])["lzo"].path]
    words: list[str | Path] = [sys.executable, SCRIPT, name, scratch, *dumps]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == ending, done
    if name == "bitmap":
        _, others, _ = done.stdout.splitlines()[1].rpartition(": ")[2].split()
        assert int(others) > 1000
    result = pageproof("-c", scratch, "walk", "_text")
    assert result.code == 2, result
    assert message in result.err
