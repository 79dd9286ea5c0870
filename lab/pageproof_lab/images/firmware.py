# SPDX-License-Identifier: GPL-2.0-or-later
"""UEFI firmware for a guest: Debian's ovmf, from the host or downloaded once."""

import shutil
from pathlib import Path

from pageproof_lab.images.apt import Apt, extract
from pageproof_lab.images.roots import SUITE
from pageproof_lab.paths import cache_dir, cache_lock
from pageproof_lab.proc import say

OVMF = "usr/share/ovmf/OVMF.fd"


def uefi() -> Path:
    """Return an image of OVMF for QEMU's option -bios; download it unless it is there.

    Raises:
        LabError: it could not be downloaded.
    """
    installed, kept = Path("/", OVMF), cache_dir() / "ovmf" / "OVMF.fd"
    if installed.is_file():
        return installed
    with cache_lock("ovmf"):
        if not kept.is_file():
            apt = Apt("ovmf", (SUITE,))
            apt.update()
            say("fetching the UEFI firmware ovmf (12 MB)")
            part = kept.parent.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            (deb,) = apt.download(["ovmf"], part)
            extract(deb, f"./{OVMF}", part)
            shutil.copyfile(part / OVMF, part / "OVMF.fd")
            shutil.rmtree(part / "usr")
            deb.unlink()
            part.rename(kept.parent)
    return kept
