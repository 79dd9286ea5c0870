# SPDX-License-Identifier: GPL-2.0-or-later
"""The page-table engine on many address spaces, beside its limit and its peers."""

import contextlib
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pageproof_lab import LabError
from pageproof_lab.bench.crash_peer import measure_crash
from pageproof_lab.bench.measure import Measured, measured
from pageproof_lab.guest import boot, qemu
from pageproof_lab.guest.guest import Guest, monitor
from pageproof_lab.images import build, kernels
from pageproof_lab.paths import cache_dir, source_dir
from pageproof_lab.proc import run, say

#: 50 processes, each with a memfd of 256 MiB mapped 5 times: 16,384,000 PTEs and few frames.
ORDERED, MAPPINGS, PAGES = 50, 5, 1 << 16
#: And 12 with one of 64 MiB mapped 20 times, no two of its frames adjoining: the worst case.
SCATTERED, SCATTERED_MAPPINGS, SCATTERED_PAGES = 12, 20, 1 << 14
#: The curve: that many of the ordered processes.
CURVE = (3, 12, 50)
MEMORY_MIB = 2048
POPULATE_SECONDS = 900

Json = dict[str, Any]


@dataclass(frozen=True)
class Processes:
    """The guest's, by the group's name."""

    ordered: list[int]
    scattered: list[int]


@dataclass(frozen=True)
class Row:
    """A way to walk, and what it came to."""

    name: str
    found: Json
    peak_mib: float

    @property
    def per_second(self) -> float:
        return float(self.found["ptes"] / self.found["seconds"])


def _start(here: Guest, program: Path) -> Processes:
    """Start the processes in the guest, and wait until all they map is present."""
    here.agent.write_file("/run/mappers", program.read_bytes())
    groups = (
        f"ordered:{ORDERED}:{MAPPINGS}:{PAGES}",
        f"scattered:{SCATTERED}:{SCATTERED_MAPPINGS}:{SCATTERED_PAGES}:scattered",
    )
    # The most that the kernel maps around one fault, else each page table takes 32 faults.
    around = "/sys/kernel/debug/fault_around_bytes"
    here.run("sh", "-c", f"mount -t debugfs none /sys/kernel/debug; echo 2097152 > {around}")
    here.check("chmod", "755", "/run/mappers")
    command = f"setsid /run/mappers /run/mapped {' '.join(groups)} >/run/mappers.log 2>&1"
    here.check("sh", "-c", f"{command} </dev/null &")
    deadline = time.monotonic() + POPULATE_SECONDS
    while True:
        said = here.run("cat", "/run/mapped").out.splitlines()
        if said and said[-1] == "ready":
            break
        log = here.check("cat", "/run/mappers.log")
        if log or time.monotonic() > deadline:
            raise LabError(f"the processes did not come up: {log or 'no end'}")
        time.sleep(0.2)
    pids: dict[str, list[int]] = {}
    for line in said[:-1]:
        name, pid = line.split()
        pids.setdefault(name, []).append(int(pid))
    return Processes(pids["ordered"], pids["scattered"])


def _dump(here: Guest, into: Path) -> dict[str, Path]:
    dumps = {form: into / form for form in ("elf", "kdump-zlib")}
    with contextlib.closing(monitor(here)) as control:
        for form, path in dumps.items():
            say(f"QEMU dumps the guest's memory: {form}, {MEMORY_MIB} MiB")
            control.call(
                "dump-guest-memory", 300, paging=False, protocol=f"file:{path}", format=form
            )
    return dumps


class Ways:
    """Runs lab/bench_programs/engine.py, one process a way."""

    def __init__(self, symbols: Path, programs: Path) -> None:
        self._symbols, self._programs = symbols, programs

    def run(self, name: str, way: str, target: list[str], pids: list[int], threads: int = 1) -> Row:
        words = [
            *(sys.executable, str(source_dir() / "lab/bench_programs/engine.py"), way, *target),
            *("--symbols", str(self._symbols), "--threads", str(threads)),
            *("--limit", str(self._programs / "limit")),
            *("--pids", ",".join(map(str, pids))),
        ]
        ran: Measured = measured(words)
        return Row(name, json.loads(ran.out), ran.peak_mib)


def _print(rows: list[Row], limit: Row, engine: Row) -> None:
    """Rates, and each row's ratio to the limit; how often the engine on one core is as quick."""
    print(f"{'':30}{'PTEs':>11}{'first':>10}{'ms':>10}{'M PTE/s':>9}{'of limit':>10}", end="")
    print(f"{'engine is':>11}{'MiB':>6}")
    for row in rows:
        first = f"{row.found['first'] * 1e3:.1f}" if "first" in row.found else ""
        print(
            f"{row.name:30}{row.found['ptes']:11,}{first:>10}{row.found['seconds'] * 1e3:10.1f}"
            f"{row.per_second / 1e6:9.3g}{row.per_second / limit.per_second:10.2g}"
            f"{engine.per_second / row.per_second:10,.3g}x{row.peak_mib:6.0f}"
        )


def _agree(rows: list[Row]) -> None:
    """All ways on the same processes must find the same, else their times are worth nothing."""
    found = {row.name: row.found["ptes"] for row in rows}
    if len(set(found.values())) != 1:
        raise LabError(f"the ways do not find the same: {found}")


def _crash_row(dump: Path, vmlinux: Path, pids: list[int]) -> Row | None:
    try:
        figure = measure_crash(dump, vmlinux, pids)
    except LabError as error:
        print(f"crash: no figure, as it failed: {error}")
        return None
    print(f"{figure.version} took {figure.start_seconds:.1f} s to start, which is not counted")
    return Row(
        "crash, vm -p (1 process)",
        {"ptes": figure.pages, "seconds": figure.seconds},
        figure.peak_mib,
    )


def _command(what: str, target: list[str], symbols: list[str], *words: str) -> str:
    """A line on a command of pageproof as a whole process; it must have decided all, or nearly."""
    command = [sys.executable, "-m", "pageproof", *target, *symbols, *words, "--format", "json"]
    runs = [measured(command, codes=(0, 3)) for _ in range(6)][1:]
    seconds = sorted(run.seconds for run in runs)
    return (
        f"{what:22}{seconds[2]:6.2f} s (from {seconds[0]:.2f} to {seconds[-1]:.2f}), "
        f"{max(run.peak_mib for run in runs):.0f} MiB"
    )


def bench_engine(series: str) -> None:
    """Boot, fill, dump, end the guest, measure; print the tables."""
    run(["make", "--no-print-directory", "-C", source_dir() / "lab/bench_programs"], show=True)
    programs = source_dir() / "build/lab-bench"
    kernel = kernels.fetch(series)
    built = build.build(kernel)
    ways = Ways(kernel.vmlinux, programs)
    symbols = ["-s", str(kernel.vmlinux), "-s", str(built.module)]
    scratch = cache_dir() / "disks"  # what is left there by who was killed is swept in time
    scratch.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=scratch) as name:
        with boot.boot(kernel, qemu.Options(memory_mib=MEMORY_MIB), built=built) as here:
            here.load_module()
            say(f"{ORDERED + SCATTERED} processes map {ORDERED * MAPPINGS * PAGES:,} pages")
            pids = _start(here, programs / "mappers")
            qmp = ["--qemu", str(here.sockets.qmp)]
            over_qmp = ways.run("engine over QMP", "callback", qmp, pids.ordered)
            audit_qmp = _command("audit over QMP", qmp, symbols, "audit")
            dumps = _dump(here, Path(name))
        _measure(ways, pids, dumps, over_qmp, kernel.vmlinux)
        elf = ["-c", str(dumps["elf"])]
        print("\nwhole processes, to their verdict; the guest has the processes of both groups")
        print(_command("verify, ELF dump", elf, symbols, "verify", "--kind", "umh_shm"))
        print(_command("audit, ELF dump", elf, symbols, "audit"))
        print(audit_qmp)


def _measure(
    ways: Ways,
    pids: Processes,
    dumps: dict[str, Path],
    over_qmp: Row,
    vmlinux: Path,
) -> None:
    elf, compressed = ["--core", str(dumps["elf"])], ["--core", str(dumps["kdump-zlib"])]
    few = pids.ordered[:1]
    say("sweeping")
    one = ways.run("engine, one core", "direct", elf, pids.ordered)
    cores = os.cpu_count() or 1
    all_cores = ways.run(f"engine, {cores} cores", "direct", elf, pids.ordered, cores)
    limit = ways.run("memcpy of the tables", "memcpy", elf, pids.ordered)
    limits = ways.run(f"memcpy, {cores} cores", "memcpy", elf, pids.ordered, cores)
    by_callback = ways.run("engine by callback", "callback", elf, pids.ordered)
    by_kdump = ways.run("engine, compressed dump", "callback", compressed, pids.ordered)
    _agree([one, all_cores, by_callback, by_kdump, over_qmp])
    if limit.found["tables"] != one.found["tables"]:
        raise LabError("memcpy and the engine do not read the same tables")
    limit.found["ptes"] = limits.found["ptes"] = one.found["ptes"]
    scattered = ways.run("engine, frames in no order", "direct", elf, pids.scattered)
    say("asking the peers")
    sampled = ways.run("Python walker (1 process)", "python", elf, few)
    _agree([sampled, ways.run("engine", "direct", elf, few)])
    followed = ways.run("drgn follow_phys (a sample)", "follow_phys", elf, few)
    crash = _crash_row(dumps["elf"], vmlinux, pids.ordered[:5])
    rows = [
        limit,
        limits,
        one,
        all_cores,
        scattered,
        by_callback,
        by_kdump,
        over_qmp,
        sampled,
        followed,
    ]
    _print([*rows, *([crash] if crash else [])], limit, one)
    print(
        f"{one.found['tables']:,} tables in {len(pids.ordered)} processes; "
        f"{one.found['ranges']:,} ranges, {scattered.found['ranges']:,} with frames in no order"
    )
    print("\ncost by what is mapped (one core; all of the user half is swept each time)")
    for number in CURVE:
        found = ways.run("", "direct", elf, pids.ordered[:number]).found
        print(
            f"{number:3} processes {found['ptes']:11,} PTEs {found['seconds'] * 1e3:8.1f} ms "
            f"{found['seconds'] / found['ptes'] * 1e9:6.2f} ns a PTE"
        )
    print("\nindex of all aliases")
    for name, some in (("ordered", pids.ordered), ("no order", pids.scattered)):
        _print_index(ways.run(name, "index", elf, some))


def _print_index(row: Row) -> None:
    found = row.found
    print(
        f"{row.name:10}{found['ptes']:11,} PTEs {found['seconds'] * 1e3:8.1f} ms (the first "
        f"{found['first'] * 1e3:.1f}), {found['bytes_per_pte']:.2f} bytes a PTE, "
        f"{found['lookups_per_second']:,.0f} lookups/s of {found['found_per_lookup']:.0f} mappings "
        f"each, {row.peak_mib:.0f} MiB"
    )
