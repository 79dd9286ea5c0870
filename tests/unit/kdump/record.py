# SPDX-License-Identifier: GPL-2.0-or-later
"""Record what ``pageproof kdump check`` reads on a machine, as a file of tests/recorded/kdump.

Run it on that machine as root, with pageproof on PYTHONPATH: ``python3 record.py > NAME.json``.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

from pageproof_kdump.check.command import check_machine
from pageproof_kdump.check.machine import Machine
from pageproof_kdump.check.vmcoreinfo import read_vmcoreinfo

#: Of /boot/config, a quarter of a megabyte.
CONFIG = re.compile(r"CONFIG_(?:KEXEC|CRASH|PROC_VMCORE|RELOCATABLE)\w*=.*")
#: Of makedumpfile's strings: its version, what it was built with, keys of VMCOREINFO.
STRINGS = re.compile(rb"makedumpfile: version [^\0]*|(?:lzo|snappy|zstd)\t\w+|\w+\([\w.]+\)=")

#: Also what the checks did not read on this machine: two that uname(2) has here, and two that tests
#: need when they change what is set up.
ALWAYS = (
    "/proc/sys/kernel/osrelease",
    "/proc/sys/kernel/hostname",
    "/proc/meminfo",
    "/proc/mounts",
)


class Recorder(Machine):
    """A machine that keeps what was read."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: dict[str, str] = {}
        self.found: list[str] = []
        self.links: dict[str, str] = {}
        self.free: dict[str, int] = {}

    def data(self, path: str, limit: int = 4 << 20, start: int = 0) -> bytes:
        data = super().data(path, limit, start)
        if path == "/proc/kcore":
            self.texts[path] = read_vmcoreinfo(Machine())
        elif path.endswith("/makedumpfile"):
            self.texts[path] = "\0".join(one.decode() for one in STRINGS.findall(data))
        elif "/config" in path:
            self.texts[path] = "\n".join(CONFIG.findall(data.decode()))
        else:
            self.texts[path] = data.decode("latin-1")
        return data

    def place(self, path: str) -> str:
        place = super().place(path)
        if place != path:
            self.links[path] = place
        return place

    def exists(self, path: str) -> bool:
        there = super().exists(path)
        if there:
            self.found.append(path)
        return there

    def bytes_free_at(self, path: str) -> tuple[str, int]:
        at, free = super().bytes_free_at(path)
        self.free[at] = free
        return at, free


def recorded() -> dict[str, Any]:
    """Return what the checks read here, and what they reported."""
    machine = Recorder()
    report = check_machine(machine)
    for path in ALWAYS:
        machine.text(path)
    return {
        "texts": machine.texts,
        "exist": sorted({*machine.found} - {*machine.texts}),
        "links": {one: to for one, to in machine.links.items() if Path(one).is_symlink()},
        "free_bytes": machine.free,
        "states": {one.id: one.state for one in report.checks},
    }


if __name__ == "__main__":
    json.dump(recorded(), sys.stdout, indent=1, sort_keys=True)
    print()
