# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian trees, made once by mmdebstrap: root file systems of guests, the build root, and crash.

One build root serves all kernels: trixie has gcc-12 and gcc-14, and its glibc runs the build tools
of the newest kernel (objtool of 7.2 needs 2.38, Debian 12 has 2.36).
"""

import hashlib
import os
import shutil
import sys
from pathlib import Path

from pageproof_lab.images.apt import KEYRING, mirrors
from pageproof_lab.paths import cache_dir, cache_lock, source_dir
from pageproof_lab.proc import run, run_in_root, say

SUITE = "trixie"
PYTHON = "3.13"  # of SUITE
GUEST_PACKAGES = (
    "busybox-static",
    "kmod",
    "kexec-tools",
    "makedumpfile",
    "python3",
    "qemu-guest-agent",
    "util-linux",
)
#: An ordinary Debian, with programs that share memory with the kernel.
DEBIAN_PACKAGES = (
    "bpftrace",
    "dbus",
    "iperf3",
    "kmod",
    "linux-perf",
    "python3",
    "qemu-guest-agent",
    "qemu-utils",
    "systemd-sysv",
    "tcpdump",
    "udev",
)
#: A Debian on a disk of its own, with GRUB. Its kernel is one that the lab has debug info of.
INSTALLED_PACKAGES = (
    "apt",
    "dbus",
    "dropbear-bin",  # for the other end of ssh, outside the guest
    "grub-pc",
    "initramfs-tools",
    "iproute2",
    "linux-image-cloud-amd64",
    "openssh-client",
    "python3",
    "qemu-guest-agent",
    "systemd-sysv",
    "udev",
)
#: What a user installs in it. apt's cache in the tree has them, as the guest has no network.
FOR_APT = ("busybox-static", "kdump-tools", "kexec-tools", "makedumpfile")
BUILD_PACKAGES = (
    "bc",
    "binutils",
    "gcc-12",
    "gcc-14",
    "libc6-dev",
    "libelf1t64",
    "libmd-dev",
    "make",
    "pahole",
    "sparse",
    "perl",
)
#: For a whole kernel, with BTF. The build root has what modules need.
KERNEL_PACKAGES = (
    "bc",
    "bison",
    "cpio",
    "flex",
    "gcc-14",
    "kmod",
    "libc6-dev",
    "libdw-dev",
    "libelf-dev",
    "libssl-dev",
    "make",
    "pahole",
    "perl",
    "python3-minimal",
    "rsync",
    "xz-utils",
    "zstd",
)
CRASH_PACKAGES = ("crash",)
_NO_DOCS = [f"--dpkgopt=path-exclude=/usr/share/{d}/*" for d in ("doc", "man", "locale", "info")]


def _tree(
    name: str, packages: tuple[str, ...], *, extra: str = "", hooks: tuple[str, ...] = ()
) -> Path:
    """Return the tree of some packages; its name has a digest of what it was made from."""
    key = hashlib.sha256(" ".join((SUITE, *packages, extra, *hooks)).encode()).hexdigest()[:12]
    path = cache_dir() / f"{name}-{key}"
    if path.is_dir():
        return path
    say(f"making the {name} (Debian {SUITE}, {len(packages)} packages and what they need)")
    part = path.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    tarball = part.with_suffix(".tar")
    where = mirrors()
    run(
        [
            "mmdebstrap",
            "--variant=minbase",
            f"--include={','.join(packages)}",
            *_NO_DOCS,
            *hooks,
            f"--keyring={KEYRING}",
            "--aptopt=Acquire::Retries 3",
            SUITE,
            tarball,
            where.source(SUITE),
            where.source(f"{SUITE}-security"),
        ],
        show=sys.stderr.isatty(),
    )
    # mmdebstrap makes a tarball, and tar drops the owners, so that this user owns the whole tree.
    run(["tar", "-xf", tarball, "-C", part, "--no-same-owner", "--exclude=./dev/*"])
    tarball.unlink()
    for old in cache_dir().glob(f"{name}-*"):
        if old != part:
            shutil.rmtree(old, ignore_errors=True)
    part.rename(path)
    return path


def build_root() -> Path:
    """Return the tree with compilers and make. Kernel headers are added to its /usr/src."""
    with cache_lock("build-root-make"):
        return _tree("build-root", BUILD_PACKAGES)


def kernel_root() -> Path:
    """Return the tree in which the debug kernel is built."""
    with cache_lock("kernel-root"):
        return _tree("kernel-root", KERNEL_PACKAGES)


def crash_root() -> Path:
    """Return the tree with crash, new enough for the lab's kernels; only the benchmark uses it."""
    with cache_lock("crash-root"):
        return _tree("crash-root", CRASH_PACKAGES)


def guest_root() -> Path:
    """Return the guest's tree: Python, drgn, kexec, makedumpfile, the guest agent."""
    with cache_lock("guest-root"):
        path = _tree("guest-root", GUEST_PACKAGES, extra=_requirements().read_text())
        stamp = path / "opt" / "python-ready"
        if not stamp.exists():
            _install_drgn(path)
            # Programs that the tree lacks otherwise (ps, free, vi); they come last in PATH.
            run_in_root(
                path, ["sh", "-c", "mkdir -p /opt/busybox && busybox --install -s /opt/busybox"]
            )
            stamp.touch()
    return path


def debian_root() -> Path:
    """Return the tree of a plain Debian: systemd, perf, tcpdump and others, and drgn."""
    with cache_lock("debian-root"):
        path = _tree("debian-root", DEBIAN_PACKAGES, extra=_requirements().read_text())
        stamp = path / "opt" / "python-ready"
        if not stamp.exists():
            _install_drgn(path)
            # Without an ID systemd assumes a first start and asks for a locale.
            run_in_root(path, ["systemd-machine-id-setup"])
            stamp.touch()
    return path


def installed_tree() -> Path:
    """Return the tree of an installed Debian, with drgn."""
    console = "console=ttyS0"
    settings = (
        f'GRUB_CMDLINE_LINUX="{console}"',
        "GRUB_TIMEOUT=0",
        "GRUB_TERMINAL=serial",
        "GRUB_DISABLE_OS_PROBER=true",
    )
    lines = "\\n".join(settings)
    hooks = (
        "--customize-hook=chroot $1 apt-get install --download-only --yes "
        f"--no-install-recommends {' '.join(FOR_APT)}",
        f"--customize-hook=printf '{lines}\\n' >> $1/etc/default/grub",
        # mmdebstrap empties apt's cache and index at its end.
        "--skip=cleanup/apt",
    )
    with cache_lock("installed-tree"):
        extra = _requirements().read_text()
        path = _tree("installed", INSTALLED_PACKAGES, extra=extra, hooks=hooks)
        stamp = path / "opt" / "python-ready"
        if not stamp.exists():
            _install_drgn(path)
            run_in_root(path, ["systemd-machine-id-setup"])
            # With all modules in the image, GRUB, which reads by the BIOS, takes minutes of
            # emulation.
            (path / "etc/initramfs-tools/conf.d/small").write_text("MODULES=list\nCOMPRESS=gzip\n")
            (path / "etc/initramfs-tools/modules").write_text("virtio_blk\n")
            run_in_root(path, ["update-initramfs", "-u"])
            stamp.parent.mkdir(exist_ok=True)
            stamp.touch()
    return path


def _requirements() -> Path:
    return source_dir() / "setup" / "requirements.txt"


def _install_drgn(path: Path) -> None:
    say(f"installing drgn into {path.name}")
    run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--progress-bar=on" if sys.stderr.isatty() else "--quiet",
            "--disable-pip-version-check",
            "--no-compile",
            "--only-binary=:all:",
            f"--python-version={PYTHON}",
            "--implementation=cp",
            "--platform=manylinux_2_28_x86_64",
            "--platform=manylinux_2_27_x86_64",
            "--platform=any",
            "--root-user-action=ignore",
            "--upgrade",
            f"--target={path}/usr/lib/python3/dist-packages",
            "-r",
            _requirements(),
        ],
        show=True,
    )
    # Without byte code Python and drgn take three times as long to start.
    run_in_root(
        path,
        [
            "python3",
            "-m",
            "compileall",
            "-q",
            "/usr/lib/python3",
            f"/usr/lib/python{PYTHON}",
        ],
    )


def image_of(root: Path) -> Path:
    """Return a tree as an ext4 image. Guests write to a snapshot of it, never to the image."""
    image = root.with_suffix(".ext4")
    kind = root.name.rpartition("-")[0]
    with cache_lock(f"{kind}-image"):
        if not image.exists():
            say(f"packing the {kind}")
            make_ext4(image, size_mib(root, spare_mib=64), root)
            for old in cache_dir().glob(f"{kind}-*.ext4"):
                if old != image:
                    old.unlink()
    return image


def make_ext4(image: Path, size_mib: int, tree: Path | None = None) -> None:
    """Make a sparse ext4 image in which root owns all files. This mounts nothing and needs no root.

    Args:
        image: the file to write.
        size_mib: size of the file system, in MiB.
        tree: directory to copy into it (default: an empty file system).
    """
    part = image.with_suffix(".part")
    part.unlink(missing_ok=True)
    as_root = [] if os.getuid() == 0 else ["unshare", "--map-root-user"]
    of_tree = ["-d", str(tree)] if tree is not None else []
    # Linux 5.10 does not support orphan files, and guests do not need a journal.
    features = ["-O", "^has_journal,^orphan_file", "-m", "0", "-E", "root_owner=0:0"]
    run([*as_root, "mke2fs", "-q", "-t", "ext4", *features, *of_tree, part, f"{size_mib}M"])
    part.rename(image)


def size_mib(tree: Path, spare_mib: int) -> int:
    """Return the size of an image for a directory tree, in MiB, with `spare_mib` left free."""
    used_mib = int(run(["du", "-sm", "--apparent-size", tree]).split()[0])
    return used_mib + used_mib // 10 + spare_mib
