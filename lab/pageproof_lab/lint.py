# SPDX-License-Identifier: GPL-2.0-or-later
"""`pageproof lab lint`: run the kernel's checks, checkpatch and sparse, on the module."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from pageproof_lab.images import build, kernels
from pageproof_lab.images.apt import Apt, extract
from pageproof_lab.images.roots import build_root
from pageproof_lab.paths import cache_dir, cache_lock
from pageproof_lab.proc import run, say

# Debian's header packages lack checkpatch.pl. Only the package of the whole source has it.
SOURCE = "linux-source-6.12"
SUITES = ("trixie", "trixie-security")
TOO_OLD = "sparse is not available or not up to date"


def checkpatch() -> Path:
    """Return the cached directory of checkpatch.pl and its word lists; download them if needed."""
    place = cache_dir() / "checkpatch"
    with cache_lock("checkpatch"):
        if not place.is_dir():
            apt = Apt("checkpatch", SUITES)
            apt.update()
            say(f"fetching checkpatch.pl (in {SOURCE}, about 150 MB)")
            part = place.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            (deb,) = apt.download([SOURCE], part)
            names = ("checkpatch.pl", "spelling.txt", "const_structs.checkpatch")
            extract(deb, f"*/{SOURCE}.tar.xz", part)
            (source,) = part.rglob(f"{SOURCE}.tar.xz")
            wanted = [f"*/scripts/{name}" for name in names]
            run(["tar", "-xJf", source, "--wildcards", "--strip-components=2", *wanted], cwd=part)
            deb.unlink()
            shutil.rmtree(part / "usr")
            part.rename(place)
    return place


def lint(series: Sequence[str]) -> int:
    """Run checkpatch once, and sparse with the headers of each kernel.

    Args:
        series: the kernels.

    Returns:
        0.

    Raises:
        LabError: one of the checks failed.
    """
    root = build_root()
    shutil.copytree(checkpatch(), root / "opt/checkpatch", dirs_exist_ok=True)
    for number, name in enumerate(series):
        kernel = kernels.fetch(name)
        if number == 0:
            build.make(kernel, "checkpatch", "CHECKPATCH=/opt/checkpatch/checkpatch.pl")
        if TOO_OLD in build.make(kernel, "sparse", "WERROR=1"):
            say(f"skipped sparse for {kernel.release}: Debian's sparse is too old for it")
    return 0
