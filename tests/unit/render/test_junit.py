# SPDX-License-Identifier: GPL-2.0-or-later
"""JUnit XML: suites, cases for mappings and rules, and never a better result than the exit code."""

from dataclasses import replace
from xml.etree.ElementTree import Element

import pytest
from junit import cases, parse
from unit.diffs import ABSENT, DIFFERENT, EXCLUDED, OWNER, SAME, Said, region, use, whole
from unit.facts import (
    LIVE,
    PAGE,
    USER,
    content,
    evidence,
    lost_walk,
    mapping,
    report,
    user_walk,
)

from pageproof import judge
from pageproof.errors import Exit
from pageproof.files.places import read_where
from pageproof.model import Finding, Outcome, Report, Severity, TaskFault
from pageproof.model.asked import Expectation
from pageproof.model.where import NOWHERE
from pageproof.render.junit.verify import verify_to_junit

RULES = ("frame-is-free", "content-routes-differ")
SUITE = "umh_shm: /dev/umh_shm, kzalloc, remap"


def junit(one: Report, *rules: str, strict: bool = True) -> Element:
    return parse(verify_to_junit(one, lambda kind: rules, strict=strict))


def text_of(root: Element, name: str) -> str:
    (case,) = (one for one in root.iter("testcase") if one.get("name") == name)
    return "\n".join(f"{one.get('message')}\n{one.text}" for one in case)


def test_a_sound_page() -> None:
    root = junit(report(evidence()), *RULES)
    assert cases(root) == {
        f"{SUITE}/verdict: umh_shm_helper, page 0": "",
        f"{SUITE}/rule frame-is-free": "",
        f"{SUITE}/rule content-routes-differ": "",
    }
    assert "pid 133 (umh_shm_helper), 7f8b5feb0000-7f8b5feb1000\npage 0: SAME" in text_of(
        root, "verdict: umh_shm_helper, page 0"
    )
    facts = {one.get("name"): one.get("value") for one in root.iter("property")}
    assert facts == {
        "target": "elf vmcore, vmcore",
        "kernel": "6.1.0-56-cloud-amd64",
        "owner": "struct umh_shm_region ffff888003400000",
        "pages": "1",
    }


def test_names_have_no_pid_and_no_address() -> None:
    """CI servers match the cases of two runs by these names."""
    other = replace(mapping(pid=9), mm=0xFFFF_8880_0999_0000)
    both = [evidence(), replace(evidence(), mapping=1)]
    one = report(*both, pages=1, mappings=(mapping(), other))
    names = {case.get("name") for case in junit(one).iter("testcase")}
    assert names == {"verdict: umh_shm_helper, page 0", "verdict: umh_shm_helper, page 0 (2)"}


def test_regions_of_one_name_are_told_apart() -> None:
    two = whole(region(use((8, SAME))), region(use((8, SAME), pid=9), owner=OWNER + 64))
    suites = [suite.get("name") for suite in junit(two)]
    assert suites == ["io_uring rings: [io_uring]", "io_uring rings: [io_uring] (2)"]
    classes = {case.get("classname") for case in junit(two).iter("testcase")}
    assert len(classes) == 2


def test_a_dot_makes_no_package() -> None:
    (suite,) = whole(region(use((8, SAME)))).regions
    dotted = replace(whole(region(use((8, SAME)))), regions=(replace(suite, name="ring.so.1"),))
    (case,) = junit(dotted).iter("testcase")
    assert case.get("classname") == "pageproof.io_uring rings: ring_so_1"


@pytest.mark.parametrize(
    ("runs", "strict", "outcome", "said"),
    [
        ([(8, SAME)], True, "", "pages 0-7: SAME"),
        ([(2, SAME), (1, DIFFERENT), (5, SAME)], False, "failure", "1 of 8 pages DIFFERENT"),
        ([(7, EXCLUDED), (1, DIFFERENT)], False, "failure", "pages 0-6: excluded\npage 7: DIFFER"),
        ([(7, SAME), (1, EXCLUDED)], False, "error", "1 of 8 pages UNKNOWN"),
        ([(7, SAME), (1, ABSENT)], True, "error", "1 of 8 pages UNKNOWN"),
        ([(7, SAME), (1, ABSENT)], False, "", "page 7: not-present"),
        ([(8, ABSENT)], True, "error", "8 of 8 pages UNKNOWN"),
        ([(8, ABSENT)], False, "skipped", "nobody has touched its pages"),
        ([(7, ABSENT), (1, EXCLUDED)], False, "error", "1 of 8 pages UNKNOWN"),
    ],
)
def test_a_mapping(runs: list[tuple[int, Said]], strict: bool, outcome: str, said: str) -> None:
    sound = region(use((1, SAME), pid=9), owner=OWNER + 64, kind="perf", pages=1)
    root = junit(whole(region(use(*runs)), sound), strict=strict)
    name = "verdict: umh_shm_helper, pages 0-7"
    assert cases(root)[f"io_uring rings: [io_uring]/{name}"] == outcome
    assert said in text_of(root, name)


def test_what_is_wrong_with_a_page_is_told() -> None:
    root = junit(report(evidence(0), evidence(1, user=user_walk(1, frame=0x7654_3000))))
    text = text_of(root, "verdict: umh_shm_helper, pages 0-1")
    assert "1 of 2 pages DIFFERENT" in text
    assert "page 1 of pid 133 (umh_shm_helper): the two addresses lead to different" in text


def test_a_rule_that_fired() -> None:
    """Errors are the failure of the case, with the place, the sentence and the number of pages."""
    free = replace(PAGE, buddy=True, flags_words="buddy")
    root = junit(report(*(replace(evidence(page), page=free) for page in range(3))), *RULES)
    assert cases(root) == {
        f"{SUITE}/verdict: umh_shm_helper, pages 0-2": "",
        f"{SUITE}/rule frame-is-free": "failure",
        f"{SUITE}/rule content-routes-differ": "",
    }
    text = text_of(root, "rule frame-is-free")
    assert "pages 0-2, pid 133 at 0x7f8b5feb0000-0x7f8b5feb2fff: a process maps a" in text
    assert ", and 2 more\n" in text
    assert text.count("[frame-is-free]") == 1
    assert "flags: buddy" in text


def test_a_rule_that_nobody_named_is_a_case_too() -> None:
    free = replace(PAGE, hwpoison=True)
    root = junit(report(replace(evidence(), page=free)), *RULES)
    assert cases(root)[f"{SUITE}/rule frame-is-poisoned"] == "failure"


def test_a_note_is_no_failure() -> None:
    root = junit(report(replace(evidence(), content=content(zero=True))), "content-all-zero")
    assert set(cases(root).values()) == {""}
    (out,) = (one.text for one in root[0] if one.tag == "system-out")
    assert out is not None
    assert out.startswith("note: page 0, pid 133 at 0x7f8b5feb0000: the page is all zeros")


def test_without_evidence_no_rule_was_applied() -> None:
    root = junit(whole(region(use((8, SAME)))), *RULES)
    assert list(cases(root)) == ["io_uring rings: [io_uring]/verdict: umh_shm_helper, pages 0-7"]


def finding(where: str, severity: Severity = Severity.ERROR) -> Finding:
    return Finding("mapping-beyond-region", severity, read_where(where), "it reaches too far")


def test_a_finding_of_a_mapping_stands_with_its_region() -> None:
    own = finding(f"pid 133 at 0x{USER:x}")
    one = whole(region(use((8, SAME))), findings=(own,))
    assert cases(junit(one)) == {
        "io_uring rings: [io_uring]/verdict: umh_shm_helper, pages 0-7": "",
        "io_uring rings: [io_uring]/rule mapping-beyond-region": "failure",
    }


@pytest.mark.parametrize("where", ["pid 133", f"pid 33 at 0x{USER:x}", ""])
def test_a_finding_of_no_mapping_stands_alone(where: str) -> None:
    one = whole(region(use((8, SAME))), findings=(finding(where),))
    assert cases(junit(one))["verify/rule mapping-beyond-region"] == "failure"


def test_addresses_that_the_user_named() -> None:
    pages = [
        replace(one, region=None, page_index=None)
        for one in (evidence(0), evidence(1, user=user_walk(1, frame=0)), evidence(2))
    ]
    lost = replace(evidence(3, user=lost_walk(Outcome.NONE, 3)), region=None, page_index=None)
    root = junit(replace(report(*pages, lost), regions=()), *RULES)
    told = {name: outcome for name, outcome in cases(root).items() if "verdict" in name}
    assert list(told.values()) == ["", "failure", "", "error"]
    assert next(iter(told)) == f"addresses/verdict: umh_shm_helper, 0x{USER:x}"
    assert "different frames" in text_of(root, f"verdict: umh_shm_helper, 0x{USER + 4096:x}")


# Never better than the exit code


def test_of_nothing() -> None:
    note = Finding("nothing-to-verify", Severity.NOTE, NOWHERE, "no process maps it")
    root = junit(whole(findings=(note,)), *RULES)
    assert cases(root) == {"verify/everything was decided": "error"}
    text = text_of(root, "everything was decided")
    assert text.startswith("nothing was verified\nnote: no process maps it")


def test_a_task_that_could_not_be_searched() -> None:
    """All pages are SAME, and the exit code is 3."""
    one = report(evidence(), faults=(TaskFault(7, "sh", "gone"),), target=LIVE)
    assert one.summary.exit_code == Exit.UNDECIDED
    root = junit(one)
    assert cases(root)["verify/everything was decided"] == "error"
    assert "pid 7 sh: this task could not be searched" in text_of(root, "everything was decided")


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("other", [SAME, ABSENT, EXCLUDED, DIFFERENT])
@pytest.mark.parametrize("unread", [True, False])
def test_it_says_what_the_exit_code_says(strict: bool, other: Said, unread: bool) -> None:
    findings = (judge.unread("perf", USER, "cannot read"),) * unread
    one = whole(region(use((4, SAME), (4, other))), findings=findings)
    summary = judge.summarize((), findings, (), one.regions, strict=strict)
    root = junit(replace(one, summary=summary), strict=strict)
    failures, errors = (int(root.get(name) or 0) for name in ("failures", "errors"))
    code = Exit.WRONG if failures else Exit.UNDECIDED if errors else Exit.SOUND
    assert summary.exit_code == code


def test_a_process_may_have_any_name() -> None:
    """XML allows no control characters, not even escaped ones."""
    odd = replace(mapping(), comm="a\x1b[31m<b>&\udc80\x00")
    root = junit(report(evidence(), mappings=(odd,)))
    (case,) = root.iter("testcase")
    assert case.get("name") == "verdict: a\\x1b[31m<b>&\\udc80\\x00, page 0"


# Which rules are applied


def test_rules_that_find_errors() -> None:
    applied = judge.rule_ids("shmem")
    assert {"wrong-frame", "frame-is-free", "operations-gone"} <= set(applied)
    errors = {rule.id for rule in judge.RULES if rule.severity is Severity.ERROR}
    assert set(applied) < errors


@pytest.mark.parametrize(
    ("rule", "kind", "expected", "of_device"),
    [
        ("slot-state-impossible", "umh_shm", (), False),
        ("inherited", "device", (Expectation.NO_CHILD,), False),
        ("writable-read-only", "device", (Expectation.READ_ONLY,), False),
        ("may-become-writable", "device", (Expectation.READ_ONLY,), False),
        ("region-is-freed", "device", (), True),
    ],
)
def test_rules_that_are_not_always_applied(
    rule: str, kind: str, expected: tuple[Expectation, ...], of_device: bool
) -> None:
    assert rule in judge.rule_ids(kind, expected, of_device=of_device)
    assert rule not in judge.rule_ids("device")
