# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's modules that the crash kernel needs to reach a disk or a network."""

import gzip
import lzma
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from pageproof.errors import PageproofError

#: By the end of a module's file name. Python reads zstd from 3.14 on.
_UNPACK: Final[dict[str, Callable[[bytes], bytes]]] = {
    "": bytes,
    ".gz": gzip.decompress,
    ".xz": lzma.decompress,
    ".zst": lambda data: run(["zstd", "-dc"], stdin=data),
}
_SECONDS: Final = 120


def run(command: list[str], stdin: bytes = b"") -> bytes:
    """Run a program and return its stdout.

    Raises:
        PageproofError: it is missing, failed, or did not end.
    """
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, timeout=_SECONDS)
    except FileNotFoundError:
        raise PageproofError(f"{command[0]}: not installed") from None
    except subprocess.TimeoutExpired:
        raise PageproofError(f"{command[0]}: no end after {_SECONDS} s") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise PageproofError(f"{' '.join(command)}: exit code {done.returncode}: {said}")
    return done.stdout


def modules(root: Path, release: str, names: Iterable[str]) -> dict[str, bytes]:
    """Return path in the image -> content, for modules and all that they depend on.

    The numbers in the paths are the order of loading. What is built into the kernel has no file.

    Raises:
        PageproofError: a module cannot be unpacked, or modprobe failed.
    """
    content = {}
    for number, path in enumerate(load_order(root, release, names)):
        name, _, packed = path.name.partition(".ko")
        if packed not in _UNPACK:
            raise PageproofError(f"{path}: unknown compression {packed}")
        content[f"modules/{number:02d}-{name}.ko"] = _UNPACK[packed](path.read_bytes())
    return content


def load_order(root: Path, release: str, names: Iterable[str]) -> list[Path]:
    """Return the files of modules and of all that they depend on, in the order of loading.

    Raises:
        PageproofError: the tree has no modules of this release, or modprobe failed.
    """
    directory = root / "lib/modules" / release
    if not (directory / "modules.dep").is_file():
        raise PageproofError(f"{directory}: no modules of Linux {release}", "", "run depmod")
    files: dict[Path, None] = {}
    with tempfile.TemporaryDirectory(prefix="pageproof-modprobe-") as config:
        # modprobe reads what must be loaded before (crc32c for ext4) from its configuration only.
        soft = directory / "modules.softdep"
        if soft.is_file():
            (Path(config) / "softdep.conf").write_bytes(soft.read_bytes())
        options = ["--dirname", str(root), "--set-version", release, "--config", config]
        for name in names:
            try:
                listed = run(["modprobe", "--show-depends", *options, name])
            except PageproofError as error:
                if "not found in directory" in str(error):  # built in, without a list of such
                    continue
                raise
            for line in listed.decode().splitlines():
                word, _, rest = line.partition(" ")
                if word == "insmod":
                    files[Path(rest.split()[0])] = None
    return list(files)


def drivers_of(device: Path) -> Iterator[str]:
    """Yield the modules of a device's driver and of the drivers of the buses that it sits on.

    Args:
        device: its directory in /sys, such as /sys/class/block/sda1.
    """
    here = device.resolve()
    while len(here.parts) > 2 and here.name != "devices":
        for link in (here / "driver/module", here / "device/driver/module"):
            if link.exists():
                yield link.resolve().name
        # With NVMe's multipath a disk is a virtual device, and its controllers are links beside it
        # (linux drivers/nvme/host/core.c, nvme_init_subsystem()).
        for controller in here.glob("nvme[0-9]*"):
            if controller.is_symlink():
                yield from drivers_of(controller)
        here = here.parent
