# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs many cases and counts how they ended."""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from hostile.bases import Base
from hostile.cases import base_of, case
from hostile.check import Word, kind_of, statements, wrong
from hostile.run import Outcome, Runner, scratch_directory


@dataclass
class Counts:
    """The ends of cases.

    Attributes:
        ends: (kind of damage, end) -> number.
        new: statement -> number of cases whose damaged memory holds it.
        wrong: a line for each case that must not end so.
        slowest, largest: (CPU seconds or bytes, case).
    """

    ends: Counter[tuple[str, str]] = field(default_factory=Counter)
    new: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    slowest: tuple[float, int] = (0.0, -1)
    largest: tuple[int, int] = (0, -1)
    cpu_seconds: float = 0.0

    def add(self, number: int, kind: str, outcome: Outcome, why: str | None, what: str) -> None:
        self.ends[kind, "wrong" if why else kind_of(outcome)] += 1
        self.slowest = max(self.slowest, (round(outcome.cpu_seconds, 2), number))
        self.largest = max(self.largest, (outcome.peak_bytes, number))
        self.cpu_seconds += outcome.cpu_seconds
        if why:
            tail = (outcome.err or outcome.out)[-1500:]
            self.wrong.append(f"{why}: {what}\n{tail}")

    def merge(self, other: Counts) -> None:
        self.ends += other.ends
        self.new += other.new
        self.wrong += other.wrong
        self.slowest = max(self.slowest, other.slowest)
        self.largest = max(self.largest, other.largest)
        self.cpu_seconds += other.cpu_seconds

    def as_json(self) -> dict[str, Any]:
        return {
            "ends": [[*key, number] for key, number in sorted(self.ends.items())],
            "new": dict(self.new),
            "wrong": self.wrong,
            "slowest": self.slowest,
            "largest": self.largest,
            "cpu_seconds": self.cpu_seconds,
        }

    @classmethod
    def from_json(cls, read: dict[str, Any]) -> Counts:
        ends = Counter({(kind, end): number for kind, end, number in read["ends"]})
        slowest, largest = tuple(read["slowest"]), tuple(read["largest"])
        new = Counter(read["new"])
        return cls(ends, new, read["wrong"], slowest, largest, read["cpu_seconds"])

    def __str__(self) -> str:
        lines = list(self.wrong)
        for kind in sorted({kind for kind, _ in self.ends}):
            row = {end: number for (one, end), number in self.ends.items() if one == kind}
            lines.append(f"{kind:32} {row}")
        total: Counter[str] = Counter()
        for (_, end), number in self.ends.items():
            total[end] += number
        lines.append(f"{'all':32} {dict(total)}")
        lines.append(f"new statements in damaged memory: {dict(self.new)}")
        lines.append(f"slowest: {self.slowest[0]} s of CPU time, case {self.slowest[1]}")
        lines.append(f"largest: {self.largest[0] >> 20} MiB, case {self.largest[1]}")
        lines.append(f"together: {self.cpu_seconds:.0f} s of CPU time")
        return "\n".join(lines)


def run_cases(numbers: Iterable[int], scratch: Path, shared: Path, end: float) -> Counts:
    """Run cases in this process.

    Args:
        numbers: of the cases.
        scratch: for copies of dumps.
        shared: for answers on sound dumps, which all workers use.
        end: start no case after this time (``time.monotonic()``).
    """
    runner = Runner(scratch)
    counts = Counts()

    @cache
    def sound(base: Base, command: tuple[str, ...]) -> Outcome:
        known = shared / f"{base} {' '.join(command)}"
        if known.exists():
            return Outcome(**json.loads(known.read_text()))
        outcome = runner.sound(base, command)
        assert outcome.code in (0, 1, 3), f"{base} is not sound: {command}: {outcome.err}"
        part = scratch / "answer"
        part.write_text(json.dumps(outcome.__dict__))
        part.rename(known)
        return outcome

    try:
        for number in numbers:
            if time.monotonic() > end:
                break
            one = case(number)
            whole = sound(base_of(one.kernel, one.form), one.command)
            outcome = runner.run(one)
            why = wrong(outcome, whole, strict=one.strict)
            counts.add(number, one.kind, outcome, why, str(one))
            if not sum(counts.ends.values()) % 200:
                print(f"{sum(counts.ends.values())} cases", file=sys.stderr, flush=True)
            if why:
                print(counts.wrong[-1], flush=True)
            elif not one.strict:
                counts.new.update({_gist(word) for word in statements(outcome, whole)})
    finally:
        runner.end()
    return counts


def _gist(word: Word) -> str:
    """Return a statement without its place."""
    return " ".join(word) if word[0] == "error" else word[0]


def run_all(numbers: range, workers: int, minutes: float) -> Counts:
    """Run cases in several processes, and start none after some minutes."""
    total = Counts()
    readers = []
    end = time.monotonic() + minutes * 60
    with scratch_directory() as directory:
        shared = Path(directory) / "answers"
        shared.mkdir()
        for worker in range(workers):
            read, write = os.pipe()
            if os.fork() == 0:
                os.close(read)
                scratch = Path(directory) / str(worker)
                scratch.mkdir()
                _work(numbers[worker::workers], scratch, shared, end, write)
            os.close(write)
            readers.append(read)
        for read in readers:
            with os.fdopen(read) as file:
                total.merge(Counts.from_json(json.load(file)))
    return total


def _work(numbers: range, scratch: Path, shared: Path, end: float, write: int) -> NoReturn:
    try:
        counts = run_cases(numbers, scratch, shared, end)
        with os.fdopen(write, "w") as file:
            json.dump(counts.as_json(), file)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
