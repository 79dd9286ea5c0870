# SPDX-License-Identifier: GPL-2.0-or-later
"""A plugin for drgn: pageproof's commands in drgn's own shell, on the program that it debugs.

    >>> %pageproof verify --pid 133 | less
    >>> %walk _text

drgn finds the plugin by its entry point (group ``drgn.plugins``). Output can be piped and
redirected as for drgn's own commands (drgn's documentation, "Commands").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import drgn
from drgn.commands import CommandArgumentError, custom_command, parse_shell_command

from pageproof.cli import main_in_drgn
from pageproof.front import COMMANDS, Command


def _is_linux_kernel(prog: drgn.Program) -> bool:
    return bool(prog.flags & drgn.ProgramFlags.IS_LINUX_KERNEL)


def _run(prog: drgn.Program, name: str, words: Sequence[str]) -> int:
    """Run a command and return its exit code, as drgn's ``%sh`` does."""
    try:
        return main_in_drgn(prog, name, words, called=f"%{name}")
    except SystemExit as end:  # argparse exits after --help; the shell must not
        return int(end.code or 0)


@custom_command(
    name="pageproof",
    description="prove that kernel and user mappings are the same memory, and inspect mappings",
    usage="**pageproof** *command* [*argument* ...]",
    long_description="Commands: " + ", ".join(one.name for one in COMMANDS) + ". "
    "``%pageproof COMMAND --help`` lists the arguments of each.",
    parse=parse_shell_command,
    enabled=_is_linux_kernel,
)
def _cmd_pageproof(prog: drgn.Program, name: str, args: Sequence[str], **kwargs: Any) -> int:
    names = [one.name for one in COMMANDS]
    if not args or args[0] not in names:
        raise CommandArgumentError(f"name a command: {', '.join(names)}")
    return _run(prog, args[0], args[1:])


def _register(command: Command) -> None:
    """Register a command under its own name too."""

    @custom_command(
        name=command.name,
        description=command.help,
        usage=f"**{command.name}** [*argument* ...]",
        long_description=f"{command.description} ``%{command.name} --help`` lists the arguments.",
        parse=parse_shell_command,
        enabled=_is_linux_kernel,
    )
    def _cmd(prog: drgn.Program, name: str, args: Sequence[str], **kwargs: Any) -> int:
        return _run(prog, name, args)


for _command in COMMANDS:
    _register(_command)
