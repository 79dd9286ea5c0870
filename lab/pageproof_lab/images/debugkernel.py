# SPDX-License-Identifier: GPL-2.0-or-later
"""Build the debug kernel: Debian's source of 6.12, with the options of lab/debug_kernel/config."""

import hashlib
import json
import os
import resource
import shutil
import time
from pathlib import Path

from pageproof_lab import LabError
from pageproof_lab.images import debuginfo, kernels
from pageproof_lab.images.apt import Apt, extract
from pageproof_lab.images.kernels import DEBUG, Kernel
from pageproof_lab.images.roots import build_root, kernel_root
from pageproof_lab.paths import cache_dir, cache_lock, source_dir
from pageproof_lab.proc import run, run_in_root, say

SOURCE = "linux-source-6.12"
BUILD_SECONDS = 4 * 3600
_WORK = "build/linux"  # in the kernel root


def debug_kernel() -> Kernel:
    """Return the debug kernel; build it unless the cache has one of the same options.

    Raises:
        LabError: the source could not be downloaded, an option was not accepted, or make failed.
    """
    options = (source_dir() / "lab/debug_kernel/config").read_text()
    digest = hashlib.sha256(options.encode()).hexdigest()
    home = cache_dir() / "kernels" / DEBUG.name
    with cache_lock(f"kernel-{DEBUG.name}"):
        if _made_from(home) != digest:
            (home / "complete.json").unlink(missing_ok=True)
            release = _build(home, options)
            (home / "complete.json").write_text(
                json.dumps({"release": release, "made_from": digest})
            )
    return kernels.fetch(DEBUG.name)


def _made_from(home: Path) -> str | None:
    """Return the digest of the options of the kernel in the cache, None if there is none."""
    try:
        found: str = json.loads((home / "complete.json").read_text())["made_from"]
    except FileNotFoundError:
        return None
    return found


def _build(home: Path, options: str) -> str:
    root = kernel_root()
    work = root / _WORK
    shutil.rmtree(work, ignore_errors=True)
    try:
        _fetch_source(work)
        (work / "wanted.config").write_text(options)
        _make(root, "KCONFIG_ALLCONFIG=wanted.config", "allnoconfig")
        made = (work / ".config").read_text()
        if refused := refused_options(options, made):
            raise LabError(
                f"the debug kernel's configuration lacks {', '.join(refused)}: an option that it "
                "depends on is missing in lab/debug_kernel/config"
            )
        say(f"building the debug kernel ({made.count('=y')} options): about half an hour")
        start, cpu = time.monotonic(), _cpu_seconds()
        _make(root, f"-j{(os.cpu_count() or 1) + 1}", "bzImage", "modules")
        wall, cpu = time.monotonic() - start, _cpu_seconds() - cpu
        say(f"built in {wall / 60:.0f} minutes, {cpu / 60:.0f} minutes of CPU time")
        return _install(home, root, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _fetch_source(work: Path) -> None:
    apt = Apt(f"kernel-{DEBUG.name}", DEBUG.suites)
    apt.update()
    say(f"fetching {SOURCE} (about 150 MB)")
    work.mkdir(parents=True)
    (deb,) = apt.download([SOURCE], work / "deb")
    extract(deb, f"*/{SOURCE}.tar.xz", work / "deb")
    (tarball,) = (work / "deb").rglob(f"{SOURCE}.tar.xz")
    run(["tar", "-xJf", tarball, "-C", work, "--strip-components=1"])
    shutil.rmtree(work / "deb")


def _make(root: Path, *words: str) -> str:
    make = ["make", "-C", f"/{_WORK}", "ARCH=x86_64", f"CC={DEBUG.compiler}"]
    # One compiler for both, or install-extmod-build compiles the tools in scripts/ again.
    make += [f"HOSTCC={DEBUG.compiler}"]
    return run_in_root(root, [*make, *words], timeout_seconds=BUILD_SECONDS)


def refused_options(wanted: str, made: str) -> list[str]:
    """Return the options that kconfig did not take over, which it does without a message."""
    there = set(made.splitlines())
    lines = (line for line in wanted.splitlines() if line.startswith("CONFIG_"))
    return [line for line in lines if line not in there]


def _install(home: Path, root: Path, work: Path) -> str:
    """Keep what the lab needs; return the release."""
    release = (work / "include/config/kernel.release").read_text().strip()
    part = home / f"{release}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    _make(root, "INSTALL_MOD_PATH=installed", "INSTALL_MOD_STRIP=1", "modules_install")
    modules = part / "modules" / release
    shutil.copytree(
        work / "installed/lib/modules" / release,
        modules,
        ignore=shutil.ignore_patterns("build", "source"),
    )
    # What `make bindeb-pkg` puts into linux-headers.
    _make(root, "run-command", "KBUILD_RUN_COMMAND=scripts/package/install-extmod-build headers")
    shutil.copytree(work / "headers", part / "headers", symlinks=True)
    shutil.copy2(work / "arch/x86/boot/bzImage", part / "vmlinuz")
    shutil.copy2(work / ".config", part / "config")
    kernels.strip_for_drgn(work / "vmlinux", part / "vmlinux")
    for old in home.iterdir():
        if old != part:
            shutil.rmtree(old)
    # Those of an earlier build may have the same release.
    shutil.rmtree(build_root() / f"usr/src/linux-headers-{release}", ignore_errors=True)
    part.rename(home / release)
    debuginfo.publish(home / release / "vmlinux")
    return release
