# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian packages by apt with signatures checked, without touching the machine's own apt state."""

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
    """The archive does not have (any more) what its index names."""


KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


@dataclass(frozen=True)
class Mirrors:
    main: str
    security: str

    def source(self, suite: str) -> str:
        """One line of sources.list(5)."""
        uri = self.security if suite.endswith("-security") else self.main
        return f"deb [signed-by={KEYRING}] {uri} {suite} main"


def mirrors() -> Mirrors:
    """The Debian mirrors that this machine's apt uses, so that its proxy or mirror is honoured.

    `PAGEPROOF_MIRROR` and `PAGEPROOF_SECURITY_MIRROR` name others.
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
            "apt's sources name no Debian mirror; name one in PAGEPROOF_MIRROR (…/debian)"
        )
    # A minimal installation lists no security suite; mirrors keep it beside the main archive.
    return Mirrors(main, security or re.sub(r"/debian/?$", "/debian-security/", main))


class Apt:
    """A private apt root for some suites; its index lives in the cache."""

    def __init__(self, name: str, suites: Sequence[str]) -> None:
        if not KEYRING.is_file():
            raise LabError(f"{KEYRING} is missing: install debian-archive-keyring")
        self.name = name
        self.suites = suites
        self.dir = cache_dir() / "apt" / name
        for sub in ("lists/partial", "cache/archives/partial"):
            (self.dir / sub).mkdir(parents=True, exist_ok=True)
        (self.dir / "status").touch()
        where = mirrors()
        (self.dir / "sources.list").write_text("".join(where.source(s) + "\n" for s in suites))
        self._config = self.dir / "apt.conf"
        # Check-Valid-Until: Release files of suites past their support (bullseye) expire; they stay
        # signed.
        self._config.write_text(
            f'Dir::Etc::sourcelist "{self.dir}/sources.list";\n'
            'Dir::Etc::sourceparts "/dev/null";\n'
            'Dir::Etc::preferences "/dev/null";\n'
            'Dir::Etc::preferencesparts "/dev/null";\n'
            f'Dir::State::lists "{self.dir}/lists";\n'
            f'Dir::State::status "{self.dir}/status";\n'
            f'Dir::Cache "{self.dir}/cache";\n'
            'APT::Architecture "amd64";\n'
            'APT::Sandbox::User "";\n'
            'Acquire::Languages "none";\n'
            'Acquire::Check-Valid-Until "false";\n'
            'Acquire::Retries "3";\n'
        )

    def _apt(self, tool: str, *words: str, show: bool = False, cwd: Path | None = None) -> str:
        return run([tool, *words], env={"APT_CONFIG": str(self._config)}, show=show, cwd=cwd)

    def update(self) -> None:
        say(f"reading the package index of {', '.join(self.suites)}")
        self._apt("apt-get", "update", "-q", "--error-on=any")

    def names(self, pattern: str) -> list[str]:
        """Names of the packages that match an anchored regular expression."""
        listed = self._apt("apt-cache", "pkgnames")
        return [name for name in listed.split() if re.fullmatch(pattern, name)]

    def depends(self, name: str) -> list[str]:
        """Names of the packages that `name` depends on (alternatives included)."""
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
        """Fetch `names` into `into`; apt checks each against the signed index.

        :raises NotInArchive: apt could not get one of them.
        """
        into.mkdir(parents=True, exist_ok=True)
        before = set(into.glob("*.deb"))
        try:
            # On a terminal apt shows its progress; in a log that would be noise, and its "404 Not
            # Found" would look like a failure where the caller tries something else.
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
