# SPDX-License-Identifier: GPL-2.0-or-later
"""Time the page-table engine on many address spaces, and memcpy and other walkers on the same."""

import contextlib
import json
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pageproof_lab import LabError
from pageproof_lab.bench.crash_peer import measure_crash
from pageproof_lab.bench.mappers import start_mappers
from pageproof_lab.bench.measure import Measured, measured
from pageproof_lab.bench.programs import build_programs
from pageproof_lab.guest import boot, qemu
from pageproof_lab.guest.guest import Guest, monitor
from pageproof_lab.images import build, kernels
from pageproof_lab.paths import cache_dir, source_dir
from pageproof_lab.proc import say

#: 50 processes, each with a memfd of 256 MiB mapped 5 times: 16,384,000 PTEs and few frames.
ORDERED, MAPPINGS, PAGES = 50, 5, 1 << 16
#: 12 with one of 64 MiB mapped 20 times, whose frames are in random order: the worst case.
SCATTERED, SCATTERED_MAPPINGS, SCATTERED_PAGES = 12, 20, 1 << 14
#: Numbers of ordered processes for the table of cost by size.
CURVE = (3, 12, 50)
MEMORY_MIB = 2048

Json = dict[str, Any]


@dataclass(frozen=True)
class Processes:
    """PIDs of the guest's processes by group."""

    ordered: list[int]
    scattered: list[int]


@dataclass(frozen=True)
class Row:
    """One way to walk, and its result."""

    name: str
    found: Json
    peak_mib: float

    @property
    def per_second(self) -> float:
        return float(self.found["ptes"] / self.found["seconds"])


def _start(here: Guest, program: Path) -> Processes:
    groups = (
        f"ordered:{ORDERED}:{MAPPINGS}:{PAGES}",
        f"scattered:{SCATTERED}:{SCATTERED_MAPPINGS}:{SCATTERED_PAGES}:scattered",
    )
    pids: dict[str, list[int]] = {}
    for mapper in start_mappers(here, program, groups):
        pids.setdefault(mapper.group, []).append(mapper.pid)
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
    """Runs lab/bench_programs/engine.py, one process per way."""

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
    """Print rates, each row's share of the limit, and how much faster the engine on one core is."""
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
    """Check that all ways found the same; otherwise their times cannot be compared.

    Raises:
        LabError: they did not.
    """
    found = {row.name: row.found["ptes"] for row in rows}
    if len(set(found.values())) != 1:
        raise LabError(f"the ways found different numbers of PTEs: {found}")


def _crash_row(dump: Path, vmlinux: Path, pids: list[int]) -> Row | None:
    try:
        figure = measure_crash(dump, vmlinux, pids)
    except LabError as error:
        print(f"crash: skipped, it failed: {error}")
        return None
    print(f"{figure.version} took {figure.start_seconds:.1f} s to start (not counted)")
    return Row(
        "crash, vm -p (1 process)",
        {"ptes": figure.pages, "seconds": figure.seconds},
        figure.peak_mib,
    )


def _command(what: str, target: list[str], symbols: list[str], *words: str) -> str:
    """Time a command of pageproof as a whole process and return the line to print."""
    command = [sys.executable, "-m", "pageproof", *target, *symbols, *words, "--format", "json"]
    runs = [measured(command, codes=(0, 3)) for _ in range(6)][1:]
    seconds = sorted(run.seconds for run in runs)
    return (
        f"{what:22}{seconds[2]:6.2f} s (from {seconds[0]:.2f} to {seconds[-1]:.2f}), "
        f"{max(run.peak_mib for run in runs):.0f} MiB"
    )


def bench_engine(series: str) -> None:
    """Boot, start the processes, dump, end the guest, measure; print the tables.

    Raises:
        LabError: a step failed, or the ways found different things.
    """
    programs = build_programs()
    kernel = kernels.fetch(series)
    built = build.build(kernel)
    ways = Ways(kernel.vmlinux, programs)
    symbols = ["-s", str(kernel.vmlinux), "-s", str(built.module)]
    scratch = cache_dir() / "disks"  # boot.py removes old files there, after a kill as well
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
        print("\nwhole processes, until their verdict; the guest has the processes of both groups")
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
    by_drgn = ways.run("compressed dump, by drgn", "callback", compressed, pids.ordered)
    by_kdump = ways.run("compressed dump, one core", "kdump", compressed, pids.ordered)
    on_all = ways.run(f"compressed dump, {cores} cores", "kdump", compressed, pids.ordered, cores)
    unpacked = ways.run("decompressing the tables", "unpack", compressed, pids.ordered)
    unpacked.found["ptes"] = one.found["ptes"]
    _agree([one, all_cores, by_callback, by_drgn, by_kdump, on_all, over_qmp])
    if limit.found["tables"] != one.found["tables"]:
        raise LabError(
            "memcpy and the engine read different tables, so their times cannot be compared"
        )
    limit.found["ptes"] = limits.found["ptes"] = one.found["ptes"]
    scattered = ways.run("random order, a range a PTE", "direct", elf, pids.scattered)
    counted = ways.run("random order, counted", "account", elf, pids.scattered)
    searched = ways.run("random order, a frame found", "find", elf, pids.scattered)
    say("timing the other programs")
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
        counted,
        searched,
        by_callback,
        unpacked,
        by_drgn,
        by_kdump,
        on_all,
        over_qmp,
        sampled,
        followed,
    ]
    _print([*rows, *([crash] if crash else [])], limit, one)
    print(
        f"{one.found['tables']:,} tables in {len(pids.ordered)} processes; "
        f"{one.found['ranges']:,} ranges, {scattered.found['ranges']:,} with frames in random order"
    )
    print("\ncost by mapped pages (one core; each time the whole user half is swept)")
    for number in CURVE:
        found = ways.run("", "direct", elf, pids.ordered[:number]).found
        print(
            f"{number:3} processes {found['ptes']:11,} PTEs {found['seconds'] * 1e3:8.1f} ms "
            f"{found['seconds'] / found['ptes'] * 1e9:6.2f} ns a PTE"
        )
    print("\nindex of all aliases")
    for name, some in (("ordered", pids.ordered), ("random", pids.scattered)):
        _print_index(ways.run(name, "index", elf, some))


def _print_index(row: Row) -> None:
    found = row.found
    print(
        f"{row.name:10}{found['ptes']:11,} PTEs {found['seconds'] * 1e3:8.1f} ms (the first "
        f"{found['first'] * 1e3:.1f}), {found['bytes_per_pte']:.2f} bytes a PTE, "
        f"{found['lookups_per_second']:,.0f} lookups/s of {found['found_per_lookup']:.0f} mappings "
        f"each, {row.peak_mib:.0f} MiB"
    )
