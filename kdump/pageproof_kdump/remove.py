# SPDX-License-Identifier: GPL-2.0-or-later
"""``pageproof kdump remove``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from pageproof.errors import Exit, PageproofError
from pageproof.front.command import Offline
from pageproof_kdump.install.machine import add_root, machine_of

if TYPE_CHECKING:
    from pageproof.front.output import Progress

EPILOG: Final = """\
exit codes:
  0  done; or with --dry-run: it can be done
  2  wrong usage, or it cannot be done
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "--force", action="store_true", help="restore files also if they were changed since"
    )
    parser.add_argument("--dry-run", action="store_true", help="show what would change")
    add_root(parser)


def run(args: argparse.Namespace, progress: Progress) -> int:
    from pageproof_kdump.install import changes
    from pageproof_kdump.install.commands import run_all

    machine = machine_of(args)
    if not args.dry_run:
        machine.need_root()
    journal = changes.read(machine.root)
    changed = changes.changed_since(machine.root, journal)
    if changed and not args.force:
        raise PageproofError(
            f"changed after setup: {', '.join(changed)}",
            "",
            "keep what you need of them, then add --force to restore what was there before setup",
        )
    for path, before, _ in journal.files:
        print(f"{'remove' if before.content is None else 'restore'} /{path}")
    for words in journal.commands:
        print(f"run: {' '.join(words)}")
    if args.dry_run:
        return Exit.SOUND
    changes.restore(machine.root, journal)
    if machine.here:
        try:
            run_all(journal.commands)
        except PageproofError as error:
            raise PageproofError(
                f"the files are restored, but a command failed: {error}"
            ) from error
    print("done" if machine.here else "the files are restored; run the commands on that machine")
    return Exit.SOUND


REMOVE: Final = Offline(
    name="kdump remove",
    help="undo what setup has done",
    description="Restore the files as they were before pageproof kdump setup, remove those that it "
    "created, and unload the crash kernel. Dumps stay.",
    epilog=EPILOG,
    add_options=add_options,
    run=run,
)
