# SPDX-License-Identifier: GPL-2.0-or-later
"""Fuzz the module in a guest, for `make fuzz-module` and for a short test (docs/debug-kernel.md).

The guest's side is tests/vm/fuzz_rounds.py. A run has rounds of calls, then kills of the helper,
then loads and unloads. Memory in use is measured before and after, with nothing loaded.
"""

import argparse
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from pageproof_lab import LabError
from pageproof_lab.guest import boot, qemu
from pageproof_lab.guest.guest import Guest
from pageproof_lab.images import build, kernels

Json = dict[str, Any]
ROUNDS = "/opt/pageproof/vm/fuzz_rounds.py"
ROUND_CALLS = 20_000
LEAKS_EACH = 10  # rounds; a scan of kmemleak takes a minute under emulation
#: The kernel's own watchdogs measure the host's load too. The fuzzer has its own deadline.
QUIET = (
    "rcupdate.rcu_cpu_stall_timeout=300 sysctl.kernel.watchdog_thresh=60 "
    "sysctl.kernel.hung_task_timeout_secs=600 page_owner=on"
)
#: Seconds. For hangs of the guest, far above what a slow host needs.
ROUND_SECONDS = 3600
STUCK_SECONDS = 300
#: More than this lost is a leak, in KiB. The levels of two idle moments differ by less.
LOST_KIB = 16 * 1024
GROWS = "SUnreclaim", "VmallocUsed", "Percpu", "KernelStack", "PageTables"


class Fault(Exception):
    """The kernel, or the fuzzer, reported something."""


@dataclass
class Fuzzing:
    """A guest that is fuzzed, and what came out of it."""

    guest: Guest
    calls: int = 0
    seconds: float = 0
    restarted: int = 0
    covered: int = 0
    kinds: Counter[str] = field(default_factory=Counter)

    def phase(self, *words: str | int) -> Json:
        """Run one phase of fuzz_rounds.py.

        Raises:
            Fault: it has faults, or the guest has died.
        """
        command = ("python3", ROUNDS, *map(str, words), "--stuck", str(STUCK_SECONDS))
        try:
            ran = self.guest.run(*command, timeout_seconds=ROUND_SECONDS)
        except LabError as error:
            raise Fault(f"{' '.join(command)}: {error}{self.guest.log_tail()}") from error
        try:
            found: Json = json.loads(ran.out)
        except ValueError:
            raise Fault(f"{' '.join(command)}: {ran.out}{ran.err}") from None
        if found["faults"]:
            raise Fault("\n".join([" ".join(command), *found["faults"]]))
        return found

    def round(self, seed: int, calls: int, *, leaks: bool) -> None:
        """Make calls from several processes, and count them."""
        words = ["--leaks"] if leaks else []
        found = self.phase("calls", "--seed", seed, "--calls", calls, *words)
        self.calls += found["calls"]
        self.seconds += found["seconds"]
        self.restarted += found["restarted"]
        self.covered = max(self.covered, found["covered"])
        for kind, (good, refused) in found["kinds"].items():
            self.kinds[kind] += good
            self.kinds[f"{kind} refused"] += refused


def lost(before: Json, after: Json) -> dict[str, int]:
    """Return how much more memory is in use, in KiB by kind."""
    used = {name: after[name] - before[name] for name in GROWS}
    return {"MemAvailable": before["MemAvailable"] - after["MemAvailable"], **used}


def options(kernel: str) -> qemu.Options:
    """Return the options of a guest to fuzz in."""
    if kernel != kernels.DEBUG.name:
        return qemu.Options(append=QUIET)
    return qemu.Options(**{**vars(qemu.DEBUG), "append": QUIET, "deadline_seconds": 24 * 3600})


def fuzz(kernel_name: str, calls: int, seed: int, turns: int) -> None:
    """Fuzz and print what came out.

    Raises:
        Fault: something is wrong.
    """
    kernel = kernels.fetch(kernel_name)
    with boot.boot(kernel, options(kernel_name), built=build.build(kernel)) as guest:
        print(f"{kernel.release}: {guest.facts.boot_seconds} s to boot, seed {seed}", flush=True)
        run = Fuzzing(guest)
        run.round(seed, 1000, leaks=True)  # what the first use allocates for good is not a leak
        run.phase("kills", "--turns", 2)
        run.phase("loads", "--turns", 4)
        before = run.phase("memory")
        number = 0
        while run.calls < calls:
            number += 1
            left = min(ROUND_CALLS, calls - run.calls)
            run.round(seed + number, left, leaks=number % LEAKS_EACH == 0)
            rate = run.calls / run.seconds
            print(
                f"round {number}: {run.calls} calls, {rate:.0f} a second, "
                f"{run.covered} places of the module's text",
                flush=True,
            )
        for kind in [kind for kind in run.kinds if not kind.endswith(" refused")]:
            refused = run.kinds[f"{kind} refused"]
            print(f"  {kind:16}{run.kinds[kind]:9} done {refused:9} refused")
        for phase in ("kills", "loads"):
            found = run.phase(phase, "--turns", turns, "--leaks")
            print(f"{phase}: {found['turns']} in {found['seconds']:.0f} s", flush=True)
        after = run.phase("memory")
        for name in before:
            if name != "faults":
                print(f"  {name:16}{before[name]:9} KiB before {after[name]:9} KiB after")
        gone = {name: kib for name, kib in lost(before, after).items() if kib > LOST_KIB}
        if gone:
            raise Fault(f"memory is lost, in KiB: {gone}")
        print(f"no fault: {run.calls} calls, {run.restarted} processes ended by a signal")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kernel", choices=kernels.NAMES, default=kernels.DEBUG.name)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--turns", type=int, default=1000, help="kills, and loads")
    args = parser.parse_args()
    start = time.monotonic()
    try:
        fuzz(args.kernel, args.calls, args.seed, args.turns)
    except Fault as fault:
        print(f"fault:\n{fault}")
        return 1
    except LabError as error:
        print(f"fuzzmodule: error: {error}", file=sys.stderr)
        return 2
    finally:
        print(f"{(time.monotonic() - start) / 60:.0f} minutes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
