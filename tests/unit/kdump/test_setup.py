# SPDX-License-Identifier: GPL-2.0-or-later
"""pageproof kdump setup and remove on trees of files; tests/kdump has real machines."""

import os
from pathlib import Path

import pytest

from pageproof import cli
from pageproof.errors import Exit
from pageproof_kdump.install import place, slab
from pageproof_kdump.install.changes import is_set_up, read
from pageproof_kdump.install.load import read_configuration
from pageproof_kdump.install.place import Place
from pageproof_kdump.install.plan import BEGIN, CONFIGURATION, GRUB, UNIT

DEFAULTS = "USE_KDUMP=0\nKDUMP_COREDIR=/elsewhere"
PACKAGE_LINE = 'GRUB_CMDLINE_LINUX_DEFAULT="$GRUB_CMDLINE_LINUX_DEFAULT crashkernel=512M-:192M"\n'
HERE = Place("file", "/var/crash", {"target": "file", "disk": "UUID=x"}, ("ext4",), "/var/crash")
THERE = Place(
    "ssh", "ssh:me@host:/d", {"target": "ssh"}, (), directory="/d", user="me", host="host"
)
PARTITION = Place("partition", "/dev/vdb1", {"target": "partition"}, (), mark=b"x")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Debian with GRUB and kexec-tools, without kdump-tools."""
    files = {
        "etc/os-release": 'NAME="Debian GNU/Linux"\nID=debian\n',
        "etc/default/grub": 'GRUB_CMDLINE_LINUX_DEFAULT="quiet"\n',
        "usr/sbin/update-grub": "",
        "usr/sbin/kexec": "",
        "etc/systemd/system/README": "",
        "var/lib/README": "",
    }
    for path, text in files.items():
        write(tmp_path / path, text)
    monkeypatch.setattr(place, "place", lambda *_: HERE)
    monkeypatch.setattr(slab, "safe_level", lambda level: (31 if level is None else level, ""))
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def add_kdump_tools(root: Path) -> None:
    write(root / "usr/sbin/kdump-config", "")
    write(root / "etc/default/kdump-tools", DEFAULTS)
    write(root / "etc/default/grub.d/kdump-tools.cfg", PACKAGE_LINE)


def files(root: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else None
        for path in root.rglob("*")
    }


def setup(root: Path, *words: str) -> int:
    return int(cli.main(["kdump", "setup", "--root", str(root), *words]))


def remove(root: Path, *words: str) -> int:
    return int(cli.main(["kdump", "remove", "--root", str(root), *words]))


def test_dry_run_changes_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(root)
    assert setup(root, "--dry-run") == Exit.SOUND
    assert files(root) == before
    out = capsys.readouterr().out
    assert f"+++ /{GRUB}" in out and "crashkernel=128M" in out
    assert "run: update-grub" in out


def test_without_kdump_tools(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(root)
    assert setup(root, "--yes", "--crashkernel", "96M", "--timeout", "60") == Exit.SOUND
    parameters, to_build = read_configuration((root / CONFIGURATION).read_text())
    assert parameters["timeout"] == "60" and parameters["level"] == "31"
    assert parameters["disk"] == "UUID=x"
    assert to_build == {"modules": "ext4"}
    assert (root / CONFIGURATION).stat().st_mode & 0o777 == 0o600
    assert "crashkernel=96M" in (root / GRUB).read_text()
    assert "-m pageproof kdump load" in (root / UNIT).read_text()
    link = root / "etc/systemd/system/multi-user.target.wants/pageproof-kdump.service"
    assert str(link.readlink()) == f"/{UNIT}"
    capsys.readouterr()
    assert setup(root, "--yes") == Exit.USAGE  # twice
    assert "set up by pageproof already" in capsys.readouterr().err
    assert remove(root) == Exit.SOUND
    assert files(root) == before


def test_with_kdump_tools(root: Path) -> None:
    """Its own file is extended, so that the package's and the administrator's lines stay."""
    add_kdump_tools(root)
    before = files(root)
    assert setup(root, "--yes", "--level", "23", "--compression", "zstd") == Exit.SOUND
    text = (root / "etc/default/kdump-tools").read_text()
    assert text.startswith(f"{DEFAULTS}\n{BEGIN}")
    assert 'USE_KDUMP="1"\nKDUMP_COREDIR="/var/crash"\nMAKEDUMP_ARGS="-z -d 23"\n' in text
    assert not (root / GRUB).exists()  # the package's own line is enough
    assert not (root / UNIT).exists()
    assert remove(root) == Exit.SOUND
    assert files(root) == before


def test_the_initramfs_beside_kdump_tools(root: Path) -> None:
    """Else both would load a crash kernel, and the last one would count."""
    add_kdump_tools(root)
    assert setup(root, "--yes", "--with", "initramfs") == Exit.SOUND
    assert read(root).commands[-1] == ("systemctl", "try-restart", "kdump-tools.service")
    assert 'USE_KDUMP="0"' in (root / "etc/default/kdump-tools").read_text()
    assert (root / UNIT).exists()


def test_over_ssh(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_kdump_tools(root)
    monkeypatch.setattr(place, "place", lambda *_: THERE)
    key = tmp_path / "key"
    assert setup(root, "--yes", "--to", "ssh:me@host:/d") == Exit.USAGE
    key.write_text("x")
    assert setup(root, "--yes", "--to", "ssh:me@host:/d", "--key", str(key)) == Exit.SOUND
    text = (root / "etc/default/kdump-tools").read_text()
    assert f'SSH="me@host"\nSSH_KEY="{key}"\n' in text


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("etc/os-release", "unknown distribution"),
        ("etc/default/grub", "no GRUB here"),
        ("usr/sbin/update-grub", "no GRUB here"),
        ("usr/sbin/kexec", "kexec is not installed; run: apt install kexec-tools"),
    ],
)
def test_something_is_missing(
    root: Path, missing: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / missing).unlink()
    before = files(root)
    assert setup(root, "--yes") == Exit.USAGE
    assert message in capsys.readouterr().err
    assert files(root) == before


def test_another_distribution(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(root / "etc/os-release", "ID=nixos\n")
    assert setup(root, "--yes") == Exit.USAGE
    assert "unknown distribution 'nixos'" in capsys.readouterr().err
    write(root / "etc/os-release", 'ID=linuxmint\nID_LIKE="ubuntu debian"\n')
    assert setup(root, "--dry-run") == Exit.SOUND


def test_no_bootloader(root: Path) -> None:
    (root / "etc/default/grub").unlink()
    assert setup(root, "--yes", "--no-bootloader") == Exit.SOUND
    assert not (root / GRUB).exists()


def test_kdump_tools_cannot_write_to_a_partition(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    add_kdump_tools(root)
    monkeypatch.setattr(place, "place", lambda *_: PARTITION)
    assert setup(root, "--yes", "--to", "partition:/dev/vdb1") == Exit.USAGE
    assert "add --with initramfs" in capsys.readouterr().err


def test_kdump_tools_is_asked_for_but_missing(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert setup(root, "--yes", "--with", "kdump-tools") == Exit.USAGE
    assert "kdump-tools is not installed; run: apt install kdump-tools" in capsys.readouterr().err


def test_nobody_to_ask(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert setup(root) == Exit.USAGE
    assert "add --yes" in capsys.readouterr().err
    assert not is_set_up(root)


def test_not_root(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert cli.main(["kdump", "remove"]) == Exit.USAGE
    assert "only root can change this machine; use sudo, or --dry-run" in capsys.readouterr().err


def test_a_file_was_changed_since(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert setup(root, "--yes") == Exit.SOUND
    (root / GRUB).write_text("mine\n")
    assert remove(root) == Exit.USAGE
    assert f"changed after setup: /{GRUB}; keep what you need" in capsys.readouterr().err
    assert remove(root, "--force") == Exit.SOUND
    assert not (root / GRUB).exists()
