# SPDX-License-Identifier: GPL-2.0-or-later
"""A directory of debug info by build ID, in which pageproof looks without being told (-s).

Layout as in /usr/lib/debug: .build-id/ab/cdef….debug (gdb manual, "Debugging Information in
Separate Files").
"""

import re
from pathlib import Path

from pageproof_lab import LabError
from pageproof_lab.paths import cache_dir
from pageproof_lab.proc import run


def by_build_id(file: Path) -> Path:
    """Where in such a directory `file` (vmlinux or .ko) is looked for."""
    found = re.search(r"Build ID: ([0-9a-f]{4,})", run(["readelf", "-n", file]))
    if found is None:
        raise LabError(f"{file}: has no build ID")
    build_id = found[1]
    return Path(".build-id", build_id[:2], f"{build_id[2:]}.debug")


def publish(file: Path) -> None:
    """Let `file` be found by its build ID."""
    link = cache_dir() / "debug" / by_build_id(file)
    link.parent.mkdir(parents=True, exist_ok=True)
    part = link.with_suffix(".part")
    part.unlink(missing_ok=True)
    part.symlink_to(file)
    part.replace(link)
