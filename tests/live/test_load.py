# SPDX-License-Identifier: GPL-2.0-or-later
"""`verify` of everything and `audit` on a sound guest under load: no false alarm.

Rings and maps are made and freed, and their pages are reused at once. Processes fork, exec and
exit. Huge pages are made and split, pages are merged, swapped out and in. With
PAGEPROOF_LOAD_SECONDS memory is compacted too.
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
#: Reasons for which a page may be undecided: it was never touched, it was swapped out, it moved,
#: its mapping is new or has just gone, or no driver has mapped the PCI resource.
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
    """Touched pages are SAME, or torn if they moved. The module's region is always SAME."""
    seen: dict[str, set[int]] = {}
    counted: Counter[str] = Counter()
    looks = 0
    start = time.monotonic()
    deadline = start + SECONDS + START_SECONDS
    # A run may fall between two programs. Go on until two programs of one kind were seen.
    while (
        looks < LOOKS
        or time.monotonic() < start + SECONDS
        or not any(len(seen[kind]) > 1 for kind in seen.keys() - {"vdso"})
    ):
        assert time.monotonic() < deadline, f"no two programs of one kind were seen: {seen}"
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
    print(f"{looks} runs in {time.monotonic() - start:.0f} s: {dict(counted)}")


@each_kernel_at_length
def test_audit_raises_no_false_alarm(moving: Machine) -> None:
    """Findings that cannot be decided because memory moves are reported as undecided."""
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
    print(f"{looks} runs in {time.monotonic() - start:.0f} s: {dict(undecided)}")
