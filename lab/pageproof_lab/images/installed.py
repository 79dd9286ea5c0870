# SPDX-License-Identifier: GPL-2.0-or-later
"""A Debian as its installer leaves it: a partitioned disk, GRUB in its boot sector, and packages
that a user can still install with apt, without a network.
"""

import os
import struct
from pathlib import Path

from pageproof_lab.images.roots import installed_tree, size_mib
from pageproof_lab.paths import cache_dir, cache_lock
from pageproof_lab.proc import Failed, run, say

#: Where the first partition begins. GRUB's core image lies before it, behind the boot sector.
PARTITION_BYTES = 1 << 20
_SECTOR_BYTES = 512
_LINUX = 0x83
#: Room for packages, initramfs images, and the dumps of two crashes.
_SPARE_MIB = 1500
#: Exit code of e2fsck(8) after it changed something.
_REPAIRED = 1
#: The device of the disk below, as the guest's kernel calls it.
ROOT_DEVICE = "/dev/vda1"


def installed_disk() -> Path:
    """Return the disk of a Debian with a kernel and GRUB's programs, made once.

    GRUB is not yet in its boot sector: grub-install wants the disk's device, which only a guest
    has. Guests must get a copy.
    """
    tree = installed_tree()
    disk = tree.with_suffix(".disk")
    with cache_lock("installed-disk"):
        if not disk.exists():
            say("packing the installed Debian")
            part = disk.with_suffix(".part")
            part.unlink(missing_ok=True)
            _partition(part, size_mib(tree, spare_mib=_SPARE_MIB))
            _fill(part, tree)
            for old in cache_dir().glob("installed-*.disk"):
                old.unlink()
            part.rename(disk)
    return disk


def kernel_of(tree: Path) -> tuple[Path, Path, str]:
    """Return kernel image, initramfs and release of the tree."""
    image = max((tree / "boot").glob("vmlinuz-*"))
    release = image.name.removeprefix("vmlinuz-")
    return image, tree / "boot" / f"initrd.img-{release}", release


def _partition(disk: Path, file_system_mib: int) -> None:
    """Create a sparse disk with one partition, in the format of MS-DOS.

    Of an entry Linux and GRUB read the type, the first sector and the number of sectors only; the
    rest describes cylinders.
    """
    sectors = (file_system_mib << 20) // _SECTOR_BYTES
    first = PARTITION_BYTES // _SECTOR_BYTES
    entry = struct.pack("<B3sB3sII", 0x80, b"\xfe\xff\xff", _LINUX, b"\xfe\xff\xff", first, sectors)
    with disk.open("wb") as file:
        file.write(bytes(440) + os.urandom(4) + bytes(2) + entry + bytes(48) + b"\x55\xaa")
        file.truncate(PARTITION_BYTES + (file_system_mib << 20))


def _fill(disk: Path, tree: Path) -> None:
    """Make a file system like that of Debian's installer, with a journal, in the partition."""
    size_kib = (disk.stat().st_size - PARTITION_BYTES) >> 10
    as_root = [] if os.getuid() == 0 else ["unshare", "--map-root-user"]
    run(
        [
            *as_root,
            *("mke2fs", "-q", "-t", "ext4", "-m", "0"),
            *("-E", f"root_owner=0:0,offset={PARTITION_BYTES}", "-d", tree, disk, f"{size_kib}k"),
        ]
    )


def copy_disk(disk: Path, into: Path) -> None:
    """Copy a disk, holes included."""
    run(["cp", "--sparse=always", "--reflink=auto", disk, into])


def replay_journal(disk: Path) -> None:
    """Write what is only in the file system's journal to its place, for the functions below.

    kdump-tools restarts the machine with its root mounted (reboot -f).

    Raises:
        LabError: the file system is damaged.
    """
    where = f"{disk}?offset={PARTITION_BYTES}"
    try:
        run(["e2fsck", "-p", "-E", "journal_only", where])
    except Failed as error:
        if error.code != _REPAIRED:
            raise


def read_file(disk: Path, path: str, target: Path) -> None:
    """Copy a file from the disk's file system without mounting it.

    Raises:
        FileNotFoundError: there is no such file.
    """
    part = target.with_name(target.name + ".part")
    part.unlink(missing_ok=True)
    run(["debugfs", "-R", f"dump {path} {part}", f"{disk}?offset={PARTITION_BYTES}"])
    if not part.exists():
        raise FileNotFoundError(path)
    part.rename(target)


def list_files(disk: Path, path: str, *, partition: bool = True) -> list[str]:
    """Return the names in a directory of the disk's file system, or of a disk that is just one."""
    where = f"{disk}?offset={PARTITION_BYTES}" if partition else disk
    listed = run(["debugfs", "-R", f"ls -p {path}", where])
    names = [line.split("/")[5] for line in listed.splitlines() if line.startswith("/")]
    return sorted(name for name in names if name not in (".", ".."))
