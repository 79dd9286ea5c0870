# SPDX-License-Identifier: GPL-2.0-or-later
"""Files in the lab's run directory, including foreign and damaged ones."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from machine import environment, pageproof

from pageproof_lab import LabError, paths
from pageproof_lab.guest import boot, guest, qemu

#: state.json as the first version wrote it.
OLD = {
    "kernel": "6.1",
    "release": "6.1.0-1-cloud-amd64",
    "accelerator": "tcg",
    "vmlinux": "/nowhere",
    "module": None,
    "append": "",
    "keeper_pid": 4194999,
    "keeper_start": "1",
    "boot_seconds": 3.5,
}
STATES = {
    "half-written": json.dumps(OLD)[:70],
    "empty": "",
    "older": json.dumps({k: v for k, v in OLD.items() if k not in ("module", "boot_seconds")}),
    "newer": json.dumps({**OLD, "numa": 2}),
    "a list": "[]",
    "a word for a number": json.dumps({**OLD, "keeper_pid": "1"}),
    "not text": "\udcff",
    "deep": "[" * 100000,
}


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return paths.run_dir()


@pytest.mark.parametrize("command", [("up", "--no-load"), ("down",), ("exec",), ("crash",)])
def test_a_path_is_no_name(runtime: Path, tmp_path: Path, command: tuple[str, ...]) -> None:
    """`lab up --name PATH` once removed the directory PATH."""
    kept = tmp_path / "run/kept"
    kept.mkdir()
    (kept / "file").write_text("mine")
    (kept / "state.json").write_text(json.dumps(OLD))
    words = ("--", "true") if command[0] == "exec" else ()
    result = pageproof("lab", *command, f"--name={kept}", *words)
    assert result.code == 2
    assert "cannot name a lab" in result.err
    assert (kept / "file").read_text() == "mine"


@pytest.mark.parametrize("name", ["/x", "../x", "..", ".", "", "a/b", "-x", "x" * 41, "a\nb", "é"])
def test_names(runtime: Path, name: str) -> None:
    for use in (paths.lab_dir, guest.attach, boot.new_directory):
        with pytest.raises(LabError, match="cannot name a lab"):
            use(name)


def test_nothing_else_is_removed(runtime: Path, tmp_path: Path) -> None:
    with pytest.raises(LabError, match="not the directory of a lab"):
        guest.remove(tmp_path)
    with pytest.raises(LabError, match="not the directory of a lab"):
        guest.remove(runtime)
    assert runtime.is_dir()


@pytest.mark.parametrize("text", STATES.values(), ids=STATES)
def test_any_state_file(runtime: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It does not break `lab list`, and labs can still come up."""
    directory = runtime / "lab"
    directory.mkdir()
    (directory / "state.json").write_text(text, errors="surrogateescape")
    listed = pageproof("lab", "list")
    assert listed.code == 0, listed.err
    assert "lab lab: " in listed.out
    down = pageproof("lab", "down")
    assert "Traceback" not in down.err
    assert down.code == (0 if not directory.exists() else 2)

    directory.mkdir(exist_ok=True)
    (directory / "state.json").write_text(text, errors="surrogateescape")
    boot._sweep(paths.cache_dir())
    assert boot.new_directory("other").is_dir()
    assert boot.new_directory("lab") == directory
    assert not (directory / "state.json").exists()


def test_state_is_written_at_once(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill in the middle leaves no file, not a partial one."""

    def killed(path: Path, text: str) -> int:
        with path.open("w") as file:
            file.write(text[: len(text) // 2])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_text", killed)
    with pytest.raises(KeyboardInterrupt):
        guest.Facts("6.1", "6.1.0", "tcg", "", None, "").write(runtime)
    assert not (runtime / "state.json").exists()


def test_a_name_that_is_being_booted(runtime: Path) -> None:
    """A second `lab up` with the same name must not remove the files of the first."""
    directory = boot.new_directory("lab")
    assert boot.new_directory("lab") == directory  # another try of the same process
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        (directory / boot.BOOTING).write_text(f"{other.pid} {guest.start_time(other.pid)}")
        with pytest.raises(LabError, match=f"is being booted by process {other.pid}"):
            boot.new_directory("lab")
        other.kill()
    assert boot.new_directory("lab") == directory


def test_run_dir_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    place = tmp_path / "pageproof"
    other = tmp_path / "other"
    other.mkdir()
    for target in (other, tmp_path / "nowhere"):
        place.symlink_to(target)
        with pytest.raises(LabError, match="XDG_RUNTIME_DIR"):
            paths.run_dir()
        place.unlink()
    place.write_text("")
    with pytest.raises(LabError, match="XDG_RUNTIME_DIR"):
        paths.run_dir()
    place.unlink()
    assert paths.run_dir().stat().st_mode & 0o777 == 0o700
    place.chmod(0o770)
    with pytest.raises(LabError, match="others can write"):
        paths.run_dir()


def test_exec_does_not_wait_for_stdin(runtime: Path) -> None:
    """In CI stdin may be a pipe that stays open, so exec must not wait for its end."""
    reader, writer = os.pipe()
    try:
        start = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "pageproof", "lab", "exec", "--", "true"],
            stdin=reader,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(reader)
        os.close(writer)
    assert time.monotonic() - start < 60
    assert "no lab 'lab' is up" in done.stderr


def test_a_long_run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """QEMU refuses a long path of a socket, after the kernel was fetched and an image made."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / ("a" * 90)))
    with pytest.raises(LabError, match="set XDG_RUNTIME_DIR to a shorter path"):
        qemu.Sockets(paths.lab_dir("short")).check()


def test_qemu_s_errors_are_shown_without_a_serial_log(runtime: Path) -> None:
    here = guest.Guest(
        runtime, guest.Facts("6.1", "6.1.0-1-cloud-amd64", "tcg", "/nowhere", None, "")
    )
    assert here.log_tail() == ""
    here.sockets.errors.write_text("qemu: no such machine\n")
    assert here.log_tail() == "; its last output:\n  qemu: no such machine"
