# SPDX-License-Identifier: GPL-2.0-or-later
"""`verify` of all that the kernel shares: rings made for real, the vDSO of all, and one copy."""

from collections.abc import Iterator
from dataclasses import dataclass

import jsonschema
import pytest
from machine import Json, Machine, each_kernel, number

pytestmark = each_kernel
Place = tuple[int, int]


@dataclass(frozen=True)
class Verified:
    """What verify said of everything, and what the processes say that they made."""

    machine: Machine
    report: Json
    code: int
    pid: int
    rings: list[Json]
    copied: Place

    def verdicts(self) -> dict[Place, list[str]]:
        """By process and start of the VMA: the verdict, or its reason, of each page."""
        found = {}
        for region in self.report["regions"]:
            for use in region["uses"]:
                mapping = self.report["mappings"][use["mapping"]]
                start, end = (number(mapping["vma"][key]) for key in ("start", "end"))
                pages = [
                    run["reason"] or run["verdict"]
                    for run in use["runs"]
                    for _ in range(run["pages"])
                ]
                assert len(pages) == (end - start) // 4096
                found[mapping["pid"], start] = pages
        return found


@pytest.fixture(scope="module")
def verified(machine: Machine) -> Iterator[Verified]:
    machine.load()
    rings = machine.start("shares_rings")
    vdso = machine.start("shares_maps", "vdso")
    (copied,) = (one for one in vdso["regions"] if one["label"] == "vdso-copied")
    said = machine.outside("verify", "--format", "json")
    assert said.code == 1, said.err
    yield Verified(
        machine,
        said.report,
        said.code,
        rings["pid"],
        [fact for fact in rings["facts"] if fact["is"] == "vma"],
        (copied["pid"], copied["address"]),
    )
    for pid in (rings["pid"], vdso["pid"]):
        machine.end_group(pid)


def test_the_report_fits_the_schema(verified: Verified, schema: Json) -> None:
    jsonschema.validate(verified.report, schema)
    kinds = {region["kind"] for region in verified.report["regions"]}
    assert {"umh_shm", "perf", "io_uring", "packet", "aio", "vdso"} <= kinds


def test_what_was_touched_is_the_same(verified: Verified) -> None:
    verdicts = verified.verdicts()
    for vma in verified.rings:
        pages = verdicts[verified.pid, vma["address"]]
        assert {pages[page] for page in vma["touched"]} <= {"SAME"}, vma
    assert sum(len(vma["touched"]) for vma in verified.rings) > 10


def test_a_copy_is_the_only_other_page(verified: Verified) -> None:
    """Page 0 of one process's vDSO, which it wrote as a debugger does; with all its evidence."""
    differing = {
        place: [page for page, said in enumerate(pages) if said == "DIFFERENT"]
        for place, pages in verified.verdicts().items()
        if "DIFFERENT" in pages
    }
    assert differing == {verified.copied: [0]}
    (proof,) = (one for one in verified.report["proofs"] if one["verdict"] == "DIFFERENT")
    evidence = proof["evidence"]
    assert number(evidence["user_address"]) == verified.copied[1]
    assert evidence["kernel_walk"]["pfn"] != evidence["user_walk"]["pfn"]
    assert verified.report["summary"]["different"] == 1


def test_nothing_is_undecided_but_what_nobody_touched(verified: Verified) -> None:
    every = {said for pages in verified.verdicts().values() for said in pages}
    assert every <= {"SAME", "DIFFERENT", "not-present"}
    ids = {one["id"] for one in verified.report["findings"] if one["severity"] != "note"}
    assert ids == set()


def test_one_process_and_its_text(verified: Verified) -> None:
    said = verified.machine.outside("verify", "--pid", str(verified.pid))
    assert said.code == 0, said.out + said.err
    for vma in verified.rings:
        head = f"  {verified.pid} renamed-by-test  {vma['address']:x}-"
        (line,) = (one for one in said.out.splitlines() if one.startswith(head))
        assert " SAME" in line or not vma["touched"]


def test_one_kind(verified: Verified) -> None:
    said = verified.machine.outside("verify", "--kind", "aio", "--format", "json")
    assert {region["kind"] for region in said.report["regions"]} == {"aio"}
    assert said.report["summary"]["same"] > 0
    assert said.report["region"] is None
