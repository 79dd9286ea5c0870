# SPDX-License-Identifier: GPL-2.0-or-later
"""A small benchmark of a server, on a guest."""

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from machine import environment
from qemus import wait_no_qemu

from pageproof_lab.paths import cache_dir


@pytest.fixture
def runtime() -> Iterator[dict[str, str]]:
    """Use a separate run directory. Its path is short: a socket's ends at 107 bytes."""
    with tempfile.TemporaryDirectory() as name:
        yield {"XDG_RUNTIME_DIR": name}


def bench(runtime: dict[str, str], *words: str) -> "subprocess.Popen[str]":
    """Start it on Linux 6.12; crash 8.0.6 cannot read a dump of 5.10 or 6.1 from QEMU."""
    return subprocess.Popen(
        [
            *("env", "--default-signal=INT", sys.executable, "-m", "pageproof", "lab", "bench"),
            *("--part", "server", "--kernel", "6.12", "--processes", "8", *words),
        ],
        env={**environment(), **runtime},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def bench_files() -> set[Path]:
    return {path for path in (cache_dir() / "disks").iterdir() if path.name.startswith("bench-")}


def test_a_server(runtime: dict[str, str]) -> None:
    """Its own checks compare what the commands find with what the guest's kernel counts."""
    words = ("--scenario", "vmas", "--vmas", "12", "--target", "outside", "--target", "elf")
    with bench(runtime, *words) as ran:
        out, err = ran.communicate()
    assert ran.returncode == 0, err
    lines = out.splitlines()
    assert lines[0].startswith("### A million VMAs: 8 processes, 12 VMAs each, every fourth")
    for row in ("| `regions` |", "| `verify` |", "| `verify --format json` |", "| `audit` |"):
        (line,) = (line for line in lines if line.startswith(row))
        assert " MiB" in line
        assert "failed" not in line
    assert any(line.startswith("| 1 | ") for line in lines)  # the growth from one process to eight
    assert "not measured" not in out, err


def test_interrupted_it_leaves_nothing(runtime: dict[str, str]) -> None:
    before = bench_files()
    with bench(runtime, "--scenario", "buffer", "--mib", "1") as ran:
        assert ran.stderr
        err = ""
        for line in ran.stderr:
            err += line
            if "outside, `regions`" in line:  # the next command runs
                ran.send_signal(signal.SIGINT)
    assert ran.returncode == 130, err
    assert err.splitlines()[-1] == "pageproof lab: interrupted, nothing is left running"
    assert "Traceback" not in err
    assert wait_no_qemu(runtime)
    assert bench_files() <= before
