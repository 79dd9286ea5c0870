# SPDX-License-Identifier: GPL-2.0-or-later
"""Downloads: if the archive has dropped a package, the next older kernel is used."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from pageproof_lab import LabError
from pageproof_lab.images import kernels
from pageproof_lab.images.apt import Apt, NotInArchive

#: Directory in the cache, and the end of the debug package's name.
NAMES = {
    "cloud-amd64": ("5.10", "-dbg"),
    "amd64": ("5.10-amd64", ""),
    "rt-amd64": ("5.10-rt-amd64", ""),
}
RELEASES = ("5.10.0-9", "5.10.0-46", "5.10.0-45", "5.10.0-43")


class SomeGone(Apt):
    """An index that lists `RELEASES`, and an archive that has only some of them."""

    def __init__(self, name: str, *_: object) -> None:
        self.name = name

    def update(self) -> None:
        pass

    def names(self, pattern: str) -> list[str]:
        packages = [
            f"linux-image-{release}-{flavour}{kind}"
            for release in RELEASES
            for flavour in kernels.FLAVOURS
            for kind in ("", "-dbg", "-unsigned")
        ]
        return [one for one in packages if re.fullmatch(pattern, one)]


@pytest.mark.parametrize("flavour", kernels.FLAVOURS)
@pytest.mark.parametrize(
    ("there", "taken"), [(RELEASES, "5.10.0-46"), (RELEASES[-1:], "5.10.0-43"), ((), None)]
)
def test_next_older(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    there: tuple[str, ...],
    taken: str | None,
    flavour: str,
) -> None:
    def fetch(apt: Apt, called: str, release: str, debug: str) -> None:
        assert (called, debug) == NAMES[flavour]
        if release.removesuffix(f"-{flavour}") not in there:
            raise NotInArchive(release)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(kernels, "Apt", SomeGone)
    monkeypatch.setattr(kernels, "_fetch_release", fetch)
    if taken is None:
        with pytest.raises(LabError, match=r"no kernel 5\.10"):
            kernels._download(kernels.series("5.10"), flavour)
    else:
        assert kernels._download(kernels.series("5.10"), flavour) == f"{taken}-{flavour}"


class NoHeaders(SomeGone):
    """An archive that has a kernel's image, and has dropped its headers."""

    def depends(self, name: str) -> list[str]:
        return []

    def download(self, names: Sequence[str], into: Path) -> list[Path]:
        if "headers" in names[0]:
            raise NotInArchive(names[0])
        into.mkdir(parents=True)
        (into / f"{names[0]}.deb").write_text("large")
        return [into / f"{names[0]}.deb"]


def test_half_a_release_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(kernels, "Apt", NoHeaders)
    with pytest.raises(LabError, match=r"no kernel 5\.10"):
        kernels._download(kernels.series("5.10"))
    assert [*tmp_path.rglob("*.part"), *tmp_path.rglob("*.deb")] == []


def test_signature_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unsigned archive is refused."""
    archive = tmp_path / "debian"
    (archive / "dists/trixie/main/binary-amd64").mkdir(parents=True)
    (archive / "dists/trixie/Release").write_text("Codename: trixie\nComponents: main\n")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PAGEPROOF_MIRROR", f"file://{archive}")
    with pytest.raises(LabError, match="not signed"):
        Apt("test", ("trixie",)).update()
