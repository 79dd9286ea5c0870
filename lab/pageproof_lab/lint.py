# SPDX-License-Identifier: GPL-2.0-or-later
"""`pageproof lab lint`: the kernel's own checks on the module, checkpatch and sparse."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from pageproof_lab.images import build, kernels
from pageproof_lab.images.apt import Apt, extract
from pageproof_lab.images.roots import build_root
from pageproof_lab.paths import cache_dir, cache_lock
from pageproof_lab.proc import run, say

# Debian's headers come without checkpatch.pl; the archive has it in the whole source only.
SOURCE = "linux-source-6.12"
SUITES = ("trixie", "trixie-security")
TOO_OLD = "sparse is not available or not up to date"


def checkpatch() -> Path:
    """The directory with checkpatch.pl and its word lists, in the cache."""
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
    """checkpatch once, sparse against the headers of each kernel named."""
    root = build_root()
    shutil.copytree(checkpatch(), root / "opt/checkpatch", dirs_exist_ok=True)
    for number, name in enumerate(series):
        kernel = kernels.fetch(name)
        if number == 0:
            build.make(kernel, "checkpatch", "CHECKPATCH=/opt/checkpatch/checkpatch.pl")
        if TOO_OLD in build.make(kernel, "sparse", "WERROR=1"):
            say(f"sparse: Debian's is too old for {kernel.release}, which was not checked")
    return 0
