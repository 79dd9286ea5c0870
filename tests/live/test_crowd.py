# SPDX-License-Identifier: GPL-2.0-or-later
"""2,000 processes fork, exec, map memory and exit while `verify` and `audit` look at them.

Neither reports an error or a warning. What they find exists: nearly all processes, each mapping
SAME or torn.
"""

import time
from collections import Counter
from collections.abc import Iterator

import pytest
from auditbugs import alarms
from machine import ONE_A_KERNEL, Json, Machine, Setup

from pageproof_lab.guest import boot, qemu
from pageproof_lab.images import build, kernels

PROCESSES, LOOKS = 2000, 10
MEMORY_MIB = 2048
#: Reasons for which a page may be undecided: it moved or its mapping went, or it is new.
REASONS = {"torn", "not-present"}
#: One with a list of VMAs and one with a maple tree.
KERNELS = [setup for setup in ONE_A_KERNEL if setup.kernel in ("5.10", "6.12")]

pytestmark = pytest.mark.long


@pytest.fixture(scope="module", params=KERNELS, ids=lambda setup: f"crowd-{setup.kernel}")
def crowd(request: pytest.FixtureRequest) -> Iterator[Machine]:
    setup: Setup = request.param
    kernel = kernels.fetch(setup.kernel)
    built = build.build(kernel)
    options = qemu.Options(paging=setup.paging, kaslr=setup.kaslr, cpus=2, memory_mib=MEMORY_MIB)
    with (
        boot.boot(kernel, options, built=built) as guest,
        Machine(setup, guest, kernel, built) as machine,
    ):
        machine.load()
        parent = machine.start("crowd", str(PROCESSES))["pid"]
        yield machine
        assert machine.guest.run("test", "-d", f"/proc/{parent}").code == 0, "it has ended"


def pids_of(report: Json) -> set[int]:
    """Return the processes that map the crowd's memfd."""
    (region,) = (one for one in report["regions"] if "crowd" in one["name"])
    return {report["mappings"][use["mapping"]]["pid"] for use in region["uses"]}


def test_verify(crowd: Machine) -> None:
    counted: Counter[str] = Counter()
    seen: list[set[int]] = []
    start = time.monotonic()
    for _ in range(LOOKS):
        result = crowd.outside("verify", "--format", "json")
        assert result.code in (0, 3), result.err or alarms(result.report)
        report = result.report
        of_pages = [one for proof in report["proofs"] for one in proof["findings"]]
        assert [one for one in of_pages if one["severity"] != "note"] == []
        assert alarms(report) == []
        for region in report["regions"]:
            for use in region["uses"]:
                for run in use["runs"]:
                    counted[run["reason"] or run["verdict"]] += run["pages"]
        seen.append(pids_of(report))
    print(f"{LOOKS} looks in {time.monotonic() - start:.0f} s: {dict(counted)}")
    assert counted.keys() <= REASONS | {"SAME"}
    assert min(map(len, seen)) > PROCESSES / 2  # some have not mapped it yet after exec()
    assert len({frozenset(pids) for pids in seen}) == LOOKS, "nothing moves"


def test_audit(crowd: Machine) -> None:
    undecided: Counter[tuple[str, str]] = Counter()
    start = time.monotonic()
    for _ in range(LOOKS):
        result = crowd.outside("audit", "--format", "json")
        report = result.report
        wrong = [one for one in report["outcomes"] if one["findings"]]
        assert result.code in (0, 3), (wrong, alarms(report))
        assert alarms(report) == []
        undecided.update(
            (one["rule"], one["reason"]) for one in report["outcomes"] if one["reason"]
        )
    print(f"{LOOKS} looks in {time.monotonic() - start:.0f} s: {dict(undecided)}")
