# SPDX-License-Identifier: GPL-2.0-or-later
"""`verify` of everything and `audit` on a sound guest in which all moves: no false alarm.

Rings and maps come and go, and their pages are others' at once; processes fork, exec and exit;
huge pages are made and split, pages merged, swapped out and in. For PAGEPROOF_LOAD_SECONDS memory
is compacted too.
"""

import os
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from auditbugs import alarms
from machine import START_SECONDS, Machine, each_kernel, each_kernel_at_length
from sharing import Everything, is_proven, is_silent

STOP = "/run/churn.stop"
LOOKS = 3
SECONDS = int(os.environ.get("PAGEPROOF_LOAD_SECONDS", "0"))
KSM = "/sys/kernel/mm/ksm/run"
#: Why a page may be undecided: nobody touched it, it was swapped out, it moved, or what maps it
#: came or went just now; no driver has mapped the PCI resource.
REASONS = {"not-present", "swapped", "torn", "no-kernel-side"}


@pytest.fixture
def moving(machine: Machine, everything: Everything) -> Iterator[Machine]:
    machine.load()
    pids = []
    for words in ("shares_rings", "shares_maps bpf"):
        command = f"setsid /opt/pageproof/vm/churn.sh {STOP} {words} >/dev/null 2>&1 </dev/null &"
        pids.append(machine.guest.check("sh", "-c", f"{command} echo $!").strip())
    machine.guest.check("sh", "-c", f"echo 1 > {KSM}")
    busy = machine.start("busy", *(["compact"] if SECONDS else []))
    yield machine
    machine.end_group(busy["pid"])
    machine.guest.check("sh", "-c", f"echo 2 > {KSM}; touch {STOP}")
    deadline = time.monotonic() + START_SECONDS
    while any(machine.guest.run("test", "-d", f"/proc/{pid}").code == 0 for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    machine.guest.check("rm", "-f", STOP)


@each_kernel
def test_no_false_alarm(moving: Machine, everything: Everything) -> None:
    """What was touched is SAME, what moved is torn; the module's region, which stays, always is."""
    seen: dict[str, set[int]] = {}
    counted: Counter[str] = Counter()
    looks = 0
    start = time.monotonic()
    deadline = start + SECONDS + START_SECONDS
    # Now and then a look falls between two programs: something is to be seen to come and go.
    while (
        looks < LOOKS
        or time.monotonic() < start + SECONDS
        or not any(len(seen[kind]) > 1 for kind in seen.keys() - {"vdso"})
    ):
        assert time.monotonic() < deadline, f"nothing of what comes and goes seen twice: {seen}"
        looks += 1
        report = moving.outside("verify", "--format", "json").report
        is_proven(report, everything, moving=True)
        is_silent(report)
        for region in report["regions"]:
            for use in region["uses"]:
                runs = [(run["reason"] or run["verdict"], run["pages"]) for run in use["runs"]]
                assert {said for said, _ in runs} <= REASONS | {"SAME", "DIFFERENT"}
                for said, pages in runs:
                    counted[said] += pages
                if region["kind"] == "umh_shm":
                    assert {said for said, _ in runs} == {"SAME"}
                pid = report["mappings"][use["mapping"]]["pid"]
                seen.setdefault(region["kind"], set()).add(pid)
    print(f"{looks} looks in {time.monotonic() - start:.0f} s: {dict(counted)}")


@each_kernel_at_length
def test_audit_raises_no_false_alarm(moving: Machine) -> None:
    """What can't be decided of what moves is said to be so."""
    undecided: Counter[tuple[str, str]] = Counter()
    looks = 0
    start = time.monotonic()
    while looks < LOOKS or time.monotonic() < start + SECONDS:
        looks += 1
        report = moving.outside("audit", "--format", "json").report
        assert alarms(report) == []
        undecided.update(
            (one["rule"], one["reason"]) for one in report["outcomes"] if one["reason"]
        )
    print(f"{looks} looks in {time.monotonic() - start:.0f} s: {dict(undecided)}")
