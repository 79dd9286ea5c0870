# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's kernels: the list of series and flavours, and the download of what the lab needs."""

import hashlib
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from pageproof_lab import LabError
from pageproof_lab.images import debuginfo
from pageproof_lab.images.apt import Apt, NotInArchive, extract
from pageproof_lab.images.roots import build_root
from pageproof_lab.paths import cache_dir, cache_lock
from pageproof_lab.proc import run, say


@dataclass(frozen=True)
class Series:
    """A series of kernels in Debian's archive."""

    name: str
    suites: tuple[str, ...]
    version: str  # regular expression that matches its releases without their flavour
    compiler: str
    levels: tuple[int, ...]  # numbers of page-table levels that it supports


SERIES = (
    # Debian built 5.10 without CONFIG_X86_5LEVEL.
    Series("5.10", ("bullseye", "bullseye-security"), r"5\.10\.0-\d+", "gcc-12", (4,)),
    Series("6.1", ("bookworm", "bookworm-security"), r"6\.1\.0-\d+", "gcc-12", (4, 5)),
    Series("6.12", ("trixie", "trixie-security"), r"6\.12\.\d+\+deb13", "gcc-14", (4, 5)),
    Series("7.2", ("trixie-backports",), r"7\.2\.\d+\+deb13", "gcc-14", (4, 5)),
)

#: Made by `lab debug-kernel` from Debian's source of 6.12 (images/debugkernel.py). No command uses
#: it unless it is named, because its build takes half an hour.
DEBUG = Series("debug", ("trixie", "trixie-security"), "", "gcc-14", (4, 5))

CLOUD = "cloud-amd64"
#: Debian's names. The debug package of the others is three times as large (1 GB), and BTF does
#: without it, so the lab has debug info of the cloud kernels only.
FLAVOURS = (CLOUD, "amd64", "rt-amd64")
NAMES = (*(one.name for one in SERIES), DEBUG.name)
OWN = "own"  # name of a kernel that the user brought


@dataclass(frozen=True)
class Kernel:
    """A complete kernel in the cache."""

    name: str  # "6.12", "6.12-rt-amd64" or `OWN`: names what is made from it
    release: str
    compiler: str
    levels: tuple[int, ...]
    home: Path  # directory for files that are made from it
    vmlinuz: Path
    modules: Path  # the directory lib/modules/RELEASE
    dwarf: Path | None  # vmlinux with debug info, for drgn; None: pageproof uses BTF
    headers: str | None  # build directory inside the build root

    @property
    def vmlinux(self) -> Path:
        """vmlinux with debug info.

        Raises:
            LabError: the lab has none of this kernel.
        """
        if self.dwarf is None:
            raise LabError(f"{self.release}: the lab has no debug info of this kernel")
        return self.dwarf


def series(name: str) -> Series:
    """Return the series of that name.

    Raises:
        LabError: unknown name.
    """
    for one in (*SERIES, DEBUG):
        if one.name == name:
            return one
    raise LabError(f"unknown kernel {name!r}; choose from {', '.join(NAMES)}")


def _name(series_name: str, flavour: str) -> str:
    """Return the name of a kernel; the flavour counts from the second on."""
    return series_name if flavour == CLOUD else f"{series_name}-{flavour}"


def cached(name: str, flavour: str = CLOUD) -> Kernel | None:
    """Return the kernel of a series and a flavour if it is in the cache, else None."""
    one, called = series(name), _name(name, flavour)
    home = cache_dir() / "kernels" / called
    try:
        release: str = json.loads((home / "complete.json").read_text())["release"]
    except FileNotFoundError:
        return None
    tree = home / release
    return Kernel(
        called,
        release,
        one.compiler,
        one.levels,
        tree,
        tree / "vmlinuz",
        tree / "modules" / release,
        tree / "vmlinux" if flavour == CLOUD else None,
        f"/usr/src/linux-headers-{release}",
    )


def fetch(name: str, flavour: str = CLOUD) -> Kernel:
    """Return the kernel of a series and a flavour; download it unless it is in the cache.

    Raises:
        LabError: it could not be downloaded; the debug kernel was not built yet.
    """
    called = _name(name, flavour)
    with cache_lock(f"kernel-{called}"):
        kernel = cached(name, flavour)
        if kernel is None and name == DEBUG.name:
            raise LabError("the debug kernel is not in the cache; build it with: make debug-kernel")
        if kernel is None:
            release = _download(series(name), flavour)
            (cache_dir() / "kernels" / called / "complete.json").write_text(
                json.dumps({"release": release})
            )
            kernel = cached(name, flavour)
            assert kernel is not None
            if kernel.dwarf is not None:
                debuginfo.publish(kernel.dwarf)
    _install_headers(kernel)
    return kernel


def _version(release: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", release)))


def _download(one: Series, flavour: str = CLOUD) -> str:
    apt = Apt(f"kernel-{one.name}", one.suites)
    with cache_lock(f"apt-{apt.name}"):  # the flavours of a series share an index
        apt.update()
    debug, what = ("-dbg", "debug info: about 400 MB") if flavour == CLOUD else ("", "150 MB")
    releases = [
        n.removeprefix("linux-image-").removesuffix(debug)
        for n in apt.names(rf"linux-image-{one.version}-{flavour}{debug}")
    ]
    failure = "the index lists none"
    for release in sorted(releases, key=_version, reverse=True):
        say(f"fetching kernel {release} (image, headers, {what})")
        try:
            _fetch_release(apt, _name(one.name, flavour), release, debug)
            return release
        except NotInArchive as error:
            # The index may list a package that was removed from the pool (seen in
            # bullseye-security).
            say(f"{release} is no longer in the archive; trying the next older release")
            failure = str(error)
    raise LabError(f"no kernel {one.name} in {', '.join(one.suites)}: {failure}")


def _packages(apt: Apt, release: str, debug: str) -> dict[str, list[str]]:
    """Return package names by use. 7.2 has kernel and modules in dependencies of the image."""
    image = [f"linux-image-{release}"]
    image += [
        n
        for n in apt.depends(image[0])
        if re.fullmatch(rf"linux-(binary|modules)-{re.escape(release)}", n)
    ]
    headers = [f"linux-headers-{release}"]
    headers += [  # before 7.2, real-time kernels have common headers of their own
        n
        for n in apt.depends(headers[0])
        if re.fullmatch(r"linux-headers-.*-common(-rt)?|linux-kbuild-.*", n)
    ]
    return {"image": image, "headers": headers, "debug": [image[0] + debug] if debug else []}


def _fetch_release(apt: Apt, called: str, release: str, debug: str) -> None:
    home = cache_dir() / "kernels" / called
    part = home / f"{release}.part"
    shutil.rmtree(part, ignore_errors=True)
    try:
        _fill(part, apt, release, debug)
        shutil.rmtree(home / release, ignore_errors=True)
        part.rename(home / release)
    finally:  # drop an incomplete release
        shutil.rmtree(part, ignore_errors=True)


def _fill(part: Path, apt: Apt, release: str, debug: str) -> None:
    """Download the packages of a release and keep what the lab needs."""
    packages = _packages(apt, release, debug)
    debs = {use: apt.download(names, part / use) for use, names in packages.items() if names}
    for deb in debs["image"]:
        run(["dpkg-deb", "-x", deb, part / "tree"])
    lib = "lib/modules" if (part / "tree/lib/modules").is_dir() else "usr/lib/modules"
    images = [*(part / "tree/boot").glob("vmlinuz-*"), *(part / "tree" / lib).glob("*/vmlinuz*")]
    if not images:
        raise LabError(f"{release}: no vmlinuz in its packages")
    images[0].rename(part / "vmlinuz")
    (part / "tree" / lib).rename(part / "modules")
    if debug:
        _extract_vmlinux(debs["debug"][0], part)
        shutil.rmtree(part / "debug")
    for leftover in ("tree", "image"):
        shutil.rmtree(part / leftover)


def _extract_vmlinux(deb: Path, into: Path) -> None:
    """Extract vmlinux from the debug package, without the sections that drgn does not use."""
    say("extracting the debug info")
    tree = into / "debug" / "tree"
    tree.mkdir()
    extract(deb, "*/vmlinux*", tree)
    found = [p for p in tree.rglob("vmlinux*") if p.is_file() and not p.is_symlink()]
    if not found:
        raise LabError(f"{deb.name}: no vmlinux in it")
    strip_for_drgn(found[0], into / "vmlinux")


def strip_for_drgn(vmlinux: Path, into: Path) -> None:
    """Copy vmlinux without the sections that drgn does not use."""
    drop = ".rela*", ".debug_line", ".debug_aranges", ".debug_frame", ".debug_loc*", ".debug_r*"
    run(["objcopy", *[f"--remove-section={s}" for s in drop], vmlinux, into])


def own(image: Path, modules: Path, vmlinux: Path | None) -> Kernel:
    """Return a kernel that the user brought.

    Args:
        image: bzImage or vmlinuz.
        modules: its directory lib/modules/RELEASE, or a directory with only that in it.
        vmlinux: its vmlinux with debug info; None: pageproof uses BTF.

    Raises:
        LabError: a file is missing, or `modules` has the modules of several kernels.
    """
    files = [image, vmlinux] if vmlinux is not None else [image]
    for path in (*files, modules):
        if not path.exists():
            raise LabError(f"{path}: no such file or directory")
    if not (modules / "modules.order").exists():
        found = sorted(modules.glob("**/modules.order"))
        if len(found) != 1:
            raise LabError(
                f"{modules}: modules of {len(found)} kernels; name one lib/modules/RELEASE"
            )
        modules = found[0].parent
    key = "".join(f"{p.resolve()} {p.stat().st_mtime_ns}\n" for p in (*files, modules))
    home = cache_dir() / "kernels" / OWN / hashlib.sha256(key.encode()).hexdigest()[:12]
    home.mkdir(parents=True, exist_ok=True)
    return Kernel(OWN, modules.name, "", (4, 5), home, image, modules, vmlinux, None)


def _install_headers(kernel: Kernel) -> None:
    """Unpack the headers where their Makefiles expect them: /usr/src of the build root."""
    root = build_root()
    assert kernel.headers is not None
    with cache_lock("build-root"):
        place = root / kernel.headers.lstrip("/")
        if (place / "Makefile").is_file():
            return
        if kernel.name == DEBUG.name:
            shutil.copytree(kernel.home / "headers", place, symlinks=True, dirs_exist_ok=True)
            return
        for deb in sorted(
            (kernel.home / "headers").glob("*.deb"), key=lambda d: "kbuild" not in d.name
        ):
            run(["dpkg-deb", "-x", deb, root])
