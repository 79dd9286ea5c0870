# SPDX-License-Identifier: GPL-2.0-or-later
"""Download Debian packages by apt, signatures checked, without using the machine's apt state."""

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pageproof_lab import LabError
from pageproof_lab.paths import cache_dir
from pageproof_lab.proc import run, say


class NotInArchive(LabError):
    """The index names a package that the archive does not have (any more)."""


KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


@dataclass(frozen=True)
class Mirrors:
    main: str
    security: str

    def source(self, suite: str) -> str:
        """Return one line of sources.list(5)."""
        uri = self.security if suite.endswith("-security") else self.main
        return f"deb [signed-by={KEYRING}] {uri} {suite} main"


def mirrors() -> Mirrors:
    """Return the Debian mirrors in this machine's apt sources.

    `PAGEPROOF_MIRROR` and `PAGEPROOF_SECURITY_MIRROR` override them.

    Raises:
        LabError: there is no mirror in either place.
    """
    main, security = os.environ.get("PAGEPROOF_MIRROR"), os.environ.get("PAGEPROOF_SECURITY_MIRROR")
    if main is None:
        listed = run(
            [
                "apt-get",
                "indextargets",
                "--format",
                "$(RELEASE) $(REPO_URI)",
                "Created-By: Packages",
            ]
        )
        for line in listed.splitlines():
            release, uri = line.split()
            if not re.search(r"/debian(-security)?/?$", uri):
                continue
            if release.endswith("-security"):
                security = security or uri
            else:
                main = main or uri
    if main is None:
        raise LabError(
            "no Debian mirror in apt's sources; set PAGEPROOF_MIRROR to one (https://…/debian)"
        )
    # The sources of a minimal installation lack the security suite. Mirrors keep it beside the main
    # archive.
    return Mirrors(main, security or re.sub(r"/debian/?$", "/debian-security/", main))


class Apt:
    """A private apt root for some suites. Its index is in the cache."""

    def __init__(self, name: str, suites: Sequence[str], architecture: str = "amd64") -> None:
        if not KEYRING.is_file():
            raise LabError(f"{KEYRING}: no such file; install debian-archive-keyring")
        self.name = name
        self.suites = suites
        self.dir = cache_dir() / "apt" / name
        for sub in ("lists/partial", "cache/archives/partial"):
            (self.dir / sub).mkdir(parents=True, exist_ok=True)
        (self.dir / "status").touch()
        where = mirrors()
        (self.dir / "sources.list").write_text("".join(where.source(s) + "\n" for s in suites))
        self._config = self.dir / "apt.conf"
        # Check-Valid-Until: the Release files of suites without support (bullseye) have expired.
        # Their signatures are still checked.
        self._config.write_text(
            f'Dir::Etc::sourcelist "{self.dir}/sources.list";\n'
            'Dir::Etc::sourceparts "/dev/null";\n'
            'Dir::Etc::preferences "/dev/null";\n'
            'Dir::Etc::preferencesparts "/dev/null";\n'
            f'Dir::State::lists "{self.dir}/lists";\n'
            f'Dir::State::status "{self.dir}/status";\n'
            f'Dir::Cache "{self.dir}/cache";\n'
            f'APT::Architecture "{architecture}";\n'
            'APT::Sandbox::User "";\n'
            'Acquire::Languages "none";\n'
            'Acquire::Check-Valid-Until "false";\n'
            'Acquire::Retries "3";\n'
        )

    def _apt(self, tool: str, *words: str, show: bool = False, cwd: Path | None = None) -> str:
        return run([tool, *words], env={"APT_CONFIG": str(self._config)}, show=show, cwd=cwd)

    def update(self) -> None:
        """Fetch the package index.

        Raises:
            LabError: apt failed, for example because the index is not signed.
        """
        say(f"reading the package index of {', '.join(self.suites)}")
        self._apt("apt-get", "update", "-q", "--error-on=any")

    def names(self, pattern: str) -> list[str]:
        """Return the packages whose whole name matches a regular expression."""
        listed = self._apt("apt-cache", "pkgnames")
        return [name for name in listed.split() if re.fullmatch(pattern, name)]

    def depends(self, name: str) -> list[str]:
        """Return the packages that `name` depends on (alternatives included)."""
        listed = self._apt(
            "apt-cache",
            "depends",
            "--no-pre-depends",
            "--no-recommends",
            "--no-suggests",
            "--no-enhances",
            "--no-conflicts",
            "--no-breaks",
            "--no-replaces",
            name,
        )
        return re.findall(r"^[ |]*Depends: ([^<\s]+)$", listed, re.MULTILINE)

    def download(self, names: Sequence[str], into: Path) -> list[Path]:
        """Download packages; apt checks each against the signed index.

        Args:
            names: names of the packages.
            into: directory for their files; it is created.

        Returns:
            The files that were not there before.

        Raises:
            NotInArchive: apt could not download one of them.
        """
        into.mkdir(parents=True, exist_ok=True)
        before = set(into.glob("*.deb"))
        try:
            # Show apt's progress on a terminal only. In a log its "404 Not Found" would look like a
            # failure, though the caller then tries an older kernel.
            self._apt("apt-get", "download", *names, show=sys.stderr.isatty(), cwd=into)
        except LabError as error:
            raise NotInArchive(f"{' '.join(names)}: {error}") from error
        return sorted(set(into.glob("*.deb")) - before)


def extract(deb: Path, pattern: str, into: Path) -> None:
    """Extract those files of a package whose path matches a pattern of tar.

    Raises:
        LabError: the package is damaged, or no file in it matches.
    """
    script = 'set -o pipefail; dpkg-deb --fsys-tarfile "$0" | tar -x --wildcards "$1"'
    run(["bash", "-c", script, deb.absolute(), pattern], cwd=into, called=f"extract {deb.name}")
