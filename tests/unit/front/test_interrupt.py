# SPDX-License-Identifier: GPL-2.0-or-later
"""Ctrl-C: a real SIGINT at many moments of a run leaves one line and nothing half written."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from unit.facts import evidence, report

import pageproof
from pageproof.__main__ import INTERRUPTED
from pageproof.render.jsonform import report_to_json

PACKAGE_ROOT = str(Path(pageproof.__file__).parent.parent)

#: Runs the command like ``python -m pageproof``, and sends SIGINT to itself at the nth call of a
#: function from the first one of __main__ on. It prints the number of calls at the end.
RUNNER = """
import atexit, os, runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
nth, calls = int(sys.argv.pop(1)), 0
def count(frame, event, argument):
    global calls
    calls += event in ("call", "c_call")
    if calls == nth:
        sys.setprofile(None)
        os.kill(os.getpid(), signal.SIGINT)
def begin(frame, event, argument):
    if event == "call" and frame.f_globals.get("__name__") == "__main__" and (
        frame.f_code.co_name == "run"
    ):
        sys.setprofile(count)
def tell():
    sys.setprofile(None)
    if nth == 0:
        os.write(2, str(calls).encode())
atexit.register(tell)
sys.setprofile(begin)
runpy.run_module("pageproof", run_name="__main__", alter_sys=True)
"""
MOMENTS = 16


def run(nth: int, directory: Path) -> subprocess.CompletedProcess[str]:
    words = ["diff", "a.json", "b.json", "--format", "json", "-o", "out"]
    return subprocess.run(
        [sys.executable, "-c", RUNNER, str(nth), *words],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": PACKAGE_ROOT},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("interrupted")
    for name in ("a.json", "b.json"):
        (directory / name).write_text(report_to_json(report(*map(evidence, range(8)))))
    return directory


@pytest.fixture(scope="module")
def calls(place: Path) -> int:
    """Number of calls of a whole run."""
    whole = run(0, place)
    assert whole.returncode == 0
    json.loads((place / "out").read_text())
    return int(whole.stderr)


@pytest.mark.parametrize("old", [None, "old"])
@pytest.mark.parametrize("moment", range(MOMENTS))
def test_a_signal_at_any_moment(place: Path, calls: int, moment: int, old: str | None) -> None:
    out = place / "out"
    out.unlink(missing_ok=True)
    if old is not None:
        out.write_text(old)
    result = run(1 + moment * calls // MOMENTS, place)
    assert (result.returncode, result.stdout) == (INTERRUPTED, "")
    assert result.stderr == "pageproof: interrupted\n"
    assert (out.read_text() if out.exists() else None) == old
    assert {one.name for one in place.iterdir()} - {"out"} == {"a.json", "b.json"}


def test_a_signal_at_the_end_changes_nothing(place: Path, calls: int) -> None:
    """The report is written. What is left is to exit."""
    result = run(calls, place)
    assert (result.returncode, result.stderr) == (0, "")
    json.loads((place / "out").read_text())


TWICE = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv[1:] = ["explain"]
from pageproof import __main__, cli
def interrupted_twice(argv=None):
    def fail():
        try:
            os.kill(os.getpid(), signal.SIGINT)
        finally:
            os.kill(os.getpid(), signal.SIGINT)
            print("cleaned up", flush=True)
    return cli.guarded(fail)
real, cli.main = cli.main, interrupted_twice
__main__.run()
"""

LOST = """
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
from pageproof import __main__, cli
class Finalized:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
def loses_it(argv=None):
    def wait():
        Finalized()
        time.sleep(60)
    return cli.guarded(wait)
cli.main = loses_it
__main__.run()
"""


@pytest.mark.parametrize(("program", "out"), [(TWICE, "cleaned up\n"), (LOST, "")])
def test_no_signal_is_lost_and_one_is_enough(program: str, out: str) -> None:
    """A second Ctrl-C does not disturb the clean-up; a finalizer does not swallow the first."""
    got = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": PACKAGE_ROOT},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (got.returncode, got.stdout) == (INTERRUPTED, out)
    assert got.stderr == "pageproof: interrupted\n"


def test_the_key_on_a_terminal(place: Path) -> None:
    """The terminal sends the signal; the line of progress is gone afterwards."""
    os.mkfifo(place / "pipe")
    (place / "out").unlink(missing_ok=True)
    pid, terminal = pty.fork()
    if pid == 0:
        # A shell's background job inherits SIGINT ignored. The alarm is a deadline.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.alarm(120)
        os.chdir(place)
        os.environ.update(PYTHONPATH=PACKAGE_ROOT, TERM="xterm")
        # Nobody reads the pipe, so that opening it waits.
        words = ["diff", "a.json", "b.json", "-o", "pipe"]
        os.execv(sys.executable, [sys.executable, "-m", "pageproof", *words])
    seen = b""
    while "writing pipe …".encode() not in seen:
        seen += os.read(terminal, 1000)
    os.write(terminal, b"\x03")
    try:
        while more := os.read(terminal, 1000):
            seen += more
    except OSError:  # EIO: the other end is closed
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == INTERRUPTED
    os.close(terminal)
    (place / "pipe").unlink()
    assert seen.endswith(b"\r\x1b[Kpageproof: interrupted\r\n")
