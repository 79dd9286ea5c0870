# SPDX-License-Identifier: GPL-2.0-or-later
"""Watch shares_counter from inside the guest, in several ways; print what was seen as JSON.

    watch_counter.py WAY...

One process serves all ways, because loading the kernel's debug info takes long.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from drgn.helpers.linux.mm import follow_phys
from drgn.helpers.linux.pid import find_task

from pageproof.attach.target import Target, Wanted, open_target
from pageproof.errors import PageproofError
from pageproof.find.kernel.paging import page_offset
from pageproof.model.watch import Mode, Place
from pageproof.watch.perf import PerfSource

PROGRAMS = Path("/opt/pageproof/vm")
OUTPUT = Path("/run/watch_counter.json")
#: Members of struct shares_counter_page.
TURN, COUNT = (0, 4), (4, 4)
DEADLINE_SECONDS = 300
#: Hits are over when there is none for so long.
QUIET_SECONDS = 2.0

Json = dict[str, Any]


class Counter:
    """A running program, not yet counting."""

    def __init__(self, target: Target, *words: str, cpu: int | None = None) -> None:
        self._target = target
        OUTPUT.unlink(missing_ok=True)
        pin = [] if cpu is None else ["taskset", hex(1 << cpu)]
        command = [*pin, str(PROGRAMS / "shares_counter"), str(OUTPUT), *words]
        self._process = subprocess.Popen(command, start_new_session=True)
        wait_until(OUTPUT.exists)
        self.facts: Json = json.loads(OUTPUT.read_text())
        self._base = page_offset(target.prog)

    def places(self, field: tuple[int, int] = COUNT, process: int = 0) -> list[Place]:
        """Return the kernel's and the user's place of a field; their numbers are even and odd."""
        mm = find_task(self._target.prog, self.facts["pids"][process]).mm
        offset, length = field
        paddr = int(follow_phys(mm, self.facts["address"])) + offset
        user = self.facts["address"] + offset
        number = 2 * process
        pid = self.facts["pids"][process]
        return [
            Place(number, 0, self._base + paddr, length, paddr, Mode.KERNEL),
            Place(number + 1, 0, user, length, paddr, Mode.USER, pid=pid, mm=mm.value_()),
        ]

    def go(self) -> None:
        """Let all processes count."""
        for pid in self.facts["pids"]:
            os.kill(pid, signal.SIGUSR1)

    def wait(self) -> None:
        """Wait until all have counted."""
        for pid in self.facts["pids"]:
            wait_until(Path(f"{OUTPUT}.{pid}").exists)

    def end(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@contextmanager
def watching(
    target: Target, *words: str, cpu: int | None = None, **options: Any
) -> Iterator[tuple[Counter, PerfSource]]:
    counter = Counter(target, *words, cpu=cpu)
    source = PerfSource(target, **options)
    try:
        yield counter, source
    finally:
        source.close()
        counter.end()


def seen(counter: Counter, source: PerfSource, refused: list[str]) -> Json:
    """Let the program count, and return all hits."""
    start = source.now()
    counter.go()
    hits = list(source.hits(QUIET_SECONDS))
    counter.wait()
    hits += source.hits(0.5)
    running = source.lost
    source.close()
    return {
        **counter.facts,
        "refused": refused,
        "start": start,
        "lost": [running, source.lost],
        "left": source.left,
        "hits": [
            {
                **{name: getattr(hit, name) for name in hit.__slots__ if name != "value"},
                "value": None if hit.value is None else hit.value.hex(),
            }
            for hit in hits
        ],
    }


def count(target: Target, *words: str, field: tuple[int, int] = COUNT, **options: Any) -> Json:
    with watching(target, *words, **options) as (counter, source):
        return seen(counter, source, [source.arm(one) for one in counter.places(field)])


def two_processes(target: Target) -> Json:
    """The first of two processes that use the same address for different frames."""
    with watching(target, "--rounds", "100", "--processes", "2") as (counter, source):
        return seen(counter, source, [source.arm(one) for one in counter.places()])


def few_registers(target: Target) -> Json:
    """Three processes, whose user places share registers: second registers are taken back."""
    with watching(target, "--rounds", "100", "--processes", "3") as (counter, source):
        places = [place for process in range(3) for place in counter.places(process=process)]
        refused = [source.arm(one) for one in places]
        turn = counter.places(TURN)[0]
        for number, more in ((9, 0), (10, 1)):
            address, paddr = turn.address + more, turn.paddr + more
            refused.append(source.arm(Place(number, 0, address, 4, paddr, Mode.KERNEL)))
        return seen(counter, source, refused)


def two_fields(target: Target) -> Json:
    """Writes of the turn (places 0, 1) and of the count (2, 3), which come one after the other."""
    with watching(target, "--rounds", "20", writes_only=True) as (counter, source):
        turns, counts = counter.places(TURN), counter.places(COUNT)
        places = [*turns, *(replace(one, number=one.number + 2) for one in counts)]
        return seen(counter, source, [source.arm(one) for one in places])


def disarmed(target: Target) -> Json:
    """A place that is disarmed frees its registers, and has no hits any more."""
    with watching(target, "--rounds", "10") as (counter, source):
        kernel, user = counter.places()
        refused = [source.arm(kernel), source.arm(user)]
        source.disarm(kernel.number)
        source.disarm(77)
        turn = counter.places(TURN)[0]
        refused.append(source.arm(Place(5, 0, turn.address, 4, turn.paddr, Mode.KERNEL)))
        return seen(counter, source, refused)


def refusals(target: Target) -> Json:
    with watching(target) as (counter, source):
        kernel, user = counter.places()

        def arm(address: int, length: int, **more: Any) -> str:
            return source.arm(Place(0, 0, address, length, kernel.paddr, Mode.KERNEL, **more))

        entry = target.prog.symbol("cpu_tss_rw").address
        offset = target.prog["__per_cpu_offset"][0].value_()
        said = {
            "long": arm(kernel.address, 40),
            "odd": arm(kernel.address + 1, 16),
            "tss": arm((entry + offset) & ((1 << 64) - 1), 8),
            "no mm": source.arm(Place(1, 0, user.address, 4, user.paddr, Mode.USER)),
        }
    said["closed"] = source.arm(kernel)
    said["unprivileged"] = unprivileged(target)
    return said


def unprivileged(target: Target) -> str:
    """The error that a process without root gets."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.setgroups([])
        os.setresuid(65534, 65534, 65534)
        try:
            PerfSource(target)
            said = ""
        except PageproofError as error:
            said = str(error)
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(pid, 0)
    with os.fdopen(reader) as file:
        return file.read()


def full_ring(target: Target) -> Json:
    """Nobody reads while the program counts, and the ring is one page."""
    with watching(target, ring_bytes=4096) as (counter, source):
        refused = [source.arm(one) for one in counter.places()]
        counter.go()
        counter.wait()
        return seen_late(counter, source, refused)


def seen_late(counter: Counter, source: PerfSource, refused: list[str]) -> Json:
    hits = list(source.hits(0.5))
    running = source.lost
    source.close()
    return {
        **counter.facts,
        "refused": refused,
        "lost": [running, source.lost],
        "hits": len(hits),
    }


def killed(target: Target) -> Json:
    """A watcher that is killed leaves nothing: all four registers are free again."""
    with watching(target, "--rounds", "10") as (counter, source):
        places = counter.places()
        reader, writer = os.pipe()
        pid = os.fork()
        if not pid:
            other = PerfSource(target)
            os.write(writer, json.dumps([other.arm(one) for one in places]).encode() + b"\n")
            signal.pause()
        os.close(writer)
        with os.fdopen(reader) as file:
            armed = json.loads(file.readline())
        held = source.arm(places[0])
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        # RCU releases the events a little later.
        wait_until(lambda: source.arm(places[0]) == "")
        result = seen(counter, source, ["", source.arm(places[1])])
        return {**result, "armed": armed, "held": held}


WAYS: dict[str, Callable[[Target], Json]] = {
    "counter": lambda target: count(target, cpu=0, stacks=True),
    "softirq": lambda target: count(target, "--rounds", "20", "--in", "softirq"),
    "hardirq": lambda target: count(target, "--rounds", "20", "--in", "hardirq"),
    "thread": lambda target: count(target, "--rounds", "20", "--thread"),
    "writes": lambda target: count(target, "--rounds", "20", writes_only=True),
    "pieces": lambda target: count(target, "--rounds", "20", field=(2, 6)),
    "two_processes": two_processes,
    "few_registers": few_registers,
    "two_fields": two_fields,
    "disarmed": disarmed,
    "refusals": refusals,
    "full_ring": full_ring,
    "killed": killed,
}


def kallsyms(*names: str) -> Json:
    """Return the addresses of functions, as the kernel itself prints them."""
    found = {}
    for line in Path("/proc/kallsyms").read_text().splitlines():
        address, _, name = line.split()[:3]
        if name in names:
            found[name] = int(address, 16)
    return found


def main() -> None:
    target = open_target(Wanted(symbols=(PROGRAMS / "shares_counter.ko",)), ("shares_counter",))
    result: Json = {name: WAYS[name](target) for name in sys.argv[1:]}
    result["functions"] = kallsyms("shares_counter_kernel_adds", "shares_counter_ioctl")
    print(json.dumps(result))


main()
