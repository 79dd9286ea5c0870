# SPDX-License-Identifier: GPL-2.0-or-later
"""The QEMU processes of a lab with a run directory of its own."""

import time
from pathlib import Path


def qemus(runtime: dict[str, str]) -> list[str]:
    """Return the command lines of QEMU processes that use the run directory."""
    place = runtime["XDG_RUNTIME_DIR"]
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if "qemu-system" in line and place in line:
            found.append(line)
    return found


def wait_no_qemu(runtime: dict[str, str], seconds: float = 120) -> bool:
    deadline = time.monotonic() + seconds
    while qemus(runtime):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
