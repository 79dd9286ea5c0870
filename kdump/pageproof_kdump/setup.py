# SPDX-License-Identifier: GPL-2.0-or-later
"""``pageproof kdump setup``."""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pageproof.errors import Exit, PageproofError
from pageproof.front.command import Offline
from pageproof_kdump.install.machine import add_root, machine_of

if TYPE_CHECKING:
    from pageproof.front.output import Progress
    from pageproof_kdump.install.machine import Machine
    from pageproof_kdump.install.place import Place
    from pageproof_kdump.install.plan import Plan

EPILOG: Final = """\
exit codes:
  0  done; or with --dry-run: it can be done
  2  wrong usage, or it cannot be done: nothing was changed
"""
#: linux Documentation/admin-guide/kdump/kdump.rst, "crashkernel syntax".
_SIZE: Final = r"\d+[KMG]"
_CRASHKERNEL: Final = re.compile(
    rf"{_SIZE}(@{_SIZE}|,high|,low)?|{_SIZE}-({_SIZE})?:{_SIZE}(,{_SIZE}-({_SIZE})?:{_SIZE})*"
)
_PLAIN: Final = re.compile(r"[A-Za-z0-9/._+@:,=-]*")
_WAYS: Final = ("kdump-tools", "initramfs")
_COMPRESSIONS: Final = ("zlib", "lzo", "zstd", "none")
_TIMEOUT_SECONDS: Final = 3600
_MAX_SECONDS: Final = 7 * 24 * 3600


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    what = parser.add_argument_group("the dump")
    what.add_argument(
        "--to",
        metavar="PLACE",
        default="/var/crash",
        help="a directory on ext4 or xfs, partition:/dev/DEVICE, or ssh:USER@HOST:/DIRECTORY "
        "(default: %(default)s)",
    )
    what.add_argument(
        "--level",
        type=int,
        choices=range(32),
        metavar="0..31",
        help="makedumpfile's dump level (default: 31; 23 if this makedumpfile would lose slab "
        "pages of this kernel)",
    )
    what.add_argument("--compression", choices=_COMPRESSIONS, default="lzo", help="(default: lzo)")
    what.add_argument("--key", type=Path, metavar="FILE", help="private key for ssh")
    what.add_argument(
        "--known-hosts", type=Path, metavar="FILE", help="(default: ~/.ssh/known_hosts)"
    )
    how = parser.add_argument_group("the crash kernel")
    how.add_argument(
        "--with",
        dest="way",
        choices=_WAYS,
        help="who saves the dump (default: kdump-tools if it is installed, else the initramfs)",
    )
    how.add_argument(
        "--crashkernel",
        metavar="SIZE",
        help="memory to keep for it (default: what is set already, or 128M)",
    )
    how.add_argument("--no-bootloader", action="store_true", help="do not configure GRUB")
    how.add_argument(
        "--timeout",
        type=int,
        default=_TIMEOUT_SECONDS,
        metavar="SECONDS",
        help="the initramfs gives up after this time, 0: never (default: %(default)s)",
    )
    how.add_argument(
        "--after",
        choices=("reboot", "poweroff"),
        default="reboot",
        help="what the initramfs does at its end (default: %(default)s)",
    )
    doing = parser.add_argument_group("what to do")
    doing.add_argument(
        "--dry-run", action="store_true", help="show what would change; change nothing"
    )
    doing.add_argument("--yes", action="store_true", help="do not ask")
    add_root(doing)


def run(args: argparse.Namespace, progress: Progress) -> int:
    from pageproof_kdump.install import changes

    _check(args)
    machine = machine_of(args)
    machine.need_known()
    if not args.dry_run:
        machine.need_root()
    if changes.is_set_up(machine.root):
        raise PageproofError(
            "kdump is set up by pageproof already", "", "run pageproof kdump remove first"
        )
    place, plan = _plan(args, machine)
    for line in changes.show(machine.root, plan.changes):
        print(line)
    if place.mark is not None:
        print(f"write a mark into the first 4096 bytes of {place.device}")
    for words in plan.commands:
        print(f"run: {' '.join(words)}")
    for note in plan.notes:
        print(f"note: {note}")
    if args.dry_run:
        return Exit.SOUND
    if not args.yes:
        _ask()
    _do(machine, place, plan)
    return Exit.SOUND


def _check(args: argparse.Namespace) -> None:
    if args.crashkernel is not None and not _CRASHKERNEL.fullmatch(args.crashkernel):
        raise PageproofError(
            f"--crashkernel {args.crashkernel}: not a size", "", "write 128M, or 512M-:192M"
        )
    if not 0 <= args.timeout <= _MAX_SECONDS:
        raise PageproofError(
            f"--timeout {args.timeout}: out of range", "", f"write 0 to {_MAX_SECONDS} seconds"
        )
    for option, path in (("--key", args.key), ("--known-hosts", args.known_hosts)):
        if path is not None and not path.is_file():
            raise PageproofError(f"{option} {path}: no such file", "", "name a file")
    # They are written into files that a shell reads.
    for option, text in (("--to", args.to), ("--key", str(args.key or ""))):
        if not _PLAIN.fullmatch(text):
            raise PageproofError(
                f"{option} {text!r}: it has a space or another special character",
                "",
                "use letters, digits and /._-+@:,=",
            )


def _plan(args: argparse.Namespace, machine: Machine) -> tuple[Place, Plan]:
    from pageproof_kdump.install import load
    from pageproof_kdump.install.place import place
    from pageproof_kdump.install.plan import (
        CONFIGURATION,
        Wishes,
        for_initramfs,
        for_kdump_tools,
    )
    from pageproof_kdump.install.slab import safe_level

    way = args.way or (_WAYS[0] if machine.kdump_tools else _WAYS[1])
    if way == _WAYS[0] and not machine.kdump_tools:
        raise PageproofError("kdump-tools is not installed", "", "run: apt install kdump-tools")
    if way == _WAYS[0] and (args.timeout != _TIMEOUT_SECONDS or args.after != "reboot"):
        raise PageproofError(
            "kdump-tools has nothing like --timeout and --after", "", "add --with initramfs"
        )
    level, why = safe_level(args.level)
    if why:
        print(f"note: {why}")
    here = place(args.to, args.known_hosts)
    wishes = Wishes(
        level=level,
        compression=args.compression,
        crashkernel=args.crashkernel,
        timeout_seconds=args.timeout,
        after=args.after,
        key=args.key.resolve() if args.key else None,
        bootloader=not args.no_bootloader,
    )
    if way == _WAYS[0]:
        return here, for_kdump_tools(machine, here, wishes)
    plan = for_initramfs(machine, here, wishes)
    if machine.here:  # build it once, so that what is missing is known before a crash
        text = next(one.content for one in plan.changes if one.path == CONFIGURATION).decode()
        load.image_for(os.uname().release, *load.read_configuration(text), here.known_hosts)
    return here, plan


def _ask() -> None:
    if sys.stdin is None or not sys.stdin.isatty():
        raise PageproofError("nobody can be asked: stdin is no terminal", "", "add --yes")
    print("Do this? [y/N] ", end="", flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise PageproofError("nothing was changed")


def _do(machine: Machine, place: Place, plan: Plan) -> None:
    from pageproof_kdump.install import changes
    from pageproof_kdump.install.commands import run_all
    from pageproof_kdump.install.machine import reserved_bytes

    directories = [place.directory.lstrip("/")] if place.kind == "file" else []
    changes.apply(machine.root, plan.changes, plan.undo_commands, directories)
    try:
        if place.mark is not None and place.device is not None and machine.here:
            with place.device.open("r+b") as file:
                file.write(place.mark)
                file.flush()
                os.fsync(file.fileno())
        if machine.here:
            reserved = reserved_bytes() > 0
            run_all(words for words in plan.commands if reserved or not _starts(words))
    except (OSError, PageproofError) as error:
        changes.restore(machine.root, changes.read(machine.root))
        if machine.here:
            run_all(plan.undo_commands, ignore_errors=True)
        raise PageproofError(f"{error}", "", "nothing was changed") from error
    if not machine.here:
        print("the files are written; run the commands above on that machine")
    elif reserved_bytes() == 0:
        print("done; restart this machine, so that its kernel keeps memory for the crash kernel")
    else:
        print("done; pageproof kdump check shows whether this machine is ready")


def _starts(words: tuple[str, ...]) -> bool:
    """Whether a command loads the crash kernel, which needs reserved memory."""
    return words[:2] in (("systemctl", "start"), ("systemctl", "restart"))


SETUP: Final = Offline(
    name="kdump setup",
    help="prepare this machine for a crash",
    description="Prepare this machine for a crash, so that its kernel leaves a dump: through "
    "kdump-tools if it is installed, or with pageproof's own small initramfs and kexec-tools. "
    "Everything is shown before it is written; pageproof kdump remove undoes it.",
    epilog=EPILOG,
    add_options=add_options,
    run=run,
)
