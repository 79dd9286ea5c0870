# SPDX-License-Identifier: GPL-2.0-or-later
"""What this machine has: distribution, GRUB, kdump-tools, memory kept for a crash kernel."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pageproof.errors import PageproofError

KDUMP_TOOLS: Final = "etc/default/kdump-tools"
_KNOWN: Final = {"debian", "ubuntu"}


@dataclass(frozen=True)
class Machine:
    """A machine, or its tree below another directory than /.

    Attributes:
        root: where the tree is.
        here: it is this machine: commands are run on it.
    """

    root: Path

    @property
    def here(self) -> bool:
        return self.root == Path("/")

    def has(self, path: str) -> bool:
        return (self.root / path).exists()

    def need_root(self) -> None:
        """Check that this user may change the machine.

        Raises:
            PageproofError: not root.
        """
        if self.here and os.geteuid() != 0:
            raise PageproofError("only root can change this machine", "", "use sudo, or --dry-run")

    def need_known(self) -> None:
        """Check that this is Debian, Ubuntu, or made from them.

        Raises:
            PageproofError: it is not.
        """
        try:
            text = (self.root / "etc/os-release").read_text()
        except OSError as error:
            raise PageproofError(
                f"unknown distribution: cannot read /etc/os-release: {error.strerror}"
            ) from error
        fields = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
        names = f"{fields.get('ID', '')} {fields.get('ID_LIKE', '')}".replace('"', "").split()
        if not _KNOWN & set(names):
            raise PageproofError(
                f"unknown distribution {fields.get('ID', '')!r}: setup knows Debian and Ubuntu",
                "",
                "docs/kdump.md has the steps by hand",
            )

    def need_grub(self) -> None:
        """Check that GRUB starts this machine, with Debian's files.

        Raises:
            PageproofError: it does not.
        """
        if not self.has("etc/default/grub") or not self.has("usr/sbin/update-grub"):
            raise PageproofError(
                "no GRUB here: /etc/default/grub or update-grub is missing",
                "",
                "put crashkernel=128M on the kernel's command line yourself, then use "
                "--no-bootloader",
            )

    @property
    def kdump_tools(self) -> bool:
        return self.has("usr/sbin/kdump-config") and self.has(KDUMP_TOOLS)

    @property
    def crashkernel_line(self) -> str:
        """The file in grub.d that has crashkernel= already; "" for none."""
        directory = self.root / "etc/default/grub.d"
        for path in (self.root / "etc/default/grub", *sorted(directory.glob("*.cfg"))):
            if path.is_file() and any(
                "crashkernel=" in line and not line.lstrip().startswith("#")
                for line in path.read_text(errors="replace").splitlines()
            ):
                return str(path)
        return ""


def add_root(group: argparse._ActionsContainer) -> None:
    """Add the option for the tree to change."""
    group.add_argument(
        "--root",
        type=Path,
        default=Path("/"),
        metavar="DIR",
        help="change files below DIR, and run no commands (default: this machine)",
    )


def machine_of(args: argparse.Namespace) -> Machine:
    """Return the machine that ``--root`` names.

    Raises:
        PageproofError: it is not a directory.
    """
    if not args.root.is_dir():
        raise PageproofError(f"--root {args.root}: not a directory", "", "name a directory")
    return Machine(args.root.resolve())


def reserved_bytes() -> int:
    """Return the memory that the running kernel keeps for a crash kernel; 0 for none or unknown."""
    try:
        return int(Path("/sys/kernel/kexec_crash_size").read_text())
    except (OSError, ValueError):
        return 0
