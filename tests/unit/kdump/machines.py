# SPDX-License-Identifier: GPL-2.0-or-later
"""Machines that were recorded (record.py), laid out again as files below a directory."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pageproof.model.kdump import Checked
from pageproof_kdump.check.command import check_machine
from pageproof_kdump.check.machine import Machine

RECORDED: Final = Path(__file__).resolve().parents[2] / "recorded" / "kdump"
MACHINES: Final = tuple(sorted(path.stem for path in RECORDED.glob("*-*.json")))
_NAME: Final = b"VMCOREINFO\0"


class Laid:
    """A recorded machine, whose files a test may change.

    Args:
        root: an empty directory.
        name: of the recorded machine.
    """

    def __init__(self, root: Path, name: str) -> None:
        self.root = root
        found: dict[str, Any] = json.loads((RECORDED / f"{name}.json").read_text())
        self.states: Mapping[str, str] = found["states"]
        self.free_bytes: dict[str, int] = found["free_bytes"]
        for path, text in found["texts"].items():
            self.write(found["links"].get(path, path), text)
        for path in found["exist"]:
            at = self._at(found["links"].get(path, path))
            at.parent.mkdir(parents=True, exist_ok=True)
            if not at.exists():
                at.touch()
        for path, to in found["links"].items():
            self.link(path, to)

    def _at(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def write(self, path: str, text: str) -> None:
        """Write a file; the text of /proc/kcore is its VMCOREINFO."""
        at = self._at(path)
        at.parent.mkdir(parents=True, exist_ok=True)
        if at.is_symlink():
            at.unlink()
        at.write_bytes(kcore(text) if path == "/proc/kcore" else text.encode("latin-1"))

    def text(self, path: str) -> str:
        """Return what a file has."""
        return self._at(path).read_text("latin-1")

    def link(self, path: str, to: str) -> None:
        """Make a link, as the machine itself sees it."""
        at = self._at(path)
        at.parent.mkdir(parents=True, exist_ok=True)
        at.unlink(missing_ok=True)
        at.symlink_to(to)

    def remove(self, path: str) -> None:
        """Remove a file or link."""
        self._at(path).unlink()

    def machine(self) -> Machine:
        """Return it for the checks."""
        return Machine(self.root, lambda path: self.free_bytes[self._name(path)])

    def _name(self, path: Path) -> str:
        return f"/{path.relative_to(self.root)}".replace("/.", "/")

    def check(self) -> dict[str, Checked]:
        """Run all checks."""
        return {one.id: one for one in check_machine(self.machine()).checks}


def kcore(vmcoreinfo: str) -> bytes:
    """Return an ELF core with a note of a CPU and VMCOREINFO, as /proc/kcore begins."""
    notes = b""
    for name, content in ((b"CORE\0", bytes(13)), (_NAME, vmcoreinfo.encode())):
        notes += struct.pack("<III", len(name), len(content), 0)
        notes += name.ljust(-(-len(name) // 4) * 4, b"\0")
        notes += content.ljust(-(-len(content) // 4) * 4, b"\0")
    ident = b"\x7fELF\2\1\1".ljust(16, b"\0")
    head = ident + struct.pack("<HHIQQQIHHHHHH", 4, 62, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    note = struct.pack("<IIQQQQQQ", 4, 0, 176, 0, 0, len(notes), 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 7, 1 << 40, 0, 0, 4096, 4096, 4096)
    return head + load + note + notes
