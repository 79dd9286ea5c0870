# SPDX-License-Identifier: GPL-2.0-or-later
"""No guest outlives its lab: the owner ends or is killed, or the deadline comes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pageproof_lab.guest import keeper

OWNER = """
import signal, subprocess, sys, time
signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background job ignores it
command = "echo $$ > " + sys.argv[3] + "; exec sleep 1000"
words = [sys.executable, sys.argv[1], sys.argv[2], "sh", "-c", command]
child = subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True)
print(child.pid, flush=True)
if sys.argv[4] == "let-go":
    child.stdin.write(b"d")
    child.stdin.close()
    time.sleep(0.5)
    sys.exit()
time.sleep(1000)
"""


def wait_until(condition: Callable[[], bool], seconds: float = 120) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Leash:
    """A process that owns a guest, the keeper that it started, and the keeper's command."""

    def __init__(self, tmp_path: Path, deadline: float = 600, mode: str = "hold") -> None:
        file = tmp_path / "pid"
        assert keeper.__file__
        self.owner = subprocess.Popen(
            [sys.executable, "-c", OWNER, keeper.__file__, str(deadline), str(file), mode],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.owner.stdout
        self.keeper_pid = int(self.owner.stdout.readline())
        assert wait_until(lambda: file.exists() and file.read_text().endswith("\n"))
        self.command_pid = int(file.read_text())

    def ended(self) -> bool:
        return wait_until(
            lambda: not is_running(self.command_pid) and not is_running(self.keeper_pid)
        )


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_owner_ends(tmp_path: Path, number: signal.Signals) -> None:
    leash = Leash(tmp_path)
    assert is_running(leash.command_pid)
    leash.owner.send_signal(number)
    leash.owner.wait()
    assert leash.ended()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_keeper_ends(tmp_path: Path, number: signal.Signals) -> None:
    leash = Leash(tmp_path)
    os.kill(leash.keeper_pid, number)
    assert wait_until(lambda: not is_running(leash.command_pid))
    leash.owner.kill()
    leash.owner.wait()


def test_keeper_ends_while_it_starts_its_command(tmp_path: Path) -> None:
    """The command has not called prctl() yet, so it would not die with the keeper."""
    slow = tmp_path / "setpriv"
    slow.write_text("#!/bin/sh\nsleep 0.5\nexec sleep 1000\n")
    slow.chmod(0o755)
    assert keeper.__file__
    with subprocess.Popen(
        [sys.executable, keeper.__file__, "600", "true"],
        stdin=subprocess.PIPE,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
    ) as started:
        children = Path(f"/proc/{started.pid}/task/{started.pid}/children")
        while not children.read_text():
            assert started.poll() is None
        pid = int(children.read_text())
        started.terminate()
        assert started.wait() == 128 + signal.SIGTERM
    assert wait_until(lambda: not is_running(pid))


def test_deadline() -> None:
    """At the deadline the command ends too, even if it has only just started."""
    assert keeper.__file__
    with subprocess.Popen(
        [sys.executable, keeper.__file__, "0.5", "sleep", "1000"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as started:
        assert started.stdout
        # Keeper and command hold the pipe open, so this waits for the end of both.
        assert started.stdout.read() == b""
        assert started.wait(120)


def test_let_go(tmp_path: Path) -> None:
    """Off the leash it outlives its owner, until SIGTERM from `lab down`."""
    leash = Leash(tmp_path, mode="let-go")
    leash.owner.wait()
    assert is_running(leash.command_pid)
    os.kill(leash.keeper_pid, signal.SIGTERM)
    assert leash.ended()
