# SPDX-License-Identifier: GPL-2.0-or-later
"""Downloads: if the archive has dropped a package, the next older kernel is used."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from pageproof_lab import LabError
from pageproof_lab.images import kernels
from pageproof_lab.images.apt import Apt, NotInArchive

RELEASES = ("5.10.0-9", "5.10.0-46", "5.10.0-45", "5.10.0-43")


class SomeGone(Apt):
    """An index that lists `RELEASES`, and an archive that has only some of them."""

    def __init__(self, *_: object) -> None:
        pass

    def update(self) -> None:
        pass

    def names(self, pattern: str) -> list[str]:
        return [f"linux-image-{release}-cloud-amd64-dbg" for release in RELEASES]


@pytest.mark.parametrize(
    ("there", "taken"), [(RELEASES, "5.10.0-46"), (RELEASES[-1:], "5.10.0-43"), ((), None)]
)
def test_next_older(
    monkeypatch: pytest.MonkeyPatch, there: tuple[str, ...], taken: str | None
) -> None:
    def fetch(apt: Apt, one: kernels.Series, release: str) -> None:
        if release.removesuffix("-cloud-amd64") not in there:
            raise NotInArchive(release)

    monkeypatch.setattr(kernels, "Apt", SomeGone)
    monkeypatch.setattr(kernels, "_fetch_release", fetch)
    if taken is None:
        with pytest.raises(LabError, match=r"no kernel 5\.10"):
            kernels._download(kernels.series("5.10"))
    else:
        assert kernels._download(kernels.series("5.10")) == f"{taken}-cloud-amd64"


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
