# SPDX-License-Identifier: GPL-2.0-or-later
"""`pageproof regions` against golden files and its schema."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from unit.facts import LIVE, PAGING, mapping
from unit.golden import matches_golden

import pageproof
from pageproof import judge
from pageproof.commands.regions import check_kinds
from pageproof.errors import PageproofError
from pageproof.files.places import read_where
from pageproof.model import Finding, Severity, TaskFault
from pageproof.model.regions import REGIONS_SCHEMA, RegionsReport, RegionUse, SharedRegion
from pageproof.render.jsonform import report_to_json
from pageproof.render.table import to_text

GOLDEN = Path(__file__).resolve().parents[3] / "golden" / "regions"
SCHEMA = Path(pageproof.__file__).parent / "schema" / "regions-1.json"

HELPER = SharedRegion(
    kind="umh_shm",
    part="",
    name="/dev/umh_shm, kzalloc, remap",
    owner=0xFFFF_8880_0340_0000,
    owner_type="struct umh_shm_region",
    pages=1,
    uses=(RegionUse(mapping(), 0, 1, 0),),
)
OTHER = replace(mapping(1, 2, pid=201), mm=0xFFFF_8880_0999_0000)
RINGS = SharedRegion(
    kind="io_uring",
    part="rings",
    name="[io_uring]",
    owner=0xFFFF_8880_0510_2000,
    owner_type="struct io_ring_ctx",
    pages=3,
    uses=(RegionUse(mapping(0, 3, pid=200), 0, 2, 0), RegionUse(OTHER, 1, 0, 1)),
)


def report() -> RegionsReport:
    return RegionsReport(
        schema=REGIONS_SCHEMA,
        version="0.1",
        target=LIVE,
        paging=PAGING,
        regions=(HELPER, RINGS),
        task_faults=(),
        findings=(),
        attempts=1,
        exit_code=0,
    )


def nothing() -> RegionsReport:
    return replace(report(), regions=(), exit_code=3)


def doubtful() -> RegionsReport:
    faults = (TaskFault(77, "gone", "could not read memory from kernel core dump"),)
    unread = Finding(
        "region-unreadable",
        Severity.WARNING,
        read_where("VMA at 0xffff888003456780"),
        "it maps memory of kind perf, whose kernel side could not be read",
        (("reason", "'struct perf_event' has no member 'rb'"),),
    )
    return replace(
        report(),
        task_faults=faults,
        findings=(unread, *judge.task_findings(faults)),
        attempts=5,
        exit_code=3,
    )


def test_nothing_is_not_said_of_what_cannot_be_read() -> None:
    text = to_text(replace(doubtful(), regions=()))
    assert text.endswith("no shared region was found in the part that can be read\n")


FILES: dict[str, Callable[[], str]] = {
    "regions.txt": lambda: to_text(report()),
    "regions.json": lambda: report_to_json(report()),
    "nothing.txt": lambda: to_text(nothing()),
    "doubtful.txt": lambda: to_text(doubtful()),
}


@pytest.mark.parametrize("name", FILES)
def test_golden(name: str) -> None:
    matches_golden(GOLDEN / name, FILES[name]())


def test_no_golden_file_is_left_over() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == set(FILES)


@pytest.mark.parametrize("one", [report(), nothing(), doubtful()])
def test_json_fits_the_schema(one: RegionsReport) -> None:
    document = json.loads(report_to_json(one))
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))
    validator.validate(document)
    for key in document:
        with pytest.raises(jsonschema.ValidationError):
            validator.validate({k: v for k, v in document.items() if k != key})


def test_an_unknown_kind() -> None:
    check_kinds(["umh_shm", "shmem"])
    with pytest.raises(PageproofError, match=r"no finder for 'prf'.*one of .*shmem"):
        check_kinds(["umh_shm", "prf"])
