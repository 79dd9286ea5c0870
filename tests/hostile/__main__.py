# SPDX-License-Identifier: GPL-2.0-or-later
"""Run cases from the command line.

build/venv/bin/python tests/hostile --case 1234    one case, with the output of its command
build/venv/bin/python tests/hostile --list 0-99    what they are
build/venv/bin/python tests/hostile --run 0-9999   run them, and print the counts
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / name) for name in ("drgn_scripts", "lab", "kdump", "tests", "build/lib")]

from hostile import corpus  # noqa: E402  the path is set above
from hostile.cases import ALL, case  # noqa: E402
from hostile.run import Runner, scratch_directory  # noqa: E402


def numbers(text: str) -> range:
    """Parse A-B, both included."""
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/hostile", description=__doc__.split("\n")[0])
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--case", type=int, metavar="N")
    which.add_argument("--list", type=numbers, metavar="A-B")
    which.add_argument("--run", type=numbers, metavar="A-B", nargs="?", const=range(ALL))
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=600, help="start no case after this time")
    parser.add_argument("--json", type=Path, help="write the counts to a file")
    args = parser.parse_args()
    if args.list is not None:
        for number in args.list:
            print(case(number))
        return 0
    if args.case is not None:
        with scratch_directory() as scratch:
            runner = Runner(Path(scratch))
            one = case(args.case)
            outcome = runner.run(one)
            runner.end()
        print(f"{one}\n{outcome.out}{outcome.err}")
        print(f"exit code {outcome.code}, {outcome.cpu_seconds:.2f} s of CPU time, ", end="")
        print(f"{outcome.peak_bytes >> 20} MiB")
        return 0
    counts = corpus.run_all(args.run, args.workers, args.minutes)
    if args.json:
        args.json.write_text(json.dumps(counts.as_json(), indent=1))
    print(counts)
    return 1 if counts.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
