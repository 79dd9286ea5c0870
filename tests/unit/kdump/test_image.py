# SPDX-License-Identifier: GPL-2.0-or-later
"""The parts of the capture initramfs, against the programs that know them: cpio and readelf."""

import lzma
import re
import stat
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from pageproof.errors import PageproofError
from pageproof_kdump.capture import modules
from pageproof_kdump.capture.archive import archive
from pageproof_kdump.capture.image import Contents, build
from pageproof_kdump.capture.programs import needed, with_libraries
from pageproof_kdump.install.load import read_configuration


def test_archive(tmp_path: Path) -> None:
    files = {
        "init": (0o755, b"#!/bin/busybox sh\n"),
        "etc/capture/key": (0o600, b"x"),
        "lib/empty": (0o644, b""),
    }
    data = archive(files, ("proc", "var/tmp"))
    assert data == archive(files, ("proc", "var/tmp"))
    subprocess.run(["cpio", "-id", "--quiet"], input=data, cwd=tmp_path, check=True)
    found = {
        str(path.relative_to(tmp_path)): (stat.S_IMODE(path.stat().st_mode), path.read_bytes())
        for path in tmp_path.rglob("*")
        if path.is_file()
    }
    assert found == files
    assert (tmp_path / "var/tmp").is_dir() and (tmp_path / "proc").is_dir()
    listed = subprocess.run(["cpio", "-tv", "--quiet"], input=data, capture_output=True, check=True)
    assert {line.split()[2] for line in listed.stdout.decode().splitlines()} == {"root"}


@pytest.mark.parametrize("program", ["/bin/sh", sys.executable, "/usr/bin/readelf"])
def test_needed(program: str) -> None:
    file = Path(program).resolve()
    shown = subprocess.run(["readelf", "-ld", file], capture_output=True, text=True, check=True)
    interpreter = re.findall(r"program interpreter: (.*)\]", shown.stdout)
    names = re.findall(r"\(NEEDED\).*\[(.*)\]", shown.stdout)
    assert needed(file) == [*interpreter, *names]
    assert names


def test_libraries_of_libraries() -> None:
    """Every library that readelf names for any file of the result is in the result."""
    found = with_libraries(Path("/"), ["/usr/bin/readelf"])
    assert "lib64/ld-linux-x86-64.so.2" in found
    for file in found.values():
        for name in needed(file):
            assert (name.lstrip("/") if name.startswith("/") else f"lib/{name}") in found


def test_damaged_programs(tmp_path: Path) -> None:
    data = Path("/usr/bin/readelf").resolve().read_bytes()[:4096]
    file = tmp_path / "program"
    for cut in (8, 40, 60, 64, 100, 400, 4096):
        file.write_bytes(data[:cut])
        with pytest.raises(PageproofError, match="damaged program"):
            needed(file)
    file.write_bytes(data[:54] + struct.pack("<HH", 56, 65535) + data[58:])
    with pytest.raises(PageproofError, match="damaged program: 65535 program headers"):
        needed(file)
    file.write_text("#!/bin/sh\n")
    assert needed(file) == []


def test_a_missing_program(tmp_path: Path) -> None:
    with pytest.raises(PageproofError, match="makedumpfile is not installed; install it"):
        build("1.2.3", Contents(), tmp_path)


def test_no_modules_of_this_release(tmp_path: Path) -> None:
    with pytest.raises(PageproofError, match=r"no modules of Linux 1\.2\.3; run depmod"):
        modules.load_order(tmp_path, "1.2.3", ["ext4"])


def test_drivers_of_a_disk(tmp_path: Path) -> None:
    """A disk of virtio, and one of NVMe, whose devices are in different branches of /sys."""
    pci = tmp_path / "devices/pci0000:00"
    disk = pci / "0000:00:05.0/virtio2/block/vda/vda1"
    controller = pci / "0000:00:06.0/nvme/nvme0"
    virtual = tmp_path / "devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1"
    for directory in (disk, controller, virtual):
        directory.mkdir(parents=True)
    (virtual.parent / "nvme0").symlink_to(controller)
    for device, name in (
        (disk.parents[2], "virtio_blk"),
        (disk.parents[3], "virtio_pci"),
        (controller.parents[1], "nvme"),
    ):
        driver, module = tmp_path / f"drivers/{name}", tmp_path / f"module/{name}"
        driver.mkdir(parents=True)
        module.mkdir(parents=True)
        (driver / "module").symlink_to(module)
        (device / "driver").symlink_to(driver)
    block = tmp_path / "class/block"
    block.mkdir(parents=True)
    (block / "vda1").symlink_to(disk)
    (block / "nvme0n1").symlink_to(virtual)
    assert list(modules.drivers_of(block / "vda1")) == ["virtio_blk", "virtio_pci"]
    assert list(modules.drivers_of(block / "nvme0n1")) == ["nvme"]


def test_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = b"\x7fELF module"
    packed = {
        "a.ko": plain,
        "b.ko.xz": lzma.compress(plain),
        "c.ko.zst": subprocess.run(["zstd"], input=plain, capture_output=True, check=True).stdout,
    }
    paths = []
    for name, data in packed.items():
        paths.append(tmp_path / name)
        paths[-1].write_bytes(data)
    monkeypatch.setattr(modules, "load_order", lambda *_: paths)
    found = modules.modules(tmp_path, "x", [])
    assert found == {f"modules/{n:02d}-{name}.ko": plain for n, name in enumerate("abc")}


def test_configuration() -> None:
    text = "# note\n\ndisk=UUID=1-2\nbuild.modules=a,b\n"
    assert read_configuration(text) == ({"disk": "UUID=1-2"}, {"modules": "a,b"})
    with pytest.raises(PageproofError, match="line 2 is not NAME=VALUE: 'x'"):
        read_configuration("a=b\nx")
