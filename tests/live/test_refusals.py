# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests that cannot be examined from outside, booted for real: each is refused, never judged.

tests/unit/attach/test_choice.py has pages of both guests, recorded, for every run.
"""

from __future__ import annotations

import gzip
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from machine import START_SECONDS, pageproof

from pageproof_lab.guest.qemu import QEMU
from pageproof_lab.images.apt import Apt, extract
from pageproof_lab.images.initramfs import pack
from pageproof_lab.images.roots import guest_root

pytestmark = pytest.mark.long

INIT = "#!/bin/busybox sh\necho up > /dev/console\nwhile true; do /bin/busybox sleep 3600; done\n"


def download(apt: Apt, pattern: str, files: str, into: Path) -> Path:
    """Return a file of the newest package whose name matches."""

    def version(name: str) -> list[int]:
        return list(map(int, re.findall(r"\d+", name)))

    name = max(apt.names(pattern), key=version)
    (deb,) = apt.download([name], into / name)
    extract(deb, files, into / name)
    (found,) = (path for path in (into / name).glob(f"boot/{Path(files).name}"))
    return found


def initramfs(into: Path) -> Path:
    (into / "init").write_text(INIT)
    image = into / "init.img"
    pack(image, {"bin/busybox": guest_root() / "usr/bin/busybox", "init": into / "init"})
    return image


@contextmanager
def running(folder: Path, words: Sequence[str | Path], ready: str) -> Iterator[Path]:
    """Run QEMU until the guest's serial console has a line; yields its QMP socket."""
    socket, serial = folder / "qmp.sock", folder / "serial"
    command = [QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
    command += ["-machine", "q35", "-accel", "tcg,thread=multi", "-serial", f"file:{serial}"]
    command += ["-qmp", f"unix:{socket},server=on,wait=off", *map(str, words)]
    with subprocess.Popen(command) as process:
        try:
            deadline = time.monotonic() + START_SECONDS
            while ready not in (serial.read_text(errors="replace") if serial.exists() else ""):
                assert process.poll() is None and time.monotonic() < deadline, serial.read_text()
                time.sleep(0.1)
            yield socket
        finally:
            process.kill()


def test_xen_pv(tmp_path: Path) -> None:
    """Debian's Xen with Debian's kernel as dom0."""
    apt = Apt("refused-amd64", ("bookworm", "bookworm-security"))
    apt.update()
    packed = download(apt, r"xen-hypervisor-[0-9.]+-amd64", "./boot/xen-*-amd64.gz", tmp_path)
    kernel = download(apt, r"linux-image-6\.1\.0-\d+-amd64", "./boot/vmlinuz-*", tmp_path)
    xen = tmp_path / "xen"  # QEMU's multiboot loader wants it unpacked
    xen.write_bytes(gzip.decompress(packed.read_bytes()))
    modules = f"{kernel} console=hvc0,{initramfs(tmp_path)}"
    # With the features of -cpu max this Xen does not run this dom0.
    words: list[str | Path] = [
        "-cpu",
        "qemu64,+smep",
        "-m",
        "1024",
        "-kernel",
        xen,
        "-initrd",
        modules,
    ]
    append = ["-append", "console=com1 com1=115200,8n1 dom0_mem=512M"]
    with running(tmp_path, [*words, *append], "\nup") as socket:
        result = pageproof("--qemu", socket, "verify")
    assert (result.code, result.out) == (2, "")
    assert "this is a Xen PV guest, Linux 6.1.0-" in result.err


def test_a_32_bit_kernel(tmp_path: Path) -> None:
    apt = Apt("refused-i386", ("bookworm",), "i386")
    apt.update()
    kernel = download(apt, r"linux-image-6\.1\.0-\d+-686-pae", "./boot/vmlinuz-*", tmp_path)
    words: list[str | Path] = ["-cpu", "max", "-m", "512", "-kernel", kernel]
    words += ["-append", "console=ttyS0"]
    # It has no initramfs. Its panic does not matter: what it has in memory stays.
    with running(tmp_path, words, "VFS: Unable to mount root") as socket:
        result = pageproof("--qemu", socket, "verify")
    assert (result.code, result.out) == (2, "")
    assert "the guest runs a 32-bit kernel, Linux 6.1.0-" in result.err
