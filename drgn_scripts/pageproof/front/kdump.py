# SPDX-License-Identifier: GPL-2.0-or-later
"""``pageproof kdump`` on the command line: a group of commands, in the package pageproof_kdump."""

from __future__ import annotations

import argparse

from pageproof.errors import PageproofError
from pageproof.front.command import described


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Add the commands of the group to its parser.

    Raises:
        PageproofError: the package is not there.
    """
    try:
        from pageproof_kdump.commands import COMMANDS
    except ImportError as error:
        raise PageproofError(
            f"kdump is not installed: {error}", "", "install pageproof with pip, or use the clone's"
        ) from None
    commands = parser.add_subparsers(dest="kdump_command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        word = command.name.removeprefix("kdump ")
        one = commands.add_parser(word, help=command.help, **described(command))
        # A command without a report has no option -o.
        one.set_defaults(chosen=command, output=None)
        command.add_options(one)
