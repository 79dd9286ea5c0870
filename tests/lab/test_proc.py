# SPDX-License-Identifier: GPL-2.0-or-later
"""Running other programs: every failure is a LabError that names the program."""

import subprocess
from pathlib import Path

import pytest

from pageproof_lab import LabError, proc
from pageproof_lab.images import initramfs
from pageproof_lab.images.apt import extract


def test_output_and_input() -> None:
    assert proc.run(["sh", "-c", "cat; echo error >&2"], stdin="in\n") == "in\nerror\n"
    assert proc.run(["cat"]) == ""


def test_failures() -> None:
    with pytest.raises(LabError, match="no-such-program: not installed; `make setup`"):
        proc.run(["no-such-program"])
    with pytest.raises(LabError, match="cannot start /: Permission denied"):
        proc.run(["/"])
    with pytest.raises(proc.Failed, match=r"(?s)one: exit code 3.*why") as failed:
        proc.run(["sh", "-c", "echo why >&2; exit 3"], called="one")
    assert failed.value.code == 3
    with pytest.raises(LabError, match="no end after 0 s"):
        proc.run(["sleep", "60"], timeout_seconds=0.1)


def test_verbose_keeps_the_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With V=1 the caller got nothing, and the lab reported vmlinux files without build IDs."""
    monkeypatch.setattr(proc, "VERBOSE", True)
    assert proc.run(["echo", "out"]) == "out\n"
    assert capsys.readouterr().err == "lab: echo out\nout\n"


def test_initramfs_without_its_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabError, match="cpio: not installed"):
        initramfs.pack(tmp_path / "image", {})


def test_initramfs(tmp_path: Path) -> None:
    init, image = tmp_path / "file", tmp_path / "image"
    init.write_text("#!/bin/sh\n")
    for _ in range(2):  # the second replaces the first
        initramfs.pack(image, {"sub/init": init})
    listed = proc.run(["cpio", "-tv", "--quiet", "-F", image])
    assert "sub/init" in listed
    assert "-rwxr-xr-x   1 root     root" in listed


def test_extract(tmp_path: Path) -> None:
    tree, deb, into = tmp_path / "tree", tmp_path / "one.deb", tmp_path / "into"
    for name in ("DEBIAN/control", "usr/wanted", "usr/other"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text("")
    control = "Package: one\nVersion: 1\nArchitecture: all\nMaintainer: one\nDescription: one\n"
    (tree / "DEBIAN/control").write_text(control)
    subprocess.run(["dpkg-deb", "-b", tree, deb], check=True, capture_output=True)
    into.mkdir()
    extract(deb, "*/wanted*", into)
    assert [path.name for path in into.rglob("*") if path.is_file()] == ["wanted"]
    with pytest.raises(LabError, match=r"(?s)extract one\.deb: exit code .*nothing"):
        extract(deb, "*/nothing", into)
    deb.write_text("damaged")
    with pytest.raises(LabError, match=r"extract one\.deb"):
        extract(deb, "*/wanted", into)
