# SPDX-License-Identifier: GPL-2.0-or-later
"""Fill a guest with processes that map memory: starts lab/bench_programs/mappers.c in it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pageproof_lab import LabError
from pageproof_lab.guest.guest import Guest

POPULATE_SECONDS = 900
_KILL_SECONDS = 120


@dataclass(frozen=True)
class Mapper:
    """A process in the guest, and what the guest's kernel counts in it."""

    group: str
    pid: int
    address: int  # of the first page of the group's memfd
    vmas: int
    ptes: int  # present pages of the memfd
    runs: int  # of such pages whose frames adjoin
    tables_kib: int


def parse_line(line: str) -> Mapper:
    """Parse a line of the program's file.

    Raises:
        LabError: the line is not as expected.
    """
    try:
        group, pid, address, *counts = line.split()
        vmas, ptes, runs, tables_kib = map(int, counts)
        return Mapper(group, int(pid), int(address, 16), vmas, ptes, runs, tables_kib)
    except ValueError as error:
        raise LabError(f"mappers in the guest: unexpected line {line!r}") from error


def start_mappers(
    here: Guest, program: Path, groups: Sequence[str], deadline_seconds: float = POPULATE_SECONDS
) -> list[Mapper]:
    """Start the processes in the guest and wait until all their pages are present.

    Args:
        here: the guest.
        program: lab/bench_programs/mappers.c, compiled.
        groups: arguments for the program.
        deadline_seconds: how long to wait.

    Raises:
        LabError: the program failed or was not ready in time.
    """
    here.agent.write_file("/run/mappers", program.read_bytes())
    # Map as much as possible around each fault. By default one page table takes 32 faults.
    around = "/sys/kernel/debug/fault_around_bytes"
    here.run("sh", "-c", f"mount -t debugfs none /sys/kernel/debug; echo 2097152 > {around}")
    here.check("chmod", "755", "/run/mappers")
    command = f"setsid /run/mappers /run/mapped {' '.join(groups)} >/run/mappers.log 2>&1"
    here.check("sh", "-c", f"{command} </dev/null &")
    deadline = time.monotonic() + deadline_seconds
    pause = 0.2
    while here.run("tail", "-n", "1", "/run/mapped").out.strip() != "ready":
        log = here.check("cat", "/run/mappers.log")
        if log or time.monotonic() > deadline:
            why = log or f"not ready after {deadline_seconds:.0f} s"
            raise LabError(f"mappers in the guest: {why}")
        time.sleep(pause)
        pause = min(2.0, pause * 1.5)
    return [parse_line(line) for line in here.check("cat", "/run/mapped").splitlines()[:-1]]


def kill_mappers(here: Guest, mappers: Sequence[Mapper]) -> None:
    """Kill processes and wait until their memory is gone.

    Raises:
        LabError: one did not end in time.
    """
    pids = [str(mapper.pid) for mapper in mappers]
    here.check("sh", "-c", 'kill -9 "$@"', "sh", *pids)
    deadline = time.monotonic() + _KILL_SECONDS
    alive = 'for pid; do if [ -d "/proc/$pid" ]; then echo "$pid"; fi; done'
    while left := here.check("sh", "-c", alive, "sh", *pids).split():
        if time.monotonic() > deadline:
            raise LabError(f"in the guest: {len(left)} killed processes did not end")
        time.sleep(0.5)
