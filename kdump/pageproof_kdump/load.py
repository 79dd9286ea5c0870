# SPDX-License-Identifier: GPL-2.0-or-later
"""``pageproof kdump load``, which the systemd unit of setup runs at each boot."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pageproof.errors import Exit
from pageproof.front.command import Offline

if TYPE_CHECKING:
    from pageproof.front.output import Progress

EPILOG: Final = """\
exit codes:
  0  the crash kernel is loaded
  2  wrong usage, or it cannot be loaded
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add no options: /etc/pageproof/kdump.conf has them."""


def run(args: argparse.Namespace, progress: Progress) -> int:
    from pageproof_kdump.install.load import load
    from pageproof_kdump.install.machine import Machine
    from pageproof_kdump.install.plan import CONFIGURATION, KNOWN_HOSTS

    machine = Machine(Path("/"))
    machine.need_root()
    print(load(machine.root / CONFIGURATION, machine.root / KNOWN_HOSTS))
    return Exit.SOUND


LOAD: Final = Offline(
    name="kdump load",
    help="load the crash kernel; the unit of setup runs this at each boot",
    description="Build the capture initramfs for the running kernel, as /etc/pageproof/kdump.conf "
    "describes it, and load both as the crash kernel.",
    epilog=EPILOG,
    add_options=add_options,
    run=run,
)
