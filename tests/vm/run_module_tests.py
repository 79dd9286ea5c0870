#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Test umh_shm.ko inside a guest, as root: `run_module_tests.py [GROUP ...]`.

One line per check, "ok N - GROUP: NAME" or "not ok N - GROUP: NAME: WHY", then the plan "1..N".
Each group also checks the kernel's log. Exit status: 0 all ok, 1 some not, 2 wrong usage.
"""

import argparse
import os
import sys
import traceback
from pathlib import Path

from module_tests import access, chaos, helper, loading, protocol, races
from module_tests.harness import BAD_LOG, Log, Module, Suite, left_behind

GROUPS = {
    group.__name__: group
    for group in (
        loading.parameters,
        loading.pairs,
        loading.orders,
        loading.twenty_times,
        access.refusals,
        access.intruders,
        helper.confinement,
        helper.signals,
        helper.killed_20_times,
        helper.limit,
        helper.stopping,
        helper.without_node,
        protocol.sizes,
        protocol.threads,
        protocol.deadlines,
        protocol.death_in_the_middle,
        protocol.killed_requester,
        protocol.rubbish,
        protocol.thief,
        protocol.scribbler,
        races.start_meets_unload,
        races.stop_in_vain,
        races.frozen_by_cgroup,
        races.killed_while_waiting,
        chaos.chaos,
    )
}


def run(suite: Suite, module: Module, name: str) -> None:
    """Run one group; exceptions and bad lines in the kernel's log are failures too."""
    suite.group = name
    log = Log()
    module.unload()
    try:
        GROUPS[name](suite, module)
    except Exception as error:
        traceback.print_exc()
        suite.check(False, "ran to its end", repr(error))
    module.unload()
    suite.equal(left_behind(), [], "nothing left behind")
    bad = [line for line in log.read() if BAD_LOG.search(line)]
    suite.check(not bad, "kernel log is clean", bad)
    log.close()


def main() -> int:
    here = Path(__file__).resolve().parent
    release = os.uname().release
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help="default: all")
    parser.add_argument(
        "--module",
        type=Path,
        default=Path("/lib/modules", release, "updates/umh_shm.ko"),
        help="umh_shm.ko, or the directory it is in",
    )
    parser.add_argument("--list", action="store_true", help="print the groups")
    args = parser.parse_args()
    if args.list:
        print(*GROUPS, sep="\n")
        return 0
    if unknown := set(args.groups) - set(GROUPS):
        parser.error(f"no such group: {', '.join(sorted(unknown))}")
    file = args.module / "umh_shm.ko" if args.module.is_dir() else args.module
    if not file.is_file():
        parser.error(f"{file}: no such file")
    if os.getuid():
        parser.error("needs root")

    suite = Suite()
    for name in args.groups or GROUPS:
        run(suite, Module(file, here), name)
    print(f"1..{suite.count}")
    return int(suite.failures > 0)


if __name__ == "__main__":
    sys.exit(main())
