# SPDX-License-Identifier: GPL-2.0-or-later
"""Verdicts of whole VMAs: runs, counts, the exit code, and their text."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import drgn
import jsonschema
import pytest
from unit.facts import CORE, LIVE, evidence, mapping, report

import pageproof
from pageproof import judge
from pageproof.attach import Target
from pageproof.find.shared import Claim, Claimed
from pageproof.find.shared.finder import Finder
from pageproof.model import Outcome, PageRun, ProvedRegion, ProvedUse, Reason, Report, Verdict
from pageproof.observe.attempts import ATTEMPTS
from pageproof.observe.region import pages_from, pages_of_region
from pageproof.observe.verdicts import Judgement, runs_of, verdict_at, with_verdicts
from pageproof.render.jsonform import report_to_json
from pageproof.render.table import to_text
from pageproof.walk import Side
from pageproof.walk.compare import compare

SAME: Judgement = (Verdict.SAME, None)
OTHER: Judgement = (Verdict.DIFFERENT, None)
ABSENT: Judgement = (Verdict.UNKNOWN, Reason.NOT_PRESENT)
LONE: Judgement = (Verdict.UNKNOWN, Reason.NO_KERNEL_SIDE)
SWAPPED: Judgement = (Verdict.UNKNOWN, Reason.SWAPPED)
TORN: Judgement = (Verdict.UNKNOWN, Reason.TORN)


def run(first: int, pages: int, judgement: Judgement) -> PageRun:
    return PageRun(first, pages, *judgement)


@pytest.mark.parametrize(
    ("pages", "judged", "expected"),
    [
        (0, {}, []),
        (3, {}, [(0, 3, ABSENT)]),
        (2, {0: SAME, 1: SAME}, [(0, 2, SAME)]),
        (4, {1: SAME, 2: SAME}, [(0, 1, ABSENT), (1, 2, SAME), (3, 1, ABSENT)]),
        (3, {0: SAME, 1: OTHER, 2: SAME}, [(0, 1, SAME), (1, 1, OTHER), (2, 1, SAME)]),
        (3, {0: SAME, 2: SAME}, [(0, 1, SAME), (1, 1, ABSENT), (2, 1, SAME)]),
        (1 << 40, {7: TORN}, [(0, 7, ABSENT), (7, 1, TORN), (8, (1 << 40) - 8, ABSENT)]),
    ],
)
def test_runs_are_all_pages_in_order(
    pages: int, judged: dict[int, Judgement], expected: list[tuple[int, int, Judgement]]
) -> None:
    found = [(9 + page, 1, one) for page, one in judged.items()]
    assert list(runs_of(9, pages, found)) == [run(*one) for one in expected]


def test_other_verdicts_of_some_pages() -> None:
    runs = (run(0, 4, SAME), run(4, 2, ABSENT))
    assert with_verdicts(runs, {}) == runs
    assert with_verdicts(runs, {0: TORN, 3: ABSENT, 5: SAME}) == (
        run(0, 1, TORN),
        run(1, 2, SAME),
        run(3, 2, ABSENT),
        run(5, 1, SAME),
    )
    assert [verdict_at(runs, page) for page in (0, 3, 4)] == [SAME[0], SAME[0], ABSENT[0]]
    assert verdict_at((), 3) is Verdict.UNKNOWN


FRAME = (Outcome.MAPPED, 0x1000)


@pytest.mark.parametrize(
    ("user", "kernel", "expected"),
    [
        (FRAME, FRAME, SAME),
        ((Outcome.PROT_NONE, 0x1000), FRAME, SAME),
        (FRAME, (Outcome.MAPPED, 0x2000), OTHER),
        ((Outcome.NONE, None), FRAME, ABSENT),
        (FRAME, (Outcome.NONE, None), LONE),
        ((Outcome.NONE, None), (Outcome.NONE, None), ABSENT),
        ((Outcome.SWAP, None), (Outcome.NONE, None), SWAPPED),
        ((Outcome.INVALIDATED, 0x1000), FRAME, TORN),
        ((Outcome.SWAP, None), FRAME, SWAPPED),
        ((Outcome.EXCLUDED, None), FRAME, (Verdict.UNKNOWN, Reason.EXCLUDED)),
    ],
)
def test_two_ends_compared(
    user: tuple[Outcome, int | None], kernel: tuple[Outcome, int | None], expected: Judgement
) -> None:
    assert compare(user, kernel) == expected


def regions(*runs: PageRun) -> tuple[ProvedRegion, ...]:
    """Two: a ring with one sound page, and the vDSO's data with these runs."""
    ring = ProvedRegion(
        "perf", "data", "perf ring", 0xFFFF888001000000, "struct perf_buffer", 1,
        (ProvedUse(0, 0, (run(0, 1, SAME),)),),
    )  # fmt: skip
    data = ProvedRegion(
        "vdso", "vvar", "[vvar]", 0xFFFFFFFF82000000, "struct time_namespace", 8,
        (ProvedUse(1, 2, runs),),
    )  # fmt: skip
    return ring, data


def made(*runs: PageRun, strict: bool = True) -> Report:
    mappings = (mapping(0, 1), replace(mapping(2, 6), pid=7, comm="clock"))
    one = report(evidence(), mappings=mappings, target=LIVE)
    some = regions(*runs)
    summary = judge.summarize(one.proofs, (), (), some, strict=strict)
    return replace(one, region=None, regions=some, summary=summary)


@pytest.mark.parametrize(
    ("runs", "strict", "code"),
    [
        ([run(0, 6, SAME)], True, 0),
        ([run(0, 1, SAME), run(1, 5, ABSENT)], True, 3),
        ([run(0, 1, SAME), run(1, 5, ABSENT)], False, 0),
        ([run(0, 5, SAME), run(5, 1, TORN)], False, 3),
        ([run(0, 5, SAME), run(5, 1, LONE)], False, 3),
        ([run(0, 5, SAME), run(5, 1, OTHER)], False, 1),
    ],
)
def test_exit_code(runs: list[PageRun], strict: bool, code: int) -> None:
    summary = made(*runs, strict=strict).summary
    assert (summary.exit_code, summary.pages) == (code, 7)


def test_nothing_but_absent_pages_is_no_success() -> None:
    _, data = regions(run(0, 6, ABSENT))
    assert judge.summarize((), (), (), (data,), strict=False).exit_code == 3


def test_an_absent_page_is_undecided_unless_others_were_asked_for() -> None:
    some = regions(run(0, 1, SAME), run(1, 5, ABSENT))
    assert judge.summarize((), (), (), some).exit_code == 3
    assert judge.summarize((), (), (), some, strict=False).exit_code == 0


def test_what_could_not_be_read_is_no_success() -> None:
    whole = (run(0, 6, SAME),)
    unread = judge.unread("perf", 0xFFFF888001000000, "Cannot read memory")
    assert made(*whole).summary.exit_code == 0
    assert judge.summarize((), (unread,), (), regions(*whole)).exit_code == 3


def test_text_has_a_line_for_each_use() -> None:
    text = to_text(made(run(0, 1, SAME), run(1, 4, ABSENT), run(5, 1, OTHER)))
    assert "perf data  perf ring, 4 KiB  struct perf_buffer ffff888001000000\n" in text
    assert "  133 umh_shm_helper  7f8b5feb0000-7f8b5feb1000  1 SAME\n" in text
    line = "7 clock  7f8b5feb2000-7f8b5feb8000  from page 2: 1 DIFFERENT, 1 SAME, 4 not-present"
    assert f"{line}\n" in text


def test_json_fits_the_schema() -> None:
    document = json.loads(report_to_json(made(run(0, 1, SAME), run(1, 5, TORN))))
    path = Path(pageproof.__file__).parent / "schema" / "report-1.json"
    jsonschema.validate(document, json.loads(path.read_text()))
    assert document["regions"][1]["uses"][0]["runs"][1]["reason"] == "torn"


def test_what_can_not_be_read_of_a_live_system_is_read_again() -> None:
    def fails(times: int) -> Claimed:
        def kernel_pages(prog: drgn.Program, claim: Claim) -> list[int | None]:
            looks.append(1)
            if len(looks) <= times:
                raise ValueError("it changes")
            return [0x1000]

        finder = Finder("test", "", ("ops",), lambda vma: None, kernel_pages)
        return Claimed(finder, Claim(0, "", "", "", 1, 0), mapping())

    for facts, most in ((LIVE, ATTEMPTS - 1), (CORE, 0)):
        target = cast(Target, SimpleNamespace(facts=facts, prog=None))
        looks: list[int] = []
        assert pages_of_region(target, fails(most)) == [0x1000]
        looks = []
        with pytest.raises(ValueError, match="it changes"):
            pages_of_region(target, fails(most + 1))


def test_pages_behind_the_end_of_a_region() -> None:
    """Of a VMA that begins in its middle; a page without a user side is none of them."""

    def beyond(first: int) -> int:
        user = (
            Side(first, 3, 0x1000, 0, Outcome.MAPPED, same=False),
            Side(first + 4, 1, None, 0, Outcome.SWAP, same=False),
        )
        return pages_from(4, user)

    assert [beyond(first) for first in (0, 2, 4)] == [1, 2, 4]
