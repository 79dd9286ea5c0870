# SPDX-License-Identifier: GPL-2.0-or-later
"""Count round trips of the module with nothing watched, and beside a `watch` of its slot."""

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pageproof_lab import LabError
from pageproof_lab.guest import boot, qemu
from pageproof_lab.guest.guest import Guest
from pageproof_lab.images import build, kernels
from pageproof_lab.proc import say

BENCH = "/sys/kernel/debug/umh_shm/bench"
RECORDS = "/run/watch.jsonl"
START_SECONDS = ROUNDS_SECONDS = 600
#: Fields that both ways can watch, and bytes of the same page that nobody uses.
STATE, UNUSED = ("--field", "state"), ("--offset", "3200", "--length", "8")
_NANOSECONDS = re.compile(r"ns (\d+)")


@dataclass(frozen=True)
class Row:
    """One measurement.

    Attributes:
        name: what was watched, and how.
        rounds: round trips.
        per_second: of them.
        events: accesses that were seen; None if nothing was watched.
    """

    name: str
    rounds: int
    per_second: float
    events: int | None = None


def bench_watch(series: str) -> None:
    """Print the table."""
    kernel = kernels.fetch(series)
    built = build.build(kernel)
    with boot.boot(kernel, qemu.Options(gdb=True), built=built) as here:
        here.load_module()
        rows = [
            _row(here, "nothing watched", 4000),
            _outside(here, "gdb: unused bytes of the page", UNUSED, 4000),
            _outside(here, "gdb: the state word", STATE, 100),
            _outside(here, "gdb: every member", (), 20),
            _inside(here, "perf: unused bytes of the page", UNUSED, 4000),
            _inside(here, "perf: the state word, reads and writes", STATE, 4000),
            _inside(here, "perf: the state word, writes only", (*STATE, "--writes"), 4000),
            _row(here, "nothing watched, again", 4000),
        ]
    print(f"Linux {kernel.release}, {here.facts.accelerator}, 2 CPUs; payload of 64 bytes")
    print("| watched | round trips | per second | of nothing watched | accesses seen |")
    print("|---|---|---|---|---|")
    for row in rows:
        share = f"{100 * row.per_second / rows[0].per_second:.3g} %"
        events = "" if row.events is None else f"{row.events:,}"
        print(f"| {row.name} | {row.rounds:,} | {_number(row.per_second)} | {share} | {events} |")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _row(here: Guest, name: str, rounds: int) -> Row:
    """Make round trips, and read the module's own count of them per second."""
    say(name)
    script = f"echo {rounds} > {BENCH} && cat {BENCH}"
    said = here.check("sh", "-c", script, timeout_seconds=ROUNDS_SECONDS)
    match = _NANOSECONDS.search(said)
    if match is None:
        raise LabError(f"{BENCH} says {said!r}")
    return Row(name, rounds, rounds * 1e9 / int(match[1]))


def _outside(here: Guest, name: str, words: Sequence[str], rounds: int) -> Row:
    """Make round trips while a watch through QEMU's gdb stub runs."""
    command = [
        *(sys.executable, "-m", "pageproof", "--qemu", str(here.sockets.qmp)),
        *("watch", "--gdb", str(here.sockets.gdb), "--kind", "umh_shm", *words),
        *("--format", "json"),
    ]
    with tempfile.TemporaryFile("w+") as records:
        watch = subprocess.Popen(command, stdout=records)
        try:
            _await(lambda: os.fstat(records.fileno()).st_size > 0, name, watch.poll)
            row = _row(here, name, rounds)
        finally:
            watch.terminate()
            watch.wait(START_SECONDS)
        records.seek(0)
        return replace(row, events=_events(name, records.read()))


def _inside(here: Guest, name: str, words: Sequence[str], rounds: int) -> Row:
    """Make round trips while a watch inside the guest runs."""
    command = shlex.join(("pageproof", "watch", "--kind", "umh_shm", *words, "--format", "json"))
    start = f"rm -f {RECORDS}; {command} > {RECORDS} 2> {RECORDS}.err & echo $!"
    pid = here.check("sh", "-c", start).strip()

    def test(what: str) -> bool:
        return here.run("sh", "-c", what).code == 0

    def ended() -> str | None:
        return None if test(f"kill -0 {pid}") else here.check("cat", f"{RECORDS}.err")

    try:
        _await(lambda: test(f"test -s {RECORDS}"), name, ended)
        row = _row(here, name, rounds)
    finally:
        here.run("kill", pid)
    _await(lambda: not test(f"kill -0 {pid}"), name, lambda: None)
    return replace(row, events=_events(name, here.check("tail", "-n", "1", RECORDS)))


def _await(done: Callable[[], bool], name: str, ended: Callable[[], object]) -> None:
    """Wait until something is true.

    Raises:
        LabError: the watch ended before, or it takes too long.
    """
    deadline = time.monotonic() + START_SECONDS
    while not done():
        if (how := ended()) is not None:
            raise LabError(f"{name}: the watch ended: {how}")
        if time.monotonic() > deadline:
            raise LabError(f"{name}: nothing happens for {START_SECONDS} s")
        time.sleep(0.2)


def _events(name: str, records: str) -> int:
    last = json.loads(records.strip().rpartition("\n")[2])
    if last["record"] != "end":
        raise LabError(f"{name}: the watch ended without a sum")
    return int(last["events"])
