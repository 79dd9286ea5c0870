# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading reports back from JSON, and `diff` of files that are not reports."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from unit.facts import LIVE, PAGING, evidence, lost_walk, mapping, report
from unit.front.test_cli import PACKAGE_ROOT, run
from unit.judge.test_diff_audit import audited, rule

from pageproof.errors import Exit, PageproofError
from pageproof.files.saved import read_report
from pageproof.model import Outcome, Report, SwapLayout, TaskFault
from pageproof.render.jsonform import report_to_json


def rich() -> Report:
    """Return a report with values that are null in others: swap types, faults, no frame."""
    some = report(
        evidence(0),
        evidence(1, user=lost_walk(Outcome.NONE, 1)),
        mappings=(mapping(0, 2),),
        faults=(TaskFault(7, "sh", "gone"),),
        target=replace(LIVE, notes=("a note",)),
    )
    swap = SwapLayout((30, 1), (31, 2), (0, 0), (29, 1))
    mappings = (*some.mappings, replace(mapping(), vma=None))
    paging = replace(PAGING, swap=swap, vmalloc_base=None)
    return replace(some, paging=paging, mappings=mappings)


AUDIT = audited(rule("maps-free", "pid 7", known=("pid 8",)), rule("maps-slab", reason="lost"))


def saved(folder: Path, text: str) -> Path:
    path = folder / "report.json"
    path.write_text(text, encoding="utf-8")
    return path


def test_what_was_written_is_read(tmp_path: Path) -> None:
    assert read_report(saved(tmp_path, report_to_json(rich()))) == rich()


def test_an_audit_that_was_written_is_read(tmp_path: Path) -> None:
    assert read_report(saved(tmp_path, report_to_json(AUDIT))) == AUDIT


def test_a_field_of_a_later_pageproof_is_left_alone(tmp_path: Path) -> None:
    document = json.loads(report_to_json(rich()))
    document["expected"] = ["read-only"]
    document["target"]["host"] = 1
    assert read_report(saved(tmp_path, json.dumps(document))) == rich()


def test_what_older_reports_lack_has_a_default(tmp_path: Path) -> None:
    """The answer of drgn's opinion was added to the schema later."""
    document = json.loads(report_to_json(rich()))
    for one in document["proofs"]:
        for side in ("kernel_second", "user_second"):
            assert one["evidence"][side].pop("answer") == "agrees"
            del one["evidence"][side]["silence"]
    old = read_report(saved(tmp_path, json.dumps(document)))
    assert isinstance(old, Report)
    assert {one.evidence.user_second.answer for one in old.proofs} == {None}
    assert {one.evidence.user_second.silence for one in old.proofs} == {""}


BAD: list[tuple[tuple[str | int, ...], object, str]] = [
    (("target",), [], "target must be an object"),
    (("mappings",), {}, "mappings must be a list"),
    (("paging", "levels"), "4", "paging.levels must be an integer"),
    (("paging", "levels"), True, "paging.levels must be an integer"),
    (("paging", "pti"), 1, "paging.pti must be true or false"),
    (("paging", "phys_base"), 4096, 'paging.phys_base must be "0x…"'),
    (("paging", "phys_base"), "0x", 'paging.phys_base must be "0x…"'),
    (("paging", "phys_base"), "-0x1", 'paging.phys_base must be "0x…"'),
    (("paging", "phys_base"), "0x1" + "0" * 16, 'paging.phys_base must be "0x…"'),
    (("paging", "swap", "marker"), [1], "paging.swap.marker must have 2 items"),
    (("target", "release"), None, "target.release must be a string"),
    (("target", "release"), "\ud800", "target.release is not valid text"),
    (("target", "notes", 0), 5, "target.notes[0] must be a string"),
    (("times", "verify_seconds"), "0", "times.verify_seconds must be a number"),
    (("proofs", 1, "verdict"), "MAYBE", "proofs[1].verdict is 'MAYBE', not one of SAME, DIFFERENT"),
    (("proofs", 0, "evidence", "mapping"), 2, "proofs[0].evidence.mapping is 2, and there are 2"),
    (("proofs", 0, "evidence", "region"), -1, "proofs[0].evidence.region is -1, and there are 1"),
    (("regions", 0, "uses", 0, "mapping"), 9, "regions[0].uses[0].mapping is 9, and there are 2"),
    (("regions", 0, "uses", 0, "mapping"), 1, "regions[0].uses[0]: its mapping has no VMA"),
    (("regions", 0, "uses", 0, "runs", 0, "pages"), 0, "regions[0].uses[0].runs: each must have"),
]


def changed(path: tuple[str | int, ...], value: object) -> str:
    document = json.loads(report_to_json(rich()))
    at: Any = document
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return json.dumps(document)


@pytest.mark.parametrize(("path", "value", "message"), BAD, ids=lambda one: str(one)[:40])
def test_a_broken_field(
    tmp_path: Path, path: tuple[str | int, ...], value: object, message: str
) -> None:
    with pytest.raises(PageproofError) as caught:
        read_report(saved(tmp_path, changed(path, value)))
    assert caught.value.what.startswith(f"this report is broken: {message}")


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (("summary",), "summary"),
        (("regions", 0, "owner"), "regions[0].owner"),
        (("proofs", 0, "evidence", "user_walk", "pfn"), "proofs[0].evidence.user_walk.pfn"),
    ],
)
def test_a_field_that_is_missing(tmp_path: Path, path: tuple[str | int, ...], place: str) -> None:
    document = json.loads(report_to_json(rich()))
    at: Any = document
    for key in path[:-1]:
        at = at[key]
    del at[path[-1]]
    with pytest.raises(PageproofError) as caught:
        read_report(saved(tmp_path, json.dumps(document)))
    assert caught.value.what == f"this report is broken: {place} is missing"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda one: one["findings"][0].pop("where"), "findings[0].where is missing"),
        (lambda one: one["findings"][0].pop("id"), "findings[0].id is missing"),
        (lambda one: one["accepted"][0].pop("severity"), "accepted[0].severity is missing"),
        (lambda one: one["outcomes"][1].pop("reason"), "outcomes[1].reason is missing"),
        (lambda one: one.pop("outcomes"), "outcomes is missing"),
        (
            lambda one: one["outcomes"][0].update(ruling="bad"),
            "outcomes[0].ruling is 'bad', not one of sound, findings, unknown",
        ),
        (
            lambda one: one["outcomes"][0].update(findings=-1),
            "outcomes[0]: a count is less than 0",
        ),
        (
            lambda one: one["outcomes"][1].update(findings=1),
            "outcomes[1]: it has findings, but none is listed",
        ),
    ],
)
def test_a_broken_audit(tmp_path: Path, change: Callable[[Any], object], message: str) -> None:
    document = json.loads(report_to_json(AUDIT))
    change(document)
    with pytest.raises(PageproofError) as caught:
        read_report(saved(tmp_path, json.dumps(document)))
    assert caught.value.what == f"this report is broken: {message}"
    assert "pageproof audit --format json" in caught.value.remedy


def cut(document: str) -> str:
    return document[: len(document) // 2]


def other_schema(name: str) -> Callable[[str], str]:
    return lambda document: document.replace("pageproof/report-1", name, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (cut, "this report is cut off in line "),
        (lambda document: document[:-3], "this report is cut off in line "),
        (lambda document: document[: document.index("6.1.0") + 2], "this report is cut off in"),
        (lambda document: "", "this file is empty"),
        (lambda document: "SAME  page 0 of pid 133", "this is not JSON: Expecting value, line 1"),
        (lambda document: "[]", "this is not a report of pageproof"),
        (lambda document: "{}", "this is not a report of pageproof"),
        (lambda document: "[" * 100_000, "this is not a report: nested too deeply"),
        (lambda document: document.replace("0.03", "NaN"), "NaN is not a JSON number"),
        (other_schema("somebody/report-1"), "this is not a report of pageproof"),
        (other_schema("pageproof/walk-1"), "a report of another kind: pageproof/walk-1"),
        (other_schema("pageproof/report-2"), "from a newer pageproof: pageproof/report-2"),
    ],
)
def test_diff_of_what_is_no_report(
    tmp_path: Path, change: Callable[[str], str], message: str
) -> None:
    """The result is one line and exit code 2, whichever of the two files it is."""
    good = tmp_path / "good.json"
    good.write_text(report_to_json(report(evidence())), encoding="utf-8")
    bad = saved(tmp_path, change(good.read_text(encoding="utf-8")))
    for words in ((good, bad), (bad, good)):
        got = run("diff", *map(str, words))
        assert (got.returncode, got.stdout) == (Exit.USAGE, "")
        assert message in got.stderr
        assert str(bad) in got.stderr
        assert got.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (cut, "this report is cut off in line "),
        (
            lambda document: document.replace("pageproof/audit-1", "pageproof/audit-2", 1),
            "from a newer pageproof: pageproof/audit-2, and this one reads pageproof/audit-1",
        ),
        (
            lambda document: document.replace("pageproof/audit-1", "pageproof/auditdiff-1", 1),
            "a report of another kind: pageproof/auditdiff-1",
        ),
        (
            lambda document: report_to_json(report(evidence())),
            "these are reports of two kinds: pageproof/",
        ),
    ],
)
def test_diff_of_an_audit_and_what_is_none(
    tmp_path: Path, change: Callable[[str], str], message: str
) -> None:
    good = tmp_path / "good.json"
    good.write_text(report_to_json(AUDIT), encoding="utf-8")
    bad = saved(tmp_path, change(good.read_text(encoding="utf-8")))
    for words in ((good, bad), (bad, good)):
        got = run("diff", *map(str, words))
        assert (got.returncode, got.stdout) == (Exit.USAGE, "")
        assert message in got.stderr
        assert str(bad) in got.stderr
        assert got.stderr.count("\n") == 1


def test_diff_of_audits_on_the_command_line(tmp_path: Path) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    old.write_text(report_to_json(audited(rule())), encoding="utf-8")
    new.write_text(report_to_json(audited(rule("maps-free", "pid 7"))), encoding="utf-8")
    worse = run("diff", str(old), str(new))
    assert worse.returncode == Exit.WRONG
    assert "new error: maps-free is wrong [maps-free; pid 7]\n" in worse.stdout
    better = run("diff", str(new), str(old), "--format", "json")
    assert better.returncode == Exit.SOUND
    assert json.loads(better.stdout)["schema"] == "pageproof/auditdiff-1"


def test_diff_of_what_can_not_be_read(tmp_path: Path) -> None:
    binary = tmp_path / "vmcore"
    binary.write_bytes(b"\x7fELF\xff\xfe")
    for path, message in (
        (tmp_path / "none.json", "No such file or directory"),
        (tmp_path, "Is a directory"),
        (binary, "this is not a report, but binary data"),
    ):
        got = run("diff", str(path), str(path))
        assert (got.returncode, got.stdout) == (Exit.USAGE, "")
        assert message in got.stderr
        assert got.stderr.count("\n") == 1


def test_diff_on_the_command_line(tmp_path: Path) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    old.write_text(report_to_json(report(evidence())), encoding="utf-8")
    new.write_text(report_to_json(report(evidence(user=lost_walk(Outcome.NONE)))), encoding="utf-8")
    same = run("diff", str(old), str(old))
    assert (same.returncode, same.stdout.splitlines()[-1]) == (Exit.SOUND, "nothing has changed")
    undecided = run("diff", str(old), str(new), "--format", "json")
    assert undecided.returncode == Exit.UNDECIDED
    assert json.loads(undecided.stdout)["schema"] == "pageproof/diff-1"
    into = tmp_path / "diff.txt"
    assert run("diff", str(old), str(new), "-o", str(into)).stdout == ""
    assert "not-present, was SAME" in into.read_text(encoding="utf-8")


def test_diff_looks_at_no_target(tmp_path: Path) -> None:
    """It has no target options and does not import drgn."""
    got = run("-c", "vmcore", "diff", "a", "b")
    assert got.returncode == Exit.USAGE
    assert "diff reads no target" in got.stderr
    (tmp_path / "drgn.py").write_text("raise ImportError('not here')\n")
    path = saved(tmp_path, report_to_json(report(evidence())))
    got = run("diff", str(path), str(path), PYTHONPATH=f"{tmp_path}:{PACKAGE_ROOT}")
    assert (got.returncode, got.stderr) == (Exit.SOUND, "")
