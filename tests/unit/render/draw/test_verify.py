# SPDX-License-Identifier: GPL-2.0-or-later
"""`pageproof verify` against golden files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from unit.facts import (
    CORE,
    DIGEST,
    LIVE,
    OTHER_DIGEST,
    PAGE,
    content,
    evidence,
    lost_walk,
    mapping,
    region,
    report,
    user_walk,
)
from unit.golden import matches_golden

import pageproof
from pageproof import judge
from pageproof.files.places import read_where
from pageproof.model import (
    Finding,
    Outcome,
    Report,
    Route,
    RouteContent,
    SecondOpinion,
    Severity,
    TargetKind,
    TaskFault,
)
from pageproof.render.jsonform import report_to_json
from pageproof.render.junit.verify import verify_to_junit
from pageproof.render.table import to_text

GOLDEN = Path(__file__).resolve().parents[3] / "golden"
SCHEMA = Path(pageproof.__file__).parent / "schema" / "report-1.json"


def article() -> Report:
    """One page, as in the article."""
    return report(evidence())


def several() -> Report:
    """Eight pages, two of them touched, from outside."""
    pages = [evidence(0)]
    for page in range(1, 8):
        user = None if page < 3 else lost_walk(Outcome.NONE, page)
        pages.append(replace(evidence(page, user=user), content=content(zero=True)))
    target = replace(LIVE, kind=TargetKind.QEMU, where="/run/vm/qmp.sock", format="qmp")
    return report(*pages, target=target)


def wrong() -> Report:
    """A private page in place of the region's, and a second opinion that disagrees."""
    bytes_of_both = (
        RouteContent(Route.KERNEL_VIRTUAL, DIGEST, False),
        RouteContent(Route.USER_VIRTUAL, OTHER_DIGEST, True),
        RouteContent(Route.PHYSICAL, DIGEST, False),
        RouteContent(Route.USER_PHYSICAL, OTHER_DIGEST, True),
    )
    private = replace(
        evidence(0, user=user_walk(frame=0x7654_3000)),
        user_page=replace(PAGE, flags_words="uptodate|lru|swapbacked", mapcount=1),
        content=bytes_of_both,
        page_index=None,
        slot=None,
    )
    disputed = replace(evidence(1), kernel_second=SecondOpinion(0x1000, 1))
    return report(private, disputed)


def many() -> Report:
    """A large region: pages that are alike are shown in one line."""
    return report(*(replace(evidence(page), content=content(zero=True)) for page in range(64)))


def partial() -> Report:
    """Pages without a user side, and a task that could not be searched."""
    mappings = (mapping(0, 1),)
    return report(
        evidence(),
        pages=4,
        mappings=mappings,
        findings=judge.coverage_findings(region(4), mappings),
        faults=(TaskFault(77, "sleep", "could not read memory at 0x10"),),
        target=LIVE,
    )


def nothing() -> Report:
    """The module is loaded, but no process maps its memory."""
    sentence = "no process maps the region now: there is nothing to verify"
    finding = Finding("nothing-to-verify", Severity.NOTE, read_where("umh_shm_region"), sentence)
    return report(pages=1, mappings=(), findings=(finding,))


REPORTS = [article, several, wrong, many, partial, nothing]
#: Some rules only, so that a new rule changes no golden file.
RULES = ("memory-type-conflict", "frame-is-free", "content-routes-differ")
FORMS: dict[str, Callable[[Report], str]] = {
    "txt": to_text,
    "json": report_to_json,
    "xml": lambda one: verify_to_junit(one, lambda kind: RULES),
}


def check_golden(name: str, got: str) -> None:
    matches_golden(GOLDEN / name, got)


@pytest.mark.parametrize(
    # 64 pages of JSON would show no more than 8.
    ("make", "form"),
    [(make, form) for make in REPORTS for form in FORMS if (make, form) != (many, "json")],
)
def test_golden(make: Callable[[], Report], form: str) -> None:
    check_golden(f"{make.__name__}.{form}", FORMS[form](make()))


def test_golden_verbose() -> None:
    check_golden("several-verbose.txt", to_text(several(), verbose=True))


def test_golden_narrow() -> None:
    """With 80 columns lines are folded, and nothing is lost."""
    check_golden("article-80.txt", to_text(article(), width=80))


def test_no_golden_file_is_left_over() -> None:
    wanted = {f"{make.__name__}.{form}" for make in REPORTS for form in FORMS}
    wanted |= {"several-verbose.txt", "article-80.txt"}
    wanted -= {"many.json"}
    assert {path.name for path in GOLDEN.iterdir() if path.is_file()} == wanted


# Colours


def test_plain_text_has_no_escape_sequences() -> None:
    assert "\033" not in to_text(wrong())


def test_colours_change_nothing_but_colour() -> None:
    colored = to_text(wrong(), color=True)
    assert "\033[1;31mDIFFERENT\033[0m" in colored


def test_text_of_a_target_is_not_taken_for_markup() -> None:
    one = replace(evidence(), page_index=0)
    odd = replace(mapping(), comm="[red]x[/red]")
    assert "([red]x[/red])" in to_text(report(one, mappings=(odd,)))


# JSON and its schema


def schema() -> Any:
    return json.loads(SCHEMA.read_text(encoding="utf-8"))


@pytest.mark.parametrize("make", REPORTS)
def test_json_fits_the_schema(make: Callable[[], Report]) -> None:
    jsonschema.Draft202012Validator(schema()).validate(json.loads(report_to_json(make())))


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize(
    ("path", "bad"),
    [
        (("schema",), "pageproof/report-2"),
        (("summary", "pages"), "1"),
        (("summary", "exit_code"), 2),
        (("region", "kernel_address"), 4096),
        (("region", "kernel_address"), "1000"),
        (("proofs", 0, "verdict"), "MAYBE"),
        (("proofs", 0, "reason"), "torn"),
        (("proofs", 0, "evidence", "kernel_walk", "pfn"), 13312),
        (("proofs", 0, "evidence", "content", 0, "sha256"), "2254"),
        (("surprise",), 1),
    ],
    ids=lambda value: str(value),
)
def test_the_schema_refuses(path: tuple[str | int, ...], bad: object) -> None:
    document = json.loads(report_to_json(article()))
    at: Any = document
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = bad
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema()).validate(document)


def test_addresses_are_hex_and_counts_are_numbers() -> None:
    document = json.loads(report_to_json(article()))
    walk = document["proofs"][0]["evidence"]["kernel_walk"]
    assert walk["address"] == "0xffff888003400000"
    assert walk["pfn"] == "0x3400"
    assert walk["steps"][2]["entry"] == "0x80000000034001e3"
    assert walk["leaf_bytes"] == 2097152
    assert document["mappings"][0]["vma"]["vm_flags"] == "0x40444d1"
    assert document["mappings"][0]["pid"] == 133


def test_an_absent_pfn_is_null_and_frame_zero_is_not() -> None:
    lost = json.loads(report_to_json(report(evidence(user=lost_walk(Outcome.NONE)))))
    assert lost["proofs"][0]["evidence"]["user_walk"]["pfn"] is None
    zero = json.loads(report_to_json(report(evidence(user=user_walk(frame=0)))))
    assert zero["proofs"][0]["evidence"]["user_walk"]["pfn"] == "0x0"


# Findings


def test_a_finding_is_in_the_text() -> None:
    changed = replace(
        evidence(), content=(*content()[:2], RouteContent(Route.PHYSICAL, OTHER_DIGEST, False))
    )
    assert "content-routes-differ" in to_text(report(changed, target=CORE))
