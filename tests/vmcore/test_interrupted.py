# SPDX-License-Identifier: GPL-2.0-or-later
"""Ctrl-C on a terminal during each step of a command that reads a dump."""

import os
import pty
import signal
import sys
from pathlib import Path

import pytest
from machine import environment, on_one_kernel
from plugins.crashed import Crashed

INTERRUPTED = 130


def interrupted(words: list[str], step: str, directory: Path) -> tuple[int, str]:
    """Press Ctrl-C as soon as a step is shown.

    Returns:
        The exit code, and what the terminal shows after the step.
    """
    pid, terminal = pty.fork()
    if pid == 0:
        # A shell's background job inherits SIGINT ignored. The alarm is a deadline.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.alarm(300)
        os.chdir(directory)
        env = {**environment(), "TERM": "xterm"}
        os.execve(sys.executable, [sys.executable, "-m", "pageproof", *words], env)
    seen = b""
    try:
        while step.encode() not in seen:
            seen += os.read(terminal, 4096)
        os.write(terminal, b"\x03")
        seen = seen.rpartition(step.encode())[2]
        while more := os.read(terminal, 4096):
            seen += more
    except OSError:  # EIO: the other end is closed
        pass
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(terminal)
    return code, seen.decode()


@on_one_kernel
@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize(
    ("step", "long"),
    [("opening", True), ("loading debug info", True), ("searching", False), ("region 1", False)],
)
def test_a_key_at_each_step(
    crashed: Crashed, tmp_path: Path, step: str, long: bool, form: str
) -> None:
    """The last steps take milliseconds: the command may end before it sees the key."""
    dump = next(iter(crashed.dumps.values()))
    out = tmp_path / "out"
    out.write_text("old")
    words = ["-c", str(dump), "verify", "--kind", "umh_shm", "--format", form, "-o", str(out)]
    code, seen = interrupted(words, step, tmp_path)
    assert list(tmp_path.iterdir()) == [out]
    if code == 0 and not long:
        assert out.read_text() != "old"
        return
    assert code == INTERRUPTED, seen
    assert out.read_text() == "old"
    assert seen.endswith("\r\x1b[Kpageproof: interrupted\r\n")
    assert "Traceback" not in seen
