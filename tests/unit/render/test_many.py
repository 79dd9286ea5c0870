# SPDX-License-Identifier: GPL-2.0-or-later
"""Regions and frames with many mappings: a sum and the odd ones, or with -v each of them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from unit.commandfacts import alias_report
from unit.facts import CORE, evidence, mapping, report
from unit.golden import matches_golden
from unit.render.draw.test_regions import report as regions_report

from pageproof.model import Finding, PageRun, ProvedUse, Reason, Report, Severity, Verdict
from pageproof.model.alias import AliasReport
from pageproof.model.regions import RegionsReport, RegionUse
from pageproof.model.where import Where, WhereKind
from pageproof.render import Options
from pageproof.render.draw.common import MANY, ODD
from pageproof.render.junit.verify import verify_to_junit
from pageproof.render.table import to_text, write_report

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "many"

SAME = PageRun(0, 1, Verdict.SAME, None)
DIFFERENT = PageRun(0, 1, Verdict.DIFFERENT, None)
ABSENT = PageRun(0, 1, Verdict.UNKNOWN, Reason.NOT_PRESENT)
TORN = PageRun(0, 1, Verdict.UNKNOWN, Reason.TORN)


def verified(count: int, odd: dict[int, PageRun] | None = None, **how: Any) -> Report:
    """One page of a region, mapped once by each process; ``odd`` has mappings that differ."""
    odd = odd or {}
    mappings = tuple(mapping(pid=pid) for pid in range(1, count + 1))
    one = report(evidence(), mappings=mappings, **how)
    uses = tuple(ProvedUse(at, 0, (odd.get(at, SAME),)) for at in range(count))
    return replace(one, regions=(replace(one.regions[0], uses=uses),))


def searched(count: int, unknown: tuple[int, ...] = ()) -> RegionsReport:
    one = regions_report()
    uses = (
        RegionUse(mapping(pid=pid // 2 + 1), 0, int(pid not in unknown), int(pid in unknown))
        for pid in range(count)
    )
    return replace(one, regions=(replace(one.regions[0], uses=tuple(uses)),))


def aliased(count: int) -> AliasReport:
    """Mappings that are alike, one without a VMA, and two that are executable."""
    one = alias_report()
    (user,) = one.users
    assert user.permissions is not None
    users = [replace(user, process=mapping(pid=pid)) for pid in range(1, count - 2)]
    users.append(replace(user, process=replace(mapping(pid=count - 2), vma=None)))
    access = replace(user.permissions, execute=True)
    users += [
        replace(user, process=mapping(pid=pid), permissions=access) for pid in (count - 1, count)
    ]
    return replace(one, users=tuple(users))


ODD_ONES = {3: ABSENT, 70: TORN, 77: DIFFERENT}
FILES: dict[str, Callable[[], str]] = {
    "verify.txt": lambda: to_text(verified(100, ODD_ONES)),
    "regions.txt": lambda: to_text(searched(100, unknown=(7, 70))),
    "alias.txt": lambda: to_text(aliased(100)),
}


@pytest.mark.parametrize("name", FILES)
def test_golden(name: str) -> None:
    matches_golden(GOLDEN / name, FILES[name]())


def test_no_golden_file_is_left_over() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == set(FILES)


@pytest.mark.parametrize("make", [verified, searched, aliased])
def test_few_are_listed(make: Callable[[int], Any]) -> None:
    assert to_text(make(MANY)) == to_text(make(MANY), verbose=True)
    assert "-v lists each" not in to_text(make(MANY))
    assert "-v lists each" in to_text(make(MANY + 1))


@pytest.mark.parametrize("make", [verified, searched, aliased])
def test_verbose_lists_each(make: Callable[[int], Any]) -> None:
    one = make(700)  # several parts of a table
    rows = [line for line in to_text(one, verbose=True).splitlines() if "umh_shm_helper  " in line]
    assert len(rows) == 700
    assert len({line.index("7f8b5feb0000") for line in rows}) == 1
    assert len(to_text(one).splitlines()) < 50


def test_not_touched_is_not_odd() -> None:
    text = to_text(verified(100, dict.fromkeys(range(50), ABSENT)))
    assert "50 SAME, 50 not-present\n" in text
    assert "  1 umh_shm_helper" not in text


def test_many_odd_ones_are_counted_the_worst_first() -> None:
    odd = {**dict.fromkeys(range(ODD + 5), TORN), ODD + 5: DIFFERENT}
    text = to_text(verified(300, odd))
    assert f"1 DIFFERENT, {299 - ODD - 5} SAME, {ODD + 5} torn\n" in text
    rows = [line for line in text.splitlines() if "umh_shm_helper  " in line]
    assert len(rows) == ODD
    assert rows[0].endswith("1 DIFFERENT")
    assert "  and 6 more like these, -v lists each\n" in text


def found(count: int) -> tuple[Finding, ...]:
    """Findings of two rules about each mapping, the second rule's after all of the first's."""
    start = mapping().vma
    assert start is not None
    return tuple(
        Finding(rule, Severity.ERROR, where, f"it is wrong in {pid}")
        for rule in ("frame-is-free", "content-routes-differ")
        for pid in range(1, count + 1)
        for where in (Where(WhereKind.PROCESS, pid=pid, address=start.start),)
    )


def test_findings_are_bounded() -> None:
    one = verified(200, findings=found(200))
    assert to_text(one, verbose=True).count("it is wrong in") == 400
    assert to_text(one).count("it is wrong in") == 100
    assert "and 300 more findings\n" in to_text(one)


def test_junit_has_every_mapping_and_finding() -> None:
    one = verified(300, {7: DIFFERENT}, findings=found(300), target=CORE)
    xml = verify_to_junit(one, lambda kind: ())
    assert xml.count("<testcase ") == 302
    assert xml.count('name="verdict: umh_shm_helper, page 0 (') == 299
    assert 'name="verdict: umh_shm_helper, page 0 (300)"' in xml
    assert xml.count("it is wrong in") == 602  # and each rule's message
    assert [xml.index(f"it is wrong in {pid} ") for pid in range(1, 301)] == sorted(
        xml.index(f"it is wrong in {pid} ") for pid in range(1, 301)
    )


@pytest.mark.parametrize("form", ["text", "json", "junit"])
def test_the_work_is_proportional(form: str) -> None:
    """Calls of Python functions, since time depends on the machine."""
    calls = [_calls(verified(count, findings=found(count)), form) for count in (1000, 4000)]
    assert calls[1] < calls[0] * 5


def _calls(one: Report, form: str) -> int:
    count = 0

    def called(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += 1

    before = sys.getprofile()
    sys.setprofile(called)
    try:
        write_report(one, form, Options(), len)
    finally:
        sys.setprofile(before)
    return count
