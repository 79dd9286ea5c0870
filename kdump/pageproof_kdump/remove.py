# SPDX-License-Identifier: GPL-2.0-or-later
"""``pageproof kdump remove``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from pageproof.errors import PageproofError
from pageproof.front.command import Offline

if TYPE_CHECKING:
    from pageproof.front.output import Progress

EPILOG: Final = """\
exit codes:
  0  done
  2  wrong usage, or it cannot be done
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""


def run(args: argparse.Namespace, progress: Progress) -> int:
    raise PageproofError("kdump remove is not part of this version")


REMOVE: Final = Offline(
    name="kdump remove",
    help="undo what setup has done",
    description="",
    epilog=EPILOG,
    add_options=add_options,
    run=run,
)
