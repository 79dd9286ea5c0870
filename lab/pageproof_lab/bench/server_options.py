# SPDX-License-Identifier: GPL-2.0-or-later
"""The options of the part "server"."""

import argparse
from pathlib import Path

from pageproof_lab import LabError
from pageproof_lab.bench.bench_server import LIMITS, Wishes
from pageproof_lab.bench.scenario import SCENARIOS
from pageproof_lab.bench.server_table import TARGETS
from pageproof_lab.bench.timed import Limits

_OPTIONS = (
    *("scenario", "target", "processes", "vmas", "mib"),
    *("deadline", "most_memory", "keep", "kept"),
)
#: The most that a guest of the lab can hold, so that a mistyped number is an error at once.
_MOST = {"processes": 30_000, "vmas": 60_000, "mib": 1 << 16}


def add_server_options(parser: argparse.ArgumentParser) -> None:
    """Add the options to the parser of `lab bench`."""
    group = parser.add_argument_group(
        "part server", "Other numbers make a smaller version, for which there are no goals."
    )
    group.add_argument(
        "--scenario", action="append", choices=SCENARIOS, help="repeatable (default: all)"
    )
    group.add_argument(
        "--target", action="append", choices=TARGETS, help="repeatable (default: all)"
    )
    group.add_argument("--processes", type=int, metavar="N", help="number of processes")
    group.add_argument("--vmas", type=int, metavar="N", help="VMAs of each process (scenario vmas)")
    group.add_argument("--mib", type=int, metavar="MIB", help="size of the memfd (other scenarios)")
    group.add_argument(
        "--deadline",
        type=float,
        metavar="SECONDS",
        help=f"end a command after this time (default: {LIMITS.seconds:.0f})",
    )
    group.add_argument(
        "--most-memory",
        type=int,
        metavar="MIB",
        help=f"end a command with more memory (default: {LIMITS.memory_mib})",
    )
    group.add_argument(
        "--no-growth", action="store_true", help="do not measure with fewer processes"
    )
    group.add_argument("--keep", type=Path, metavar="DIR", help="keep both dumps here")
    group.add_argument(
        "--kept", type=Path, metavar="DIR", help="measure dumps that --keep kept, without a guest"
    )


def wishes_of(args: argparse.Namespace, *, asked: bool) -> Wishes:
    """Return what the user selected.

    Args:
        args: the parsed options.
        asked: whether the part "server" runs.

    Raises:
        LabError: an option has no effect, or its value makes no sense.
    """
    given = [name for name in _OPTIONS if getattr(args, name) is not None]
    given += ["no_growth"] * args.no_growth
    if given and not asked:
        raise LabError(f"--{given[0].replace('_', '-')}: only for --part server")
    for name, most in _MOST.items():
        value = getattr(args, name)
        if value is not None and not 1 <= value <= most:
            raise LabError(f"--{name} {value}: must be 1 to {most}")
    scenarios = [SCENARIOS[name] for name in args.scenario or SCENARIOS]
    if args.vmas is not None and not any(one.vmas for one in scenarios):
        raise LabError("--vmas: only for --scenario vmas")
    if args.mib is not None and all(one.vmas for one in scenarios):
        raise LabError("--mib: not for --scenario vmas; use --vmas")
    limits = Limits(
        LIMITS.seconds if args.deadline is None else args.deadline,
        LIMITS.memory_mib if args.most_memory is None else args.most_memory,
    )
    if not 1 <= limits.seconds <= 3600:
        raise LabError(f"--deadline {limits.seconds:g}: must be 1 to 3600 seconds")
    if limits.memory_mib < 64:
        raise LabError(f"--most-memory {limits.memory_mib}: must be at least 64 MiB")
    if args.keep and args.kept:
        raise LabError("--keep: not with --kept, which makes no dumps")
    return Wishes(
        tuple(one.smaller(args.processes, args.vmas, args.mib) for one in scenarios),
        tuple(args.target or TARGETS),
        limits,
        growth=not args.no_growth,
        keep=args.keep,
        kept=args.kept,
    )
