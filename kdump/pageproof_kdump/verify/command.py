# SPDX-License-Identifier: GPL-2.0-or-later
"""``pageproof kdump verify`` on the command line."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from pageproof.errors import PageproofError
from pageproof.front.command import Offline, add_report_options

if TYPE_CHECKING:
    from pageproof.front.output import Progress

EPILOG: Final = """\
exit codes:
  0  every check is ok
  1  at least one is bad
  2  wrong usage, or a file cannot be read
  3  nothing is bad, but something could not be decided
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    add_report_options(parser)


def run(args: argparse.Namespace, progress: Progress) -> int:
    raise PageproofError("kdump verify is not part of this version")


VERIFY: Final = Offline(
    name="kdump verify",
    help="is this dump whole?",
    description="",
    epilog=EPILOG,
    add_options=add_options,
    run=run,
)
