# SPDX-License-Identifier: GPL-2.0-or-later
"""Small initramfs images: busybox, the modules for the disks, and other files.

Format: "newc" cpio, uncompressed (linux Documentation/driver-api/early-userspace/
buffer-format.rst).
"""

import gzip
import lzma
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from pageproof_lab import LabError
from pageproof_lab.images.kernels import Kernel
from pageproof_lab.images.modules import load_order
from pageproof_lab.proc import run

DISK_MODULES = ("virtio_pci", "virtio_blk", "ext4")
#: By the end of a module's file name. Python reads zstd from 3.14 on.
_UNPACK: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.decompress,
    ".xz": lzma.decompress,
}
GUEST_MODULES = (*DISK_MODULES, "virtio_console", "qemu_fw_cfg")


def copy_modules(kernel: Kernel, names: Iterable[str], into: Path) -> None:
    """Copy modules and what they depend on, uncompressed.

    File names begin with a number that gives the order of loading.

    Raises:
        LabError: a module is compressed in a way that Python cannot read.
    """
    into.mkdir(parents=True)
    for number, path in enumerate(load_order(kernel, names)):
        name, _, packed = path.name.partition(".ko")
        if packed not in _UNPACK:
            raise LabError(f"{path}: cannot unpack {packed}; unpack the modules and run depmod")
        data = _UNPACK[packed](path.read_bytes())
        (into / f"{number:02d}-{name}.ko").write_bytes(data)


def pack(
    image: Path,
    files: Mapping[str, Path],
    *,
    trees: Mapping[str, Path] | None = None,
    kernel: Kernel | None = None,
    modules: Iterable[str] = (),
) -> None:
    """Write an initramfs image.

    Args:
        image: the file to write; it is replaced only when the new one is complete.
        files: path in the image -> file; all are executable in the image.
        trees: path in the image -> directory to copy.
        kernel: the kernel to take `modules` from.
        modules: names of modules; what they depend on comes too.

    Raises:
        LabError: cpio failed.
    """
    with tempfile.TemporaryDirectory(prefix="pageproof-initramfs-") as name:
        top = Path(name)
        for sub in ("bin", "dev", "proc", "sys", "tmp", "mnt"):
            (top / sub).mkdir()
        for target, source in files.items():
            place = top / target
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, place)
            place.chmod(0o755)
        for target, tree in (trees or {}).items():
            shutil.copytree(tree, top / target, symlinks=True, dirs_exist_ok=True)
        if kernel is not None:
            copy_modules(kernel, modules, top / "modules")
        part = image.with_suffix(".part")
        part.unlink(missing_ok=True)
        run(
            ["cpio", "-o", "-H", "newc", "--quiet", "--owner=0:0", "-O", part.absolute()],
            stdin="\n".join(sorted(str(p.relative_to(top)) for p in top.rglob("*"))),
            cwd=top,
        )
        part.rename(image)
