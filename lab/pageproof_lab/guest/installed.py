# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests that boot a Debian from its own disk, by its own GRUB (images/installed.py).

Each boot is a QEMU of its own, as QEMU ends when a guest restarts. The disk stays.
"""

import shutil
import time
from pathlib import Path

from pageproof_lab import LabError
from pageproof_lab.guest import boot, qemu
from pageproof_lab.guest.guest import Facts, Guest
from pageproof_lab.images import installed, kernels
from pageproof_lab.images.roots import installed_tree
from pageproof_lab.paths import cache_lock
from pageproof_lab.proc import say

#: update-grub, apt and mkinitramfs in an emulated guest on a busy host.
INSTALL_SECONDS = 1800


def disk_with_grub() -> Path:
    """Return the disk of a Debian that boots by itself, made once. Guests must get a copy."""
    plain = installed.installed_disk()
    disk = plain.with_suffix(".grub")
    with cache_lock("installed-grub"):
        if not disk.exists():
            part = disk.with_suffix(".part")
            part.unlink(missing_ok=True)
            installed.copy_disk(plain, part)
            say("installing GRUB on it, from inside")
            _install_grub(part)
            for old in disk.parent.glob("installed-*.grub"):
                old.unlink()
            part.rename(disk)
    return disk


def _install_grub(disk: Path) -> None:
    image, initramfs, release = installed.kernel_of(installed_tree())
    how = f"root={installed.ROOT_DEVICE} rw console=ttyS0"
    options = qemu.Options(cpus=1, boot_seconds=INSTALL_SECONDS)
    with _boot(disk, options, release, kernel=(image, initramfs, how)) as guest:
        root = f"UUID={guest.check('blkid', '-s', 'UUID', '-o', 'value', installed.ROOT_DEVICE)}"
        table = f"{root.strip()} / ext4 errors=remount-ro 0 1\n"
        guest.agent.write_file("/etc/fstab", table.encode())
        guest.check("grub-install", "/dev/vda", timeout_seconds=INSTALL_SECONDS)
        guest.check("update-grub", timeout_seconds=INSTALL_SECONDS)
        power_off(guest)


def boot_from(disk: Path, options: qemu.Options) -> Guest:
    """Boot a disk by the GRUB in its boot sector and wait until its guest agent answers.

    Raises:
        LabError: the guest did not come up.
    """
    return _boot(disk, options, installed.kernel_of(installed_tree())[2], kernel=None)


def power_off(guest: Guest, command: str = "poweroff", timeout_seconds: float = 300) -> None:
    """Shut the guest down and wait until its QEMU has ended.

    Raises:
        LabError: it did not end in time.
    """
    guest.hang_up()
    guest.agent.send("guest-exec", {"path": f"/sbin/{command}"})
    guest.wait_end(timeout_seconds)


def _boot(
    disk: Path, options: qemu.Options, release: str, kernel: tuple[Path, Path, str] | None
) -> Guest:
    known = kernels.cached("6.12")
    same = known is not None and known.release == release
    accel, model = qemu.choose(kernels.fetch("6.12").vmlinuz, options)
    facts = Facts(
        kernel="6.12" if same else kernels.OWN,
        release=release,
        accelerator=accel,
        vmlinux=str(known.vmlinux) if known is not None and same else "",
        module=None,
        append="",
    )
    guest = Guest(boot.new_directory(None), facts)
    try:
        guest.sockets.check()
        words = qemu.arguments(
            options, guest.sockets, accel=accel, model=model, kernel=kernel, disks=[(disk, True)]
        )
        start = time.monotonic()
        guest.running = qemu.Running(
            words, guest.sockets, options.deadline_seconds, scratch=guest.disks
        )
        boot.wait_boot(guest, start + options.boot_seconds)
        return guest
    except BaseException:
        _keep_log(guest, disk)
        guest.close()
        raise


def _keep_log(guest: Guest, disk: Path) -> None:
    """Copy the console's log beside the disk, as the guest's directory is removed."""
    if guest.sockets.serial.exists():
        shutil.copyfile(guest.sockets.serial, disk.with_suffix(".log"))


def debug_info(release: str) -> Path | None:
    """Return vmlinux of the lab's kernel if it has this release.

    Raises:
        LabError: the lab has no kernel 6.12.
    """
    known = kernels.cached("6.12")
    if known is None:
        raise LabError("the lab has no kernel 6.12 yet")
    return known.vmlinux if known.release == release else None
