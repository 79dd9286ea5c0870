# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks and initramfs images of a guest."""

import shutil
from pathlib import Path

from pageproof_kdump.capture.image import Contents, build
from pageproof_lab.images.build import Built
from pageproof_lab.images.bytecode import PACKAGES, compiled_packages
from pageproof_lab.images.debuginfo import by_build_id
from pageproof_lab.images.initramfs import DISK_MODULES, GUEST_MODULES, pack
from pageproof_lab.images.kernels import Kernel
from pageproof_lab.images.modules import module_index
from pageproof_lab.images.roots import guest_root, make_ext4, size_mib
from pageproof_lab.paths import cache_lock, source_dir
from pageproof_lab.proc import run

#: The lab waits for the end of the guest; a guest that failed need not be read on its console.
CAPTURE = {"disk": "/dev/vdc", "after": "poweroff", "pause": "0"}


def kernel_disk(kernel: Kernel) -> Path:
    """Return the disk with a kernel's modules and debug info: the guest's /usr/lib/debug."""
    image = kernel.home / "kernel-disk.ext4"
    with cache_lock(f"disk-{kernel.name}"):
        if not image.exists():
            (kernel.home / "disk.ext4").unlink(missing_ok=True)  # of an older version
            tree = image.with_suffix(".tree")
            shutil.rmtree(tree, ignore_errors=True)
            debug = tree / "lib" / "modules" / kernel.release
            debug.mkdir(parents=True)
            if kernel.dwarf is not None:
                _link_or_copy(kernel.dwarf, debug / "vmlinux")
            _link_or_copy(kernel.vmlinuz, tree / "vmlinuz")
            modules = tree / "modules" / kernel.release
            shutil.copytree(kernel.modules, modules, symlinks=True)
            for file in module_index(kernel).iterdir():
                if not file.is_symlink():
                    shutil.copyfile(file, modules / file.name)
            make_ext4(image, size_mib(tree, spare_mib=16), tree)
            shutil.rmtree(tree)
    return image


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError:  # another file system
        shutil.copyfile(source, target)


def capture_image(kernel: Kernel, into: Path) -> Path:
    """Make the initramfs of the crash kernel, as `pageproof kdump setup` does on a machine.

    Its programs come from the guest's root, and its modules from the kernel's own index.
    """
    image = into / "capture.img"
    contents = Contents(modules=DISK_MODULES, parameters=CAPTURE)
    modules_root = module_index(kernel).parents[2]
    image.write_bytes(build(kernel.release, contents, guest_root(), modules_root))
    return image


def boot_image(kernel: Kernel, built: Built | None, into: Path) -> Path:
    """Make the initramfs that mounts the disks and copies this clone to /opt/pageproof."""
    source, root = source_dir(), guest_root()
    files = {
        "bin/busybox": root / "usr/bin/busybox",
        "init": source / "lab/guest_files/init",
        "pageproof/guest/rc": source / "lab/guest_files/rc",
        "pageproof/guest/inittab": source / "lab/guest_files/inittab",
        "pageproof/guest/pageproof": source / "lab/guest_files/pageproof",
        "pageproof/capture.img": capture_image(kernel, into),
        **{f"pageproof/kdump/{p.name}": p for p in (source / "kdump").iterdir() if p.is_file()},
    }
    trees = {f"pageproof/{PACKAGES}": compiled_packages()}
    if built is not None:
        files[f"pageproof/debug/{by_build_id(built.module)}"] = built.module
        if built.programs is not None:
            trees["pageproof/vm"] = built.programs
    for engine in (source / "build/lib").glob("pageproof_pagewalk*.so"):
        files[f"pageproof/lib/{engine.name}"] = engine
    image = into / "boot.img"
    pack(image, files, trees=trees, kernel=kernel, modules=GUEST_MODULES)
    return image


def plain_boot_image(kernel: Kernel, into: Path) -> Path:
    """Make the initramfs that mounts the disks and starts the root's own init."""
    files = {
        "bin/busybox": guest_root() / "usr/bin/busybox",
        "init": source_dir() / "lab/guest_files/init",
    }
    image = into / "boot.img"
    pack(image, files, kernel=kernel, modules=GUEST_MODULES)
    return image


def dump_disk(into: Path, size_mib: int) -> Path:
    """Make an empty ext4 disk for the dumps of the crash kernel."""
    disk = into / "dump.ext4"
    make_ext4(disk, size_mib)
    return disk


def read_from_disk(disk: Path, path: str, target: Path) -> None:
    """Copy a file from an ext4 image without mounting it.

    Raises:
        FileNotFoundError: the image has no such file.
    """
    part = target.with_name(target.name + ".part")
    part.unlink(missing_ok=True)
    run(["debugfs", "-R", f"dump {path} {part}", disk])
    if not part.exists():
        raise FileNotFoundError(path)
    part.rename(target)
