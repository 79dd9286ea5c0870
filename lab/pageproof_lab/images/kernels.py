# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's cloud kernels: the list of series, and the download of image, headers and debug info."""

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
    release: str  # regular expression that matches its releases
    compiler: str
    levels: tuple[int, ...]  # numbers of page-table levels that it supports


SERIES = (
    # Debian built 5.10 without CONFIG_X86_5LEVEL.
    Series("5.10", ("bullseye", "bullseye-security"), r"5\.10\.0-\d+-cloud-amd64", "gcc-12", (4,)),
    Series("6.1", ("bookworm", "bookworm-security"), r"6\.1\.0-\d+-cloud-amd64", "gcc-12", (4, 5)),
    Series(
        "6.12", ("trixie", "trixie-security"), r"6\.12\.\d+\+deb13-cloud-amd64", "gcc-14", (4, 5)
    ),
    Series("7.2", ("trixie-backports",), r"7\.2\.\d+\+deb13-cloud-amd64", "gcc-14", (4, 5)),
)

OWN = "own"  # series of a kernel that the user brought


@dataclass(frozen=True)
class Kernel:
    """A complete kernel in the cache."""

    series: str
    release: str
    compiler: str
    levels: tuple[int, ...]
    home: Path  # directory for files that are made from it
    vmlinuz: Path
    modules: Path  # the directory lib/modules/RELEASE
    vmlinux: Path  # with DWARF, for drgn
    headers: str | None  # build directory inside the build root


def series(name: str) -> Series:
    """Return the series of that name.

    Raises:
        LabError: unknown name.
    """
    for one in SERIES:
        if one.name == name:
            return one
    raise LabError(f"unknown kernel {name!r}; choose from {', '.join(s.name for s in SERIES)}")


def cached(name: str) -> Kernel | None:
    """Return the kernel of a series if it is in the cache, else None."""
    one = series(name)
    home = cache_dir() / "kernels" / name
    try:
        release: str = json.loads((home / "complete.json").read_text())["release"]
    except FileNotFoundError:
        return None
    tree = home / release
    return Kernel(
        one.name,
        release,
        one.compiler,
        one.levels,
        tree,
        tree / "vmlinuz",
        tree / "modules" / release,
        tree / "vmlinux",
        f"/usr/src/linux-headers-{release}",
    )


def fetch(name: str) -> Kernel:
    """Return the kernel of a series; download it unless it is in the cache.

    Raises:
        LabError: it could not be downloaded.
    """
    with cache_lock(f"kernel-{name}"):
        kernel = cached(name)
        if kernel is None:
            release = _download(series(name))
            (cache_dir() / "kernels" / name / "complete.json").write_text(
                json.dumps({"release": release})
            )
            kernel = cached(name)
            assert kernel is not None
            debuginfo.publish(kernel.vmlinux)
    _install_headers(kernel)
    return kernel


def _version(release: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", release)))


def _download(one: Series) -> str:
    apt = Apt(f"kernel-{one.name}", one.suites)
    apt.update()
    releases = [
        n.removeprefix("linux-image-").removesuffix("-dbg")
        for n in apt.names(rf"linux-image-{one.release}-dbg")
    ]
    failure = "the index lists none"
    for release in sorted(releases, key=_version, reverse=True):
        say(f"fetching kernel {release} (image, headers, debug info: about 400 MB)")
        try:
            _fetch_release(apt, one, release)
            return release
        except NotInArchive as error:
            # The index may list a package that was removed from the pool (seen in
            # bullseye-security).
            say(f"{release} is no longer in the archive; trying the next older release")
            failure = str(error)
    raise LabError(f"no kernel {one.name} in {', '.join(one.suites)}: {failure}")


def _packages(apt: Apt, release: str) -> dict[str, list[str]]:
    """Return package names by use. 7.2 has kernel and modules in dependencies of the image."""
    version = release.removesuffix("-cloud-amd64")
    image = [f"linux-image-{release}"]
    image += [
        n
        for n in apt.depends(image[0])
        if re.fullmatch(rf"linux-(binary|modules)-{re.escape(release)}", n)
    ]
    headers = [f"linux-headers-{release}", f"linux-headers-{version}-common"]
    headers += [n for n in apt.depends(headers[0]) if n.startswith("linux-kbuild-")]
    return {"image": image, "headers": headers, "debug": [f"linux-image-{release}-dbg"]}


def _fetch_release(apt: Apt, one: Series, release: str) -> None:
    home = cache_dir() / "kernels" / one.name
    part = home / f"{release}.part"
    shutil.rmtree(part, ignore_errors=True)
    try:
        _fill(part, apt, release)
        shutil.rmtree(home / release, ignore_errors=True)
        part.rename(home / release)
    finally:  # drop an incomplete release
        shutil.rmtree(part, ignore_errors=True)


def _fill(part: Path, apt: Apt, release: str) -> None:
    """Download the packages of a release and keep what the lab needs."""
    debs = {use: apt.download(names, part / use) for use, names in _packages(apt, release).items()}
    for deb in debs["image"]:
        run(["dpkg-deb", "-x", deb, part / "tree"])
    lib = "lib/modules" if (part / "tree/lib/modules").is_dir() else "usr/lib/modules"
    images = [*(part / "tree/boot").glob("vmlinuz-*"), *(part / "tree" / lib).glob("*/vmlinuz*")]
    if not images:
        raise LabError(f"{release}: no vmlinuz in its packages")
    images[0].rename(part / "vmlinuz")
    (part / "tree" / lib).rename(part / "modules")
    _extract_vmlinux(debs["debug"][0], part)
    for leftover in ("tree", "image", "debug"):
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
    drop = ".rela*", ".debug_line", ".debug_aranges", ".debug_frame", ".debug_loc*", ".debug_r*"
    run(["objcopy", *[f"--remove-section={s}" for s in drop], found[0], into / "vmlinux"])


def own(image: Path, modules: Path, vmlinux: Path) -> Kernel:
    """Return a kernel that the user brought.

    Args:
        image: bzImage or vmlinuz.
        modules: its directory lib/modules/RELEASE, or a directory with only that in it.
        vmlinux: its vmlinux with debug info.

    Raises:
        LabError: a file is missing, or `modules` has the modules of several kernels.
    """
    for path in (image, modules, vmlinux):
        if not path.exists():
            raise LabError(f"{path}: no such file or directory")
    if not (modules / "modules.order").exists():
        found = sorted(modules.glob("**/modules.order"))
        if len(found) != 1:
            raise LabError(
                f"{modules}: modules of {len(found)} kernels; name one lib/modules/RELEASE"
            )
        modules = found[0].parent
    key = "".join(f"{p.resolve()} {p.stat().st_mtime_ns}\n" for p in (image, modules, vmlinux))
    home = cache_dir() / "kernels" / OWN / hashlib.sha256(key.encode()).hexdigest()[:12]
    home.mkdir(parents=True, exist_ok=True)
    return Kernel(OWN, modules.name, "", (4, 5), home, image, modules, vmlinux, None)


def _install_headers(kernel: Kernel) -> None:
    """Unpack the headers where their Makefiles expect them: /usr/src of the build root."""
    root = build_root()
    assert kernel.headers is not None
    with cache_lock("build-root"):
        if (root / kernel.headers.lstrip("/") / "Makefile").is_file():
            return
        for deb in sorted(
            (kernel.home / "headers").glob("*.deb"), key=lambda d: "kbuild" not in d.name
        ):
            run(["dpkg-deb", "-x", deb, root])
