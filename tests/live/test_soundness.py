# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel moves memory between two NUMA nodes, and processes change their mappings meanwhile.

`verify` and `audit` from outside report no error or warning: exit code 0, or 3 if pages moved at
each try. They run for PAGEPROOF_LOAD_SECONDS each, or a few times.
"""

import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from auditbugs import alarms
from machine import ONE_A_KERNEL, START_SECONDS, Json, Machine, Result, Setup
from sharing import verdicts_by_place

from pageproof_lab.guest import boot, qemu
from pageproof_lab.images import build, kernels

LOOKS = 5
#: Processes of tests/vm/restless.c beside the first.
KINDS_OF_WORK = 5
SECONDS = int(os.environ.get("PAGEPROOF_LOAD_SECONDS", "0"))
#: Reasons for which a page may be undecided: it moved at each try, or it was not touched again.
REASONS = {"torn", "not-present"}
#: Delay and period of sampling a task's memory, in ms. Since 5.13 in debugfs: 8a99b6833c88
#: ("sched: Move SCHED_DEBUG sysctl to debugfs").
SCAN = {"scan_delay_ms": 50, "scan_period_min_ms": 50, "scan_period_max_ms": 200}
DEBUGFS = "/sys/kernel/debug/sched/numa_balancing/"
SYSCTL = "/proc/sys/kernel/numa_balancing_"

pytestmark = pytest.mark.long


@pytest.fixture(scope="module", params=ONE_A_KERNEL, ids=lambda setup: f"numa-{setup.kernel}")
def restless(request: pytest.FixtureRequest) -> Iterator[tuple[Machine, Json]]:
    """The guest, and the description by tests/vm/restless.c of its permanent mapping."""
    setup: Setup = request.param
    kernel = kernels.fetch(setup.kernel)
    built = build.build(kernel)
    options = qemu.Options(paging=setup.paging, kaslr=setup.kaslr, cpus=2, nodes=2)
    with (
        boot.boot(kernel, options, built=built) as guest,
        Machine(setup, guest, kernel, built) as machine,
    ):
        nodes = guest.check("cat", "/sys/devices/system/node/has_memory").strip()
        assert nodes == "0-1"
        machine.load()
        guest.check("sh", "-c", "echo 1 > /proc/sys/kernel/numa_balancing")
        for name, value in SCAN.items():
            guest.check(
                *("sh", "-ec"),
                f"to={DEBUGFS}{name}; [ -e $to ] || to={SYSCTL}{name}; echo {value} >$to",
            )
        (still,) = machine.start("restless")["regions"]
        yield machine, still
        at_work = guest.check("cat", f"/proc/{still['pid']}/task/{still['pid']}/children").split()
        assert len(at_work) == KINDS_OF_WORK, "some of restless.c's processes have ended"


def sampled(machine: Machine) -> int:
    """Return the number of entries that balancing made PROT_NONE."""
    found = re.search(r"^numa_pte_updates (\d+)$", machine.guest.check("cat", "/proc/vmstat"), re.M)
    assert found
    return int(found[1])


def looks_at(
    machine: Machine, words: tuple[str, ...], judge: Callable[[Result], None]
) -> tuple[int, float]:
    """Repeat a command until balancing has sampled memory meanwhile."""
    before, looks, start = sampled(machine), 0, time.monotonic()
    while looks < LOOKS or time.monotonic() < start + SECONDS or sampled(machine) == before:
        assert time.monotonic() < start + SECONDS + START_SECONDS, "nothing is balanced"
        looks += 1
        result = machine.outside(*words, "--format", "json")
        assert result.code in (0, 3), result.err or alarms(result.report)
        judge(result)
    return looks, time.monotonic() - start


def test_verify(restless: tuple[Machine, Json]) -> None:
    machine, still = restless
    place = still["pid"], still["address"]
    counted: Counter[str] = Counter()
    codes: Counter[int] = Counter()

    def judge(result: Result) -> None:
        report = result.report
        of_pages = [one for proof in report["proofs"] for one in proof["findings"]]
        assert [one for one in of_pages if one["severity"] != "note"] == []
        assert alarms(report) == []
        said = Counter(
            run["reason"] or run["verdict"]
            for region in report["regions"]
            for use in region["uses"]
            for run in use["runs"]
            for _ in range(run["pages"])
        )
        assert said.keys() <= REASONS | {"SAME"}
        assert set(verdicts_by_place(report)[place]) <= {"SAME", "torn"}
        assert result.code == 0 or "torn" in said, report["summary"]
        counted.update(said)
        counted.update(one["id"] for one in of_pages)
        codes[result.code] += 1

    looks, seconds = looks_at(machine, ("verify",), judge)
    print(f"{looks} looks in {seconds:.0f} s: {dict(counted)}, exit codes {dict(codes)}")
    assert counted["SAME"] > 0


def test_audit(restless: tuple[Machine, Json]) -> None:
    machine, _ = restless
    undecided: Counter[tuple[str, str]] = Counter()
    codes: Counter[int] = Counter()

    def judge(result: Result) -> None:
        report = result.report
        assert alarms(report) == []
        why = [(one["rule"], one["reason"]) for one in report["outcomes"] if one["reason"]]
        assert result.code == 0 or why, report
        undecided.update(why)
        codes[result.code] += 1

    looks, seconds = looks_at(machine, ("audit",), judge)
    print(f"{looks} looks in {seconds:.0f} s: {dict(undecided)}, exit codes {dict(codes)}")
