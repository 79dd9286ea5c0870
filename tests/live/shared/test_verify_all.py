# SPDX-License-Identifier: GPL-2.0-or-later
"""`verify` of real shared memory of all kinds, and of two copies."""

from dataclasses import dataclass

import jsonschema
import pytest
from machine import Json, Machine, each_kernel, number
from sharing import (
    Everything,
    closed_page_is_proven,
    is_proven,
    is_silent,
    verdicts_by_place,
)

from pageproof.space.units import PAGE_BYTES

pytestmark = each_kernel


@dataclass(frozen=True)
class Verified:
    """The report of verify, and the memory in the guest."""

    machine: Machine
    report: Json
    everything: Everything


@pytest.fixture(scope="module")
def verified(machine: Machine, everything: Everything) -> Verified:
    machine.load()
    said = machine.outside("verify", "--format", "json")
    assert said.code == 1, said.err
    return Verified(machine, said.report, everything)


def test_the_report_fits_the_schema(verified: Verified, schema: Json) -> None:
    jsonschema.validate(verified.report, schema)


def test_what_was_touched_is_the_same(verified: Verified) -> None:
    is_proven(verified.report, verified.everything)


def test_a_copy_has_all_its_evidence(verified: Verified) -> None:
    """A vDSO that its process wrote as a debugger does, and a vcpu that was mapped privately."""
    copied = {
        address + page * PAGE_BYTES
        for (_, address), pages in verified.everything.copied.items()
        for page in pages
    }
    differing = [one for one in verified.report["proofs"] if one["verdict"] == "DIFFERENT"]
    assert {number(one["evidence"]["user_address"]) for one in differing} == copied
    for evidence in (one["evidence"] for one in differing):
        assert evidence["kernel_walk"]["pfn"] != evidence["user_walk"]["pfn"]
    assert verified.report["summary"]["different"] == len(differing) == len(copied)


def test_nothing_is_undecided_but_what_nobody_touched(verified: Verified) -> None:
    """Also undecided: pages that the kernel has not mapped, and the rest of a split UIO mapping."""
    for place, pages in verdicts_by_place(verified.report).items():
        if place != verified.everything.idle:
            assert set(pages) <= {"SAME", "DIFFERENT", "not-present", "swapped"}
    is_silent(verified.report)


def test_a_closed_page_is_no_dispute(verified: Verified) -> None:
    """With --pid and --kind the exit code is 0."""
    closed_page_is_proven(verified.report, verified.everything)
    pid, _ = verified.everything.closed
    asked = ("verify", "--kind", "shmem", "--pid", str(pid), "--format", "json")
    said = verified.machine.outside(*asked)
    assert said.code == 0, said.out + said.err
    closed_page_is_proven(said.report, verified.everything)


def test_one_process_and_its_text(verified: Verified) -> None:
    pid = verified.everything.facts["rings"]["pid"]
    said = verified.machine.outside("verify", "--pid", str(pid))
    assert said.code == 0, said.out + said.err
    for vma in verified.everything.rings:
        head = f"  {pid} renamed-by-test  {vma['address']:x}-"
        (line,) = (one for one in said.out.splitlines() if one.startswith(head))
        assert " SAME" in line or not vma["touched"]


def test_one_kind(verified: Verified) -> None:
    said = verified.machine.outside("verify", "--kind", "aio", "--format", "json")
    assert {region["kind"] for region in said.report["regions"]} == {"aio"}
    assert said.report["summary"]["same"] > 0
    assert said.report["region"] is None
