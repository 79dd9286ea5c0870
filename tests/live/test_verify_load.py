# SPDX-License-Identifier: GPL-2.0-or-later
"""`verify` of everything while rings and maps come and go, and their pages are others' at once."""

import time
from collections.abc import Iterator

import pytest
from machine import START_SECONDS, Machine, each_kernel
from sharing import Everything, is_proven

pytestmark = each_kernel

STOP = "/run/churn.stop"
LOOKS = 3


@pytest.fixture
def churning(machine: Machine) -> Iterator[Machine]:
    """A guest in which two programs make and drop all that they know."""
    machine.load()
    pids = []
    for words in ("shares_rings", "shares_maps bpf"):
        command = f"setsid /opt/pageproof/vm/churn.sh {STOP} {words} >/dev/null 2>&1 </dev/null &"
        pids.append(machine.guest.check("sh", "-c", f"{command} echo $!").strip())
    yield machine
    machine.guest.check("touch", STOP)
    deadline = time.monotonic() + START_SECONDS
    while any(machine.guest.run("test", "-d", f"/proc/{pid}").code == 0 for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    machine.guest.check("rm", "-f", STOP)


def test_nothing_is_said_to_differ(churning: Machine, everything: Everything) -> None:
    """What moved is torn, what was touched is SAME; the module's region, which stays, always is."""
    seen: dict[str, set[int]] = {}
    looks = 0
    deadline = time.monotonic() + START_SECONDS
    # Now and then a look falls between two programs: something is to be seen to come and go.
    while looks < LOOKS or not any(len(seen[kind]) > 1 for kind in seen.keys() - {"vdso"}):
        assert time.monotonic() < deadline, f"nothing of what comes and goes seen twice: {seen}"
        looks += 1
        report = churning.outside("verify", "--format", "json").report
        is_proven(report, everything)
        assert report["summary"]["errors"] == 0, report["findings"]
        for region in report["regions"]:
            for use in region["uses"]:
                verdicts = {run["verdict"] for run in use["runs"]}
                if region["kind"] == "umh_shm":
                    assert verdicts == {"SAME"}
                pid = report["mappings"][use["mapping"]]["pid"]
                seen.setdefault(region["kind"], set()).add(pid)
