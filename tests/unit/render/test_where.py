# SPDX-License-Identifier: GPL-2.0-or-later
"""Places as text, and back: baselines and older reports have nothing but the text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from unit.facts import report

from pageproof.errors import PageproofError
from pageproof.files.places import read_where
from pageproof.files.saved import read_report
from pageproof.model import Finding, Report, Severity
from pageproof.model.where import (
    INIT_MM,
    NOWHERE,
    Space,
    Where,
    WhereKind,
    all_tables,
    frames,
    in_process,
    in_space,
    named_region,
    task,
    top_entry,
)
from pageproof.render.findings import spans
from pageproof.render.jsonform import report_to_json
from pageproof.render.where import where_words

#: Names that processes may give themselves.
NAMES = ("init", "a, 1-2", "a), entry 5 (b", "(a)", "", "a\nb", "\x1b[31m", ", 7f00-7fff")
POKING = Space(None, tables="poking_mm")
PLACES: dict[str, Where] = {
    "": NOWHERE,
    "PFN 0x7": frames(7),
    "PFN 0x9-0xb": frames(9, 0xB),
    "section 5, PFN 0x28000": Where(WhereKind.SECTION, section=5, frame=0x28000),
    "VMA at 0xffff888003456780": Where(WhereKind.VMA, address=0xFFFF_8880_0345_6780),
    "0000000000001000-0000000000001fff": Where(WhereKind.KERNEL, address=0x1000, last=0x1FFF),
    "init_mm, ffffc90000000000": in_space(INIT_MM, 0xFFFF_C900_0000_0000),
    "poking_mm, entry 300": top_entry(POKING, 300),
    "init_mm, user half, entry 3": top_entry(INIT_MM, 3, user_half=True),
    "init_mm, user half": all_tables("init_mm, user half"),
    "efi_mm": all_tables("efi_mm"),
    "pid 133": in_process(133),
    "pid 133 at 0x7f8b5feb0000": in_process(133, 0x7F8B_5FEB_0000),
    "page 3, pid 133 at 0x7f8b5feb3000": in_process(133, 0x7F8B_5FEB_3000, page=3),
    "[io_uring], pid 133 at 0x1000": in_process(133, 0x1000, region="[io_uring]"),
    "a, b, pid 133": in_process(133, region="a, b"),
    "umh_shm_region": named_region("umh_shm_region"),
    "physmap at ffff888000000000": Where(WhereKind.ROW, row="physmap", address=0xFFFF_8880 << 32),
}
for _name in NAMES:
    _space = f"pid 7 ({_name})"
    PLACES |= {
        f"{_space}, 1000-1fff": in_space(Space(7, _name), 0x1000, 0x1FFF),
        f"{_space}, 8000": in_space(Space(7, _name), 0x8000),
        f"{_space}, entry 300": top_entry(Space(7, _name), 300),
        f"{_space}, user half, entry 0": top_entry(Space(7, _name), 0, user_half=True),
        f"pid 7 {_name}": task(7, _name),
    }


@pytest.mark.parametrize(("text", "where"), PLACES.items())
def test_there_and_back(text: str, where: Where) -> None:
    assert where_words(where) == text
    assert read_where(text) == where


@pytest.mark.parametrize(
    "text", ["a", "page 3", "pid x", "7f00-7fff", "PFN 7", "pid 7 (a)", "0x5", "pid 7 (a), z"]
)
def test_any_text_comes_back(text: str) -> None:
    assert where_words(read_where(text)) == text


def test_the_text_of_a_run_of_pages() -> None:
    """It is made for people: nothing reads it back."""
    some = [
        Finding("x", Severity.NOTE, in_process(7, 0x1000 + page * 4096, page=2 + page), "y")
        for page in range(3)
    ]
    (one,) = spans(some)
    assert where_words(one.where) == "pages 2-4, pid 7 at 0x1000-0x3fff"
    without = [Finding("x", Severity.NOTE, in_process(7, at), "y") for at in (0x1000, 0x2000)]
    assert [where_words(one.where) for one in spans(without)] == ["pid 7 at 0x1000-0x2fff"]


@pytest.mark.parametrize(
    "others",
    [
        in_process(8, 0x2000, page=3),
        in_process(7, 0x3000, page=3),
        in_process(7, 0x2000, page=4),
        in_process(7, 0x2000),
        in_process(7, page=3),
        in_process(7, 0x2000, region="a"),
    ],
)
def test_places_that_do_not_adjoin(others: Where) -> None:
    some = [
        Finding("x", Severity.NOTE, where, "y") for where in (in_process(7, 0x1000, page=2), others)
    ]
    assert list(spans(some)) == some


def test_json_has_the_text_and_the_data() -> None:
    one = Finding("x", Severity.NOTE, top_entry(Space(7, "a"), 0), "y")
    assert json.loads(report_to_json(one)) == {
        "id": "x",
        "severity": "note",
        "where": "pid 7 (a), entry 0",
        "sentence": "y",
        "evidence": [],
        "place": {"kind": "entry", "pid": 7, "comm": "a", "entry": 0},
    }
    nowhere = Finding("x", Severity.NOTE, NOWHERE, "y")
    assert json.loads(report_to_json(nowhere))["place"] == {"kind": "nowhere"}


def test_a_place_has_what_its_kind_needs() -> None:
    with pytest.raises(ValueError, match="a place of kind entry needs entry, pid, comm"):
        Where(WhereKind.ENTRY)


def test_a_space_of_the_kernels_has_no_pid_and_no_comm() -> None:
    for one in (in_space(INIT_MM, 0x1000), top_entry(INIT_MM, 3)):
        assert (one.pid, one.comm, one.tables, one.space) == (None, None, "init_mm", INIT_MM)
    for one in (in_space(Space(7, ""), 0x1000), top_entry(Space(7, ""), 3)):
        assert (one.pid, one.comm, one.tables, one.space) == (7, "", None, Space(7))


def test_places_have_an_order() -> None:
    some = [
        in_process(9),
        in_process(10),
        in_process(10, 5),
        in_process(10, 0x10),
        in_process(3, page=1),
        in_process(3, region="b"),
        named_region("a"),
    ]
    mixed = list(reversed(some))
    assert sorted(mixed, key=lambda one: one.order) == some


FOUND = tuple(Finding("x", Severity.NOTE, where, "y") for where in PLACES.values())


def saved(tmp_path: Path, place: object = None, *, older: bool = False) -> Report:
    data = json.loads(report_to_json(report(findings=FOUND)))
    for one in data["findings"]:
        if older:
            del one["place"]
        elif place is not None:
            one["place"] = place
    path = tmp_path / "report.json"
    path.write_text(json.dumps(data))
    read = read_report(path)
    assert isinstance(read, Report)
    return read


@pytest.mark.parametrize("older", [False, True])
def test_a_saved_report_has_the_places_that_were_written(tmp_path: Path, older: bool) -> None:
    assert saved(tmp_path, older=older).findings == FOUND


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("x", "findings[0].place must be an object"),
        ({}, "findings[0].place.kind is missing"),
        ({"kind": "x"}, "findings[0].place.kind is 'x', not one of nowhere"),
        ({"kind": "task", "pid": 7}, "findings[0].place: a place of kind task needs comm"),
        ({"kind": "vma", "address": 7}, 'findings[0].place.address must be "0x'),
    ],
)
def test_a_broken_place_is_refused(tmp_path: Path, place: object, message: str) -> None:
    with pytest.raises(PageproofError) as raised:
        saved(tmp_path, place)
    assert message in str(raised.value)
