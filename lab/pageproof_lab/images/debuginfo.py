# SPDX-License-Identifier: GPL-2.0-or-later
"""Debug info by build ID, in a directory where pageproof looks without -s.

Layout as in /usr/lib/debug: .build-id/ab/cdef….debug (gdb manual, "Debugging Information in
Separate Files").
"""

import re
from pathlib import Path

from pageproof_lab import LabError
from pageproof_lab.paths import cache_dir
from pageproof_lab.proc import run


def by_build_id(file: Path) -> Path:
    """Return the path of a file (vmlinux or .ko) in such a directory.

    Raises:
        LabError: it has no build ID.
    """
    found = re.search(r"Build ID: ([0-9a-f]{4,})", run(["readelf", "-n", file]))
    if found is None:
        raise LabError(f"{file}: no build ID; build it with --build-id (the kernel's default)")
    build_id = found[1]
    return Path(".build-id", build_id[:2], f"{build_id[2:]}.debug")


def publish(file: Path) -> None:
    """Link a file into the directory, so that pageproof finds it by its build ID."""
    link = cache_dir() / "debug" / by_build_id(file)
    link.parent.mkdir(parents=True, exist_ok=True)
    part = link.with_suffix(".part")
    part.unlink(missing_ok=True)
    part.symlink_to(file)
    part.replace(link)
