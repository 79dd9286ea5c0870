# SPDX-License-Identifier: GPL-2.0-or-later
"""A report that cannot be written: a message, and the earlier report is still there."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from machine import environment

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "several.json"
DIFF = (sys.executable, "-m", "pageproof", "diff", GOLDEN, GOLDEN, "--format", "json")


def few_bytes() -> None:
    """Let each write() after the first bytes of a file fail, as on a full disk."""
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))


def test_an_earlier_report_stays(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("earlier")
    done = subprocess.run(
        [*DIFF, "-o", path], env=environment(), capture_output=True, preexec_fn=few_bytes
    )
    assert done.returncode == 2
    assert b"pageproof: error: can't write the report: File too large" in done.stderr
    assert path.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_a_small_disk(tmp_path: Path) -> None:
    """A tmpfs of 4 KiB in a mount namespace of its own."""
    script = (
        'mount -t tmpfs -o size=4k none "$1" && cd "$1" && echo earlier >report.json && shift '
        '&& { "$@" -o report.json; echo "code $?"; cat report.json; ls -A; }'
    )
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    command: list[str | Path] = [
        "unshare",
        *user,
        "--mount",
        "sh",
        "-c",
        script,
        "sh",
        tmp_path,
        *DIFF,
    ]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
    if any(word in done.stderr for word in ("unshare:", "mount:")):
        pytest.skip("no mount namespace of its own is allowed here")
    assert "error: can't write the report: No space left on device" in done.stderr
    assert done.stdout.splitlines() == ["code 2", "earlier", "report.json"], done.stderr


@pytest.mark.parametrize("device", ["/dev/full"])
def test_standard_output_is_full(device: str) -> None:
    with Path(device).open("w") as full:
        done = subprocess.run(DIFF, env=environment(), stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 2
    assert b"pageproof: error: cannot write: No space left on device" in done.stderr
    assert b"Traceback" not in done.stderr and b"Exception ignored" not in done.stderr


def test_a_closed_pipe() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(DIFF, env=environment(), stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert (done.returncode, done.stderr) == (2, b"")
