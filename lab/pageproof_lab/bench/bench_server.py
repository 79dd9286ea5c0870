# SPDX-License-Identifier: GPL-2.0-or-later
"""Time the commands on guests of the size of a real server, and other programs beside them."""

import contextlib
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pageproof_lab import LabError
from pageproof_lab.bench.crash_peer import foreach_vm
from pageproof_lab.bench.kept import FORMS, Kept, keep, read_kept
from pageproof_lab.bench.mappers import Mapper, kill_mappers, start_mappers
from pageproof_lab.bench.programs import build_programs
from pageproof_lab.bench.scenario import GROUP, PAGE_BYTES, SCENARIOS, Scenario
from pageproof_lab.bench.server_table import (
    TARGETS,
    Cell,
    Size,
    cell_text,
    growth_table,
    main_table,
    ratio_text,
)
from pageproof_lab.bench.timed import InGuest, Limits, OnHost
from pageproof_lab.guest import boot, qemu
from pageproof_lab.guest.guest import Guest, monitor
from pageproof_lab.images import build, kernels
from pageproof_lab.images.kernels import Kernel
from pageproof_lab.paths import cache_dir, source_dir
from pageproof_lab.proc import say

#: A command that took less is run again, and the median counts.
_AGAIN_SECONDS, _RUNS = 10, 3
#: Generous, for an emulated guest on a busy host.
_DUMP_SECONDS = _POPULATE_SECONDS = 1800
LIMITS = Limits(seconds=300, memory_mib=6144)
_GROWTH = ("regions", "verify", "audit")
_PARTS = (8, 4, 2)  # of the processes
_DRGN_LOOP = "drgn's loop over all VMAs, the loop alone"
#: drgn alone refuses QEMU's compressed dumps, whose header lacks the name of the architecture.
_DRGN_TARGETS = ("outside", "inside", "elf")
_OUR_LOOP = "pageproof's reader of all VMAs, the reader alone"
_CRASH = "`crash`, `foreach vm` alone"
_BULK_GOAL, _CRASH_GOAL = 100, 50

Json = dict[str, Any]


@dataclass(frozen=True)
class Wishes:
    """What the user selected."""

    scenarios: tuple[Scenario, ...] = tuple(SCENARIOS.values())
    targets: tuple[str, ...] = tuple(TARGETS)
    limits: Limits = LIMITS
    growth: bool = True
    keep: Path | None = None  # keep the dumps here
    kept: Path | None = None  # measure these dumps, without a guest


@dataclass
class Results:
    """The cells by row and target, and facts for the other lines."""

    rows: dict[str, dict[str, Cell]] = field(default_factory=dict)
    sizes: list[Size] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def add(self, row: str, target: str, cell: Cell) -> None:
        self.rows.setdefault(row, {})[target] = cell

    @property
    def targets(self) -> list[str]:
        """The targets that were measured."""
        return [target for target in TARGETS if any(target in row for row in self.rows.values())]

    def get(self, row: str, target: str) -> Cell | None:
        return self.rows.get(row, {}).get(target)

    def seconds(self, row: str, target: str) -> float | None:
        """Return the seconds of a result, if it is one."""
        cell = self.get(row, target)
        if cell is None or not cell.good:
            return None
        return cell.timed.seconds if cell.seconds is None else cell.seconds


def bench_server(series: str, wishes: Wishes) -> None:
    """Boot a guest per scenario, fill it, measure; print the tables.

    Raises:
        LabError: a step failed, or the guest is not what the scenario promises.
    """
    if wishes.keep:
        try:
            for one in wishes.scenarios:
                (wishes.keep / one.name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LabError(
                f"--keep {wishes.keep}: {error.strerror}; choose another directory"
            ) from error
    programs = build_programs()
    kernel = kernels.fetch(series)
    for scenario in wishes.scenarios:
        _Bench(scenario, kernel, programs, wishes).run()


class _Bench:
    """One scenario."""

    def __init__(self, scenario: Scenario, kernel: Kernel, programs: Path, wishes: Wishes) -> None:
        self._scenario, self._kernel, self._wishes = scenario, kernel, wishes
        self._programs = programs
        self._symbols: list[str] = []
        self._results = Results()
        self._mappers: list[Mapper] = []
        self._vma_bytes = 0  # of struct vm_area_struct; drgn's loop reports it

    def run(self) -> None:
        """Measure everything and print the tables."""
        scratch = cache_dir() / "disks"  # boot.py removes old files there, after a kill as well
        scratch.mkdir(exist_ok=True)
        load = os.getloadavg()[0]
        with tempfile.TemporaryDirectory(prefix="bench-", dir=scratch) as name:
            host = OnHost(self._programs / "timed", self._wishes.limits, Path(name))
            if self._wishes.kept:
                how, dumps = self._kept(self._wishes.kept)
            else:
                how, dumps = self._boot(host, Path(name))
            dumps = {target: dumps[target] for target in dumps if target in self._wishes.targets}
            for target, dump in dumps.items():
                self._target(target, host, ["-c", str(dump)])
            if "elf" in dumps:
                self._checked(host, dumps["elf"])
                self._peers_of_dump(host, dumps["elf"])
        self._print(f"{'emulated' if how == 'tcg' else how}, load average before it {load:.1f}")

    def _kept(self, directory: Path) -> tuple[str, dict[str, Path]]:
        kept, dumps = read_kept(directory, self._scenario, self._kernel.release)
        self._mappers = list(kept.mappers)
        self._scenario.check(self._mappers)
        self._symbols = ["-s", str(self._kernel.vmlinux), "-s", kept.module]
        return kept.accelerator, dumps

    def _boot(self, host: OnHost, scratch: Path) -> tuple[str, dict[str, Path]]:
        built = build.build(self._kernel)
        self._symbols = ["-s", str(self._kernel.vmlinux), "-s", str(built.module)]
        into = self._wishes.keep / self._scenario.name if self._wishes.keep else scratch
        options = qemu.Options(memory_mib=self._scenario.memory_mib, deadline_seconds=4 * 3600)
        with boot.boot(self._kernel, options, built=built) as here:
            dumps = self._live(here, host, into)
            how = here.facts.accelerator
        if self._wishes.keep:
            facts = (self._scenario.group, self._kernel.release, how, str(built.module))
            keep(into, Kept(*facts, self._mappers))
        return how, dumps

    # On the running guest

    def _live(self, here: Guest, host: OnHost, into: Path) -> dict[str, Path]:
        here.load_module()
        say(f"scenario {self._scenario.name}: {self._scenario.describe()}")
        program, group = self._programs / "mappers", self._scenario.group
        self._mappers = start_mappers(here, program, [group], _POPULATE_SECONDS)
        self._scenario.check(self._mappers)
        qmp = ["--qemu", str(here.sockets.qmp)]
        targets = self._wishes.targets
        if "outside" in targets:
            self._target("outside", host, qmp)
        if "inside" in targets:
            self._inside(here)
        wanted = FORMS if self._wishes.keep else targets
        dumps = {target: into / target for target in FORMS if target in wanted}
        with contextlib.closing(monitor(here)) as control:
            for target, path in dumps.items():
                size = f"{self._scenario.memory_mib:,} MiB"
                say(f"QEMU dumps the guest's memory: {FORMS[target]}, {size}")
                control.call(
                    "dump-guest-memory",
                    _DUMP_SECONDS,
                    paging=False,
                    protocol=f"file:{path}",
                    format=FORMS[target],
                )
        if self._wishes.growth and "outside" in targets:
            self._grow(here, host, qmp)
        return dumps

    def _inside(self, here: Guest) -> None:
        guest = InGuest(self._programs / "timed", self._wishes.limits, here)
        for name, words in self._commands():
            self._results.add(name, "inside", self._measured(guest, ["pageproof", *words]))
            self._tell(name, "inside")
        path = "PYTHONPATH=/opt/pageproof/drgn_scripts:/opt/pageproof/lib"
        for row, script, start in (
            (_DRGN_LOOP, "all_vmas.py", ["-m", "drgn", "-q"]),
            (_OUR_LOOP, "bulk_vmas.py", []),
        ):
            text = (source_dir() / "lab/bench_programs" / script).read_bytes()
            here.agent.write_file(f"/run/{script}", text)
            words = ["env", path, "python3", *start, f"/run/{script}"]
            self._loop(row, "inside", guest, words)

    def _grow(self, here: Guest, host: OnHost, qmp: list[str]) -> None:
        """Measure the full size again with fewer and fewer processes."""
        left = list(self._mappers)
        sizes = [self._size(left, {c: self._results.rows[f"`{c}`"]["outside"] for c in _GROWTH})]
        words = dict(self._commands())
        for part in reversed(_PARTS):
            if not (number := self._scenario.processes // part):
                break
            kill_mappers(here, left[number:])
            left = left[:number]
            say(f"{number:,} processes are left")
            cells = {}
            for command in _GROWTH:
                cells[command] = self._measured(host, self._pageproof(qmp, words[f"`{command}`"]))
                say(f"{command}: {cell_text(cells[command], self._wishes.limits)}")
            sizes.append(self._size(left, cells))
        self._results.sizes = sizes[::-1]

    def _size(self, mappers: Sequence[Mapper], cells: dict[str, Cell]) -> Size:
        vmas = sum(mapper.vmas for mapper in mappers)
        return Size(len(mappers), vmas, sum(mapper.ptes for mapper in mappers), cells)

    # On any target

    def _commands(self) -> Iterator[tuple[str, list[str]]]:
        """Yield the rows of the commands and their words."""
        one = self._mappers[0]
        yield "`regions`", ["regions"]
        yield "`verify`", ["verify"]
        yield "`audit`", ["audit"]
        yield "`alias` of a shared frame", ["alias", "--pid", str(one.pid), hex(one.address)]
        yield "`maps` of one process", ["maps", "--pid", str(one.pid)]

    def _pageproof(self, target: list[str], words: list[str]) -> list[str]:
        return [sys.executable, "-m", "pageproof", *target, *self._symbols, *words]

    def _target(self, target: str, host: OnHost, attach: list[str]) -> None:
        for name, words in self._commands():
            self._results.add(name, target, self._measured(host, self._pageproof(attach, words)))
            self._tell(name, target)
        programs = source_dir() / "lab/bench_programs"
        if target in _DRGN_TARGETS:
            drgn = [sys.executable, "-m", "drgn", "-q", *attach, *self._symbols]
            self._loop(_DRGN_LOOP, target, host, [*drgn, str(programs / "all_vmas.py")])
        ours = [sys.executable, str(programs / "bulk_vmas.py"), *attach, *self._symbols]
        self._loop(_OUR_LOOP, target, host, ours)

    def _measured(self, where: OnHost | InGuest, words: list[str]) -> Cell:
        first = where.run(words)
        if first.ended == "itself" and first.code not in (0, 3):
            say(f"exit code {first.code}: {' '.join(words)}\n{first.said[-2000:]}")
        if first.seconds > _AGAIN_SECONDS or first.ended != "itself":
            return Cell(first)
        runs = [first, *(where.run(words) for _ in range(_RUNS - 1))]
        middle = statistics.median(one.seconds for one in runs)
        return Cell(next(one for one in runs if one.seconds == middle))

    def _loop(self, row: str, target: str, where: OnHost | InGuest, words: list[str]) -> None:
        """Run a program that times its own loop."""
        timed = where.run(words, keep=True)
        found: Json = {}
        if timed.ended == "itself" and timed.code == 0:
            found = json.loads(where.output())
        elif timed.ended == "itself":
            say(f"exit code {timed.code}: {' '.join(words)}\n{timed.said[-2000:]}")
        self._results.add(row, target, Cell(timed, found.get("seconds")))
        self._vma_bytes = found.get("vma_bytes", self._vma_bytes)
        least = sum(mapper.vmas for mapper in self._mappers)
        if found and found["vmas"] < least:
            raise LabError(f"{row}: {found['vmas']:,} VMAs found, but there are {least:,} or more")
        self._tell(row, target)

    def _tell(self, row: str, target: str) -> None:
        cell = self._results.rows[row][target]
        say(f"{TARGETS[target]}, {row}: {cell_text(cell, self._wishes.limits)}")

    # On the dump

    def _checked(self, host: OnHost, dump: Path) -> None:
        """Check the results, so that a fast but wrong command is not a success."""
        scenario = self._scenario
        for command, expected in (("regions", scenario.mappings), ("verify", scenario.ptes)):
            words = self._pageproof(["-c", str(dump)], [command, "--format", "json"])
            if not (cell := self._results.get(f"`{command}`", "elf")) or not cell.good:
                continue  # it would fail again
            timed = host.run(words, keep=True)
            row = f"`{command} --format json`"
            self._results.add(row, "elf", Cell(timed))
            self._tell(row, "elf")
            if not self._results.rows[row]["elf"].good:
                continue
            found = count_in(command, json.loads(host.output()))
            if found != expected:
                what = "mappings" if command == "regions" else "pages that are the same"
                raise LabError(f"{command}: {found:,} {what} found, but there are {expected:,}")

    def _peers_of_dump(self, host: OnHost, dump: Path) -> None:
        timed, seconds = foreach_vm(host, dump, self._kernel.vmlinux)
        self._results.add(_CRASH, "elf", Cell(timed, seconds))
        self._tell(_CRASH, "elf")
        if timed.ended == "itself" and timed.code:
            say(f"crash: {host.output()}{timed.said}"[-2000:])
        pids = ",".join(str(mapper.pid) for mapper in self._mappers)
        engine = source_dir() / "lab/bench_programs/engine.py"
        words = [
            *(sys.executable, str(engine), "memcpy", "--core", str(dump)),
            *("--symbols", str(self._kernel.vmlinux), "--pids", pids),
            *("--limit", str(self._programs / "limit")),
        ]
        timed = host.run(words, keep=True)
        if timed.ended != "itself" or timed.code:
            raise LabError(f"memcpy of the tables failed\n{timed.said[-2000:]}")
        found: Json = json.loads(host.output())
        rate = found["tables"] * PAGE_BYTES / found["seconds"]
        speed = f"{rate / (1 << 30):.1f} GiB/s"
        tables = found["tables"]
        vmas = sum(mapper.vmas for mapper in self._mappers)
        self._results.lines += [
            f"- limit: memcpy copies these page tables with {speed} on one core",
            _limit_text(f"{tables:,} page tables", tables * PAGE_BYTES, rate),
        ]
        if self._vma_bytes:
            length = vmas * self._vma_bytes
            self._results.lines.append(_limit_text(f"{vmas:,} VMAs", length, rate))

    def _print(self, how: str) -> None:
        scenario, results = self._scenario, self._results
        mappers, limits = self._mappers, self._wishes.limits
        counts = {
            "VMAs": sum(mapper.vmas for mapper in mappers),
            "mapped pages of the memfd": sum(mapper.ptes for mapper in mappers),
            "runs of frames": sum(mapper.runs for mapper in mappers),
            "KiB of page tables": sum(mapper.tables_kib for mapper in mappers),
        }
        counted = ", ".join(f"{number:,} {what}" for what, number in counts.items())
        print(f"### {scenario.describe()}\n")
        print(f"Linux {self._kernel.release}, {scenario.memory_mib:,} MiB, {how}.")
        print(f"In these processes the guest's kernel counts {counted}.\n")
        print(main_table(results.rows, dict(scenario.goals), limits, results.targets))
        print()
        for line in [*self._ratios(), *results.lines]:
            print(line)
        if results.sizes:
            print("\nFrom outside, with fewer processes:\n")
            print(growth_table(results.sizes, _GROWTH, limits))
        print(flush=True)

    def _ratios(self) -> Iterator[str]:
        results, full = self._results, self._scenario.full and bool(self._scenario.vmas)
        for target in _DRGN_TARGETS:
            if target in results.targets:
                slow, fast = (results.seconds(row, target) for row in (_DRGN_LOOP, _OUR_LOOP))
                goal = _BULK_GOAL if full and target in ("outside", "elf") else None
                yield ratio_text(
                    f"pageproof's reader against drgn's loop, {TARGETS[target]}", slow, fast, goal
                )
        if "elf" in results.targets:
            slow, fast = (results.seconds(row, "elf") for row in (_CRASH, "`regions`"))
            goal = _CRASH_GOAL if full else None
            yield ratio_text("`regions` against `crash`, `foreach vm`", slow, fast, goal)


def count_in(command: str, report: Json) -> int:
    """Count the memfd's mappings in a report of regions, or its sound pages in one of verify."""
    uses = [
        use for region in report["regions"] if GROUP in region["name"] for use in region["uses"]
    ]
    if command == "regions":
        return len(uses)
    return sum(run["pages"] for use in uses for run in use["runs"] if run["verdict"] == "SAME")


def _limit_text(what: str, length: int, rate: float) -> str:
    return f"- limit: {what}, {length / (1 << 20):,.0f} MiB: {length / rate:.3f} s"
