# SPDX-License-Identifier: GPL-2.0-or-later
"""A real QEMU whose guest has not started: RAM with what a test puts there, and no kernel."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest


def _listens(path: Path) -> bool:
    """Return whether a socket accepts a client; it exists a moment earlier."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


@contextmanager
def bare_qemu(
    folder: Path,
    loaded: Mapping[int, bytes],
    memory: str = "4608M",
    more: Sequence[str] = (),
) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    """Start QEMU, which touches only what is loaded.

    Args:
        folder: for its socket and files.
        loaded: bytes by physical address.
        memory: with more than 2 GiB, there is RAM above 4 GiB too.
        more: options.
    """
    program = shutil.which("qemu-system-x86_64")
    if program is None:
        pytest.skip("qemu-system-x86_64 is not installed")
    path = folder / "qmp"
    words = ["-S", "-machine", "q35", "-accel", "tcg", "-m", memory, "-display", "none"]
    words += ["-nodefaults", *more]
    words += ["-qmp", f"unix:{path},server=on,wait=off"]
    for address, data in loaded.items():
        file = folder / f"{address:x}"
        file.write_bytes(data)
        words += ["-device", f"loader,file={file},addr={address:#x},force-raw=on"]
    process = subprocess.Popen([program, *words], stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not _listens(path) and time.monotonic() < deadline:
            time.sleep(0.05)
        yield path, process
    finally:
        process.kill()
        process.wait(10)
