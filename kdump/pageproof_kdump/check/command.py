# SPDX-License-Identifier: GPL-2.0-or-later
"""``pageproof kdump check`` on the command line."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from pageproof.front.command import Offline, add_report_options, add_verbose, write_answer

if TYPE_CHECKING:
    from pageproof.front.output import Progress
    from pageproof.model.kdump import KdumpReport
    from pageproof_kdump.check.machine import Machine

EPILOG: Final = """\
It reads files of this machine and changes nothing. Without root it cannot read the kernel's
VMCOREINFO, and reports that as unknown.

exit codes:
  0  every check is ok
  1  at least one is bad
  2  wrong usage, or the report cannot be written
  3  nothing is bad, but something could not be decided
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    add_verbose(add_report_options(parser), "show the facts behind each check")


def run(args: argparse.Namespace, progress: Progress) -> int:
    from pageproof.render import Options
    from pageproof_kdump.check.machine import Machine

    progress.say("reading this machine's configuration")
    report = check_machine(Machine())
    write_answer(report, args, progress, Options(verbose=args.verbose))
    return report.exit_code


def check_machine(machine: Machine) -> KdumpReport:
    """Return the report about a machine."""
    from pageproof_kdump.check import dump, kernel
    from pageproof_kdump.check.facts import Facts
    from pageproof_kdump.engine import report_of

    checks = (*kernel.CHECKS, *dump.CHECKS)
    return report_of("check", machine.name, machine.release, checks, Facts(machine))


CHECK: Final = Offline(
    name="kdump check",
    help="is this machine ready for a crash?",
    description="Check whether this machine would leave a sound dump after a panic: the kernel, "
    "the memory that is reserved for a capture kernel, what is loaded there, the room where the "
    "dump goes, and whether this makedumpfile can filter this kernel.",
    epilog=EPILOG,
    add_options=add_options,
    run=run,
)
