#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Fuzz umh_shm.ko inside a guest, as root, and watch what the kernel says to it.

    fuzz_rounds.py calls --seed SEED --calls CALLS    one round of fuzz_module
    fuzz_rounds.py kills --turns TURNS                kill the helper TURNS times
    fuzz_rounds.py loads --turns TURNS                load and unload the module TURNS times
    fuzz_rounds.py memory                             how much memory is in use, nothing loaded

Prints a JSON object whose "faults" are empty if all is well. Exit status: 0, or 1 with faults.
"""

import argparse
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from module_tests.harness import BAD_LOG, Log, Module, errno_of, left_behind, wait_until

HERE = Path(__file__).resolve().parent
KMEMLEAK = Path("/sys/kernel/debug/kmemleak")
FAILSLAB = Path("/sys/kernel/debug/failslab")
#: What a debug kernel prints and harness.BAD_LOG lacks.
ALSO_BAD = re.compile(
    r"kmemleak: [1-9]\d* new suspected|INFO: (trying to register|task |lockdep is turned off)"
    r"|ODEBUG:|page_table_check|rcu:.*stall|soft lockup|scheduling while atomic|Bad rss-counter"
)
#: Set up by this fuzzer; each is one line.
EXPECTED = re.compile(r"FAULT_INJECTION: |umh_shm: (un)?healthy|umh_shm: loading out-of-tree")


def bad(line: str) -> bool:
    return bool(BAD_LOG.search(line) or ALSO_BAD.search(line)) and not EXPECTED.search(line)


class Watch:
    """Reads the kernel's log all the time, as a fuzzer overflows its buffer."""

    def __init__(self) -> None:
        self._log = Log()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while not self._ended.wait(0.1):
            self._log.read()

    def end(self) -> list[str]:
        """Return each bad line with what follows it."""
        self._ended.set()
        self._thread.join()
        lines = self._log.read()
        self._log.close()
        first = next((number for number, line in enumerate(lines) if bad(line)), None)
        return [] if first is None else lines[max(0, first - 2) : first + 60]


@contextlib.contextmanager
def freezer() -> Iterator[Path | None]:
    """Yield a group of the cgroup v1 freezer; None if the kernel has none."""
    place = Path("/run/fuzz-freezer")
    place.mkdir(exist_ok=True)
    if os.system(f"mount -t cgroup -o freezer none {place} 2>/dev/null"):
        yield None
        return
    group = place / "umh_shm"
    group.mkdir(exist_ok=True)
    try:
        yield group
    finally:
        (group / "freezer.state").write_text("THAWED")
        wait_until(lambda: errno_of(group.rmdir) in ("OK", "ENOENT"))
        os.system(f"umount {place}")


def set_up_failslab() -> None:
    """Let /proc/thread-self/fail-nth make allocations fail without a word in the log."""
    if FAILSLAB.is_dir():
        for name, value in (("verbose", "0"), ("ignore-gfp-wait", "N"), ("cache-filter", "N")):
            (FAILSLAB / name).write_text(value)


def unload(module: Module) -> list[str]:
    """Unload from any state; return what went wrong."""
    if module.is_loaded():
        for _ in range(10):  # EBUSY: the helper does not end in time on a slow guest
            if errno_of(module.stop) == "OK":
                break
        removed = module.removed()
        if removed != "OK":
            return [f"rmmod: {removed}"]
    left = wait_until(lambda: not left_behind(), 30)
    return [] if left else [f"left behind: {name}" for name in left_behind()]


def leaks() -> list[str]:
    """Return what kmemleak finds; nothing on a kernel without it."""
    if not KMEMLEAK.exists():
        return []
    time.sleep(5)  # MSECS_MIN_AGE: younger objects are not reported
    for _ in range(2):  # the first scan takes checksums; what has not changed since is reported
        KMEMLEAK.write_text("scan")
    return [f"kmemleak: {line}" for line in KMEMLEAK.read_text().splitlines()[:60]]


def calls(module: Module, args: argparse.Namespace) -> dict[str, Any]:
    set_up_failslab()
    module.insert(allow_any=1, timeout_ms=100, restart_ms=1, max_restarts=1000000, length=12288)
    with freezer() as group:
        words = [HERE / "fuzz_module", "-s", args.seed, "-n", args.calls, "-p", args.processes]
        words += ["-m", module.file, "-t", args.stuck]
        words += ["-f", group] if group else []
        ran = subprocess.run(list(map(str, words)), capture_output=True, text=True)
    found: dict[str, Any] = json.loads(ran.stdout) if ran.stdout else {}
    faults = [ran.stderr.strip()] if ran.returncode else []
    if ran.returncode == 1:
        for pid in re.findall(r"process (\d+) hangs", ran.stderr):
            faults += [Path(f"/proc/{pid}/stack").read_text()]
    found["faults"] = faults
    return found


def kills(module: Module, args: argparse.Namespace) -> dict[str, Any]:
    faults = []
    module.insert(restart_ms=1, max_restarts=2**32 - 1, timeout_ms=60000)
    start = time.monotonic()
    for turn in range(args.turns):
        if not wait_until(lambda: module.get("state") == "healthy", args.stuck):
            faults = [f"turn {turn}: {module.get('state')} after {args.stuck} s"]
            break
        old = module.pid
        with contextlib.suppress(ProcessLookupError):
            os.kill(old, signal.SIGKILL)
        if not wait_until(lambda old=old: module.pid != old, args.stuck):  # type: ignore[misc]
            faults = [f"turn {turn}: helper {old} is not gone after {args.stuck} s"]
            break
    restarts = int(module.get("restarts"))
    if not faults and restarts != args.turns:
        wait_until(lambda: int(module.get("restarts")) == args.turns)
        restarts = int(module.get("restarts"))
    if restarts != args.turns:
        faults += [f"{args.turns} kills, but {restarts} restarts"]
    return {"turns": args.turns, "seconds": time.monotonic() - start, "faults": faults}


def loads(module: Module, args: argparse.Namespace) -> dict[str, Any]:
    pairs = (("kzalloc", "remap"), ("pages", "insert"), ("vmalloc", "fault"), ("pages", "fault"))
    faults: list[str] = []
    start = time.monotonic()
    for turn in range(args.turns):
        backing, how = pairs[turn % len(pairs)]
        module.insert(backing=backing, map=how, length=65536)
        if turn % 3:  # else unload at once
            wait_until(lambda: module.get("state") == "healthy", args.stuck)
        if faults := unload(module):
            faults[0] = f"turn {turn}: {faults[0]}"
            break
    return {"turns": args.turns, "seconds": time.monotonic() - start, "faults": faults}


def memory(module: Module, args: argparse.Namespace) -> dict[str, Any]:
    """Return numbers of /proc/meminfo in KiB after all caches were dropped."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")
    # KASAN keeps freed objects in a quarantine, which a shrink empties (mm/kasan/quarantine.c).
    for cache in Path("/sys/kernel/slab").glob("*/shrink"):
        with contextlib.suppress(OSError):
            cache.write_text("1")
    names = (
        "MemAvailable",
        "MemFree",
        "Slab",
        "SUnreclaim",
        "KernelStack",
        "PageTables",
        "VmallocUsed",
        "Percpu",
    )
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    found: dict[str, Any] = {w[0][:-1]: int(w[1]) for w in lines if w[0][:-1] in names}
    return {**found, "faults": []}


PHASES: dict[str, Callable[[Module, argparse.Namespace], dict[str, Any]]] = {
    phase.__name__: phase for phase in (calls, kills, loads, memory)
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("phase", choices=PHASES)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--stuck", type=int, default=120, help="seconds after which a call hangs")
    parser.add_argument("--leaks", action="store_true", help="let kmemleak scan at the end")
    release = os.uname().release
    parser.add_argument(
        "--module", type=Path, default=Path("/lib/modules", release, "updates/umh_shm.ko")
    )
    args = parser.parse_args()
    module = Module(args.module.resolve(), HERE)
    if faults := unload(module):
        print(json.dumps({"faults": faults}))
        return 1
    watch = Watch()
    found = PHASES[args.phase](module, args)
    if args.leaks and module.is_loaded():
        found["faults"] += leaks()
    found["faults"] += unload(module)
    if args.leaks:
        found["faults"] += leaks()
    found["faults"] += watch.end()
    print(json.dumps(found))
    return int(bool(found["faults"]))


if __name__ == "__main__":
    sys.exit(main())
