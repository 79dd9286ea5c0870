# SPDX-License-Identifier: GPL-2.0-or-later
"""The project's Python for guests, with byte code, as an emulated guest takes 6 s to compile it."""

import os
import shutil
import tempfile
from pathlib import Path

from pageproof_lab.images.roots import PYTHON, guest_root
from pageproof_lab.images.sources import copy_sources, digest_of, source_files
from pageproof_lab.paths import cache_dir, cache_lock, drop_unused
from pageproof_lab.proc import run_in_root

PACKAGES = "drgn_scripts"
#: Goes into the same directory of the guest.
_KDUMP = "kdump/pageproof_kdump"


def compiled_packages() -> Path:
    """Return a copy of the packages that the guest's Python compiled; cached by the sources."""
    root, files = guest_root(), source_files(PACKAGES, _KDUMP)
    place = cache_dir() / "python" / digest_of(files, root.name)
    with cache_lock("python"):
        if not place.is_dir():
            place.parent.mkdir(exist_ok=True)
            drop_unused(place.parent)
            part = place.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            with tempfile.TemporaryDirectory(dir=root / "tmp") as work:
                inside = f"/tmp/{Path(work).name}"
                copy_sources(files, Path(work, "copy"))
                # An initramfs does not keep times, so Python would reject byte code with times.
                how = ("-q", "--invalidation-mode", "unchecked-hash", "-s", f"{inside}/copy")
                run_in_root(root, [f"python{PYTHON}", "-m", "compileall", *how, f"{inside}/copy"])
                shutil.copytree(Path(work, "copy", PACKAGES), part)
                shutil.copytree(Path(work, "copy", _KDUMP), part / Path(_KDUMP).name)
            part.rename(place)
        os.utime(place)
    return place
