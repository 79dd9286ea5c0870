# SPDX-License-Identifier: GPL-2.0-or-later
"""The record of a watch: only that of a dead process and of the same QEMU counts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pageproof.errors import PageproofError
from pageproof.watch.record import Record, RecordFile, start_time


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


def test_it_comes_and_goes(runtime: Path) -> None:
    ours = RecordFile("/run/gdb.sock", "qemu 1")
    assert ours.left() is None
    for paused in (True, False):
        ours.write(paused=paused)
        expected = Record("qemu 1", os.getpid(), start_time(os.getpid()), paused)
        assert ours.left() == expected and expected.alive
    assert [path.name for path in ours.path.parent.iterdir()] == [ours.path.name]
    assert RecordFile("/run/gdb.sock", "qemu 2").left() is None
    assert RecordFile("/run/other.sock", "qemu 1").left() is None
    ours.remove()
    assert ours.left() is None
    ours.remove()


def test_another_path_of_the_socket(runtime: Path) -> None:
    (runtime / "link").symlink_to(runtime)
    paths = {RecordFile(str(base / "gdb.sock"), "").path for base in (runtime, runtime / "link")}
    assert len(paths) == 1


def test_a_process_that_ended(runtime: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    record = Record("", process.pid, start_time(process.pid), paused=False)
    assert record.alive
    # Another process with its number.
    assert not Record("", process.pid, record.start + 1, paused=False).alive
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not record.alive  # a zombie
    process.communicate()
    assert not record.alive


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "[" * 5000, "{}", json.dumps({"qemu": "q", "pid": 1, "start": 2, "more": 3})],
)
def test_damaged(runtime: Path, text: str) -> None:
    ours = RecordFile("/run/gdb.sock", "q")
    ours.path.write_text(text)
    assert ours.left() is None


@pytest.mark.parametrize("field", ["qemu", "pid", "start", "paused"])
def test_wrong_types(runtime: Path, field: str) -> None:
    ours = RecordFile("/run/gdb.sock", "q")
    values: dict[str, object] = {"qemu": "q", "pid": 1, "start": 2, "paused": True}
    ours.path.write_text(json.dumps(values))
    assert ours.left() is not None
    ours.path.write_text(json.dumps({**values, field: ["x"]}))
    assert ours.left() is None


def test_a_directory_of_others(runtime: Path) -> None:
    directory = RecordFile("/run/gdb.sock", "").path.parent
    assert directory.stat().st_mode & 0o777 == 0o700
    directory.chmod(0o777)
    with pytest.raises(PageproofError, match="others can change this directory"):
        RecordFile("/run/gdb.sock", "")
    directory.rmdir()
    directory.symlink_to(runtime)
    with pytest.raises(PageproofError, match="others can change this directory"):
        RecordFile("/run/gdb.sock", "")


def test_it_cannot_be_written(runtime: Path) -> None:
    ours = RecordFile("/run/gdb.sock", "")
    ours.path.mkdir()
    with pytest.raises(PageproofError, match="can't record the watch"):
        ours.write(paused=True)
    assert list(ours.path.parent.iterdir()) == [ours.path]
