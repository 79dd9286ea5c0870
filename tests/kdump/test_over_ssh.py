# SPDX-License-Identifier: GPL-2.0-or-later
"""The capture initramfs sends the dump over ssh, and only to the host whose key it has."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from capturing import is_the_same, live_report
from secondend import ADDRESS, GUEST_ADDRESS, SecondEnd, second_end

from pageproof_kdump.capture.image import Contents, build
from pageproof_kdump.capture.programs import with_libraries
from pageproof_kdump.install.place import SSH_PROGRAM
from pageproof_lab.guest import boot, qemu
from pageproof_lab.guest.guest import Guest
from pageproof_lab.images import kernels
from pageproof_lab.images.modules import module_index
from pageproof_lab.images.roots import guest_root, installed_tree
from pageproof_lab.proc import run

KERNEL = "6.12"
CRASH_SECONDS = 900
MAC = "52:54:00:12:34:56"

pytestmark = pytest.mark.long


@pytest.fixture
def second(tmp_path: Path) -> SecondEnd:
    return second_end(tmp_path)


@pytest.fixture
def guest(second: SecondEnd) -> Iterator[Guest]:
    words = [f"{word},mac={MAC}" if "virtio-net" in word else word for word in second.network]
    options = qemu.Options(cpus=1, memory_mib=512, extra=tuple(words))
    with boot.boot(kernels.fetch(KERNEL), options) as here:
        yield here


def load(guest: Guest, second: SecondEnd, host_key: str, scratch: Path) -> None:
    """Load a crash kernel that sends the dump to the second end, with a new key of its own."""
    key = scratch / "key"
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key])
    second.let_in(key.with_suffix(".pub").read_text())
    kernel = kernels.fetch(KERNEL)
    ssh = {
        path: (0o755, file.read_bytes())
        for path, file in with_libraries(installed_tree(), (SSH_PROGRAM,)).items()
    }
    contents = Contents(
        modules=("virtio_pci", "virtio_net"),
        parameters={
            **{"target": "ssh", "user": "root", "host": ADDRESS, "dir": "/dumps", "mac": MAC},
            **{"ip": GUEST_ADDRESS, "after": "poweroff", "pause": "0"},
        },
        files={
            **ssh,
            "etc/capture/key": (0o600, key.read_bytes()),
            "etc/capture/known_hosts": (0o644, f"dump-host {host_key}\n".encode()),
        },
    )
    image = build(kernel.release, contents, guest_root(), module_index(kernel).parents[2])
    guest.agent.write_file("/run/capture.img", image)
    guest.load_crash_kernel(("lzo",), image="/run/capture.img")


def panic(guest: Guest) -> str:
    agent = guest.sysrq_crash()
    guest.wait_end(CRASH_SECONDS)
    agent.close()
    return guest.sockets.serial.read_text(errors="replace").partition("Run /init")[2]


def test_over_ssh(guest: Guest, second: SecondEnd, tmp_path: Path) -> None:
    live = live_report(guest, tmp_path)
    load(guest, second, second.host_key, tmp_path)
    shown = panic(guest)
    print(shown)
    assert "capture: lzo code=0" in shown, shown[-3000:]
    (directory,) = (second.root / "dumps").iterdir()
    assert sorted(path.name for path in directory.iterdir()) == ["status", "vmcore.lzo"]
    is_the_same(live, directory / "vmcore.lzo")


def test_another_host_in_its_place(guest: Guest, second: SecondEnd, tmp_path: Path) -> None:
    """Its key differs, so it gets nothing."""
    other = tmp_path / "other"
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other])
    load(guest, second, " ".join(other.with_suffix(".pub").read_text().split()[:2]), tmp_path)
    shown = panic(guest)
    print(shown)
    assert "Host key verification failed" in shown, shown[-3000:]
    assert f"capture: cannot log in to {ADDRESS}" in shown
    assert not (second.root / "dumps").exists()
