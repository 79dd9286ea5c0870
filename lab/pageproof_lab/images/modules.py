# SPDX-License-Identifier: GPL-2.0-or-later
"""Which modules of a kernel an initramfs needs, in the order of loading.

kmod's programs answer this from what depmod(8) writes, without loading anything: dependencies
(modules.dep), aliases, and what is built in.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path

from pageproof_lab import LabError
from pageproof_lab.images.kernels import Kernel
from pageproof_lab.paths import cache_lock
from pageproof_lab.proc import run


def module_index(kernel: Kernel) -> Path:
    """Return a directory lib/modules/RELEASE with all files of depmod, made once.

    Debian's packages lack these files, and the modules may be in a directory of the user's, so that
    the modules are links here. depmod takes 15 s in an emulated guest.
    """
    base = kernel.home / "index"
    index = base / "lib" / "modules" / kernel.release
    with cache_lock(f"index-{kernel.name}"):
        if not base.is_dir():
            part = kernel.home / "index.part"
            shutil.rmtree(part, ignore_errors=True)
            inside = part / "lib" / "modules" / kernel.release
            inside.mkdir(parents=True)
            # kmod looks in one of the two, depending on the distribution.
            (part / "usr").mkdir()
            (part / "usr" / "lib").symlink_to("../lib")
            for path in kernel.modules.iterdir():
                (inside / path.name).symlink_to(path.absolute())
            run(["depmod", "-b", part, kernel.release])
            # modprobe reads these from its configuration only (modules.softdep, first lines).
            (part / "modprobe.d").mkdir()
            shutil.copyfile(inside / "modules.softdep", part / "modprobe.d" / "softdep.conf")
            part.rename(base)
    return index


def load_order(kernel: Kernel, names: Iterable[str]) -> list[Path]:
    """Return the files of modules and of all that they depend on, in the order of loading.

    What is built in has no file. A kernel that lacks a module altogether has it built in without a
    list of such (modules.builtin), or says on its console what it misses.

    Raises:
        LabError: modprobe failed.
    """
    base = module_index(kernel).parents[2]
    files: dict[Path, None] = {}
    for name in names:
        try:
            listed = run(
                [
                    *("modprobe", "--show-depends", "--dirname", base, "--set-version"),
                    *(kernel.release, "--config", base / "modprobe.d", name),
                ]
            )
        except LabError as error:
            if "not found in directory" in str(error):
                continue
            raise
        for line in listed.splitlines():
            word, _, rest = line.partition(" ")
            if word == "insmod":
                files[Path(rest.split()[0])] = None
    return list(files)
