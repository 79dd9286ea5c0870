# SPDX-License-Identifier: GPL-2.0-or-later
"""`pageproof diff` of two reports of a running guest. test_vmcore.py has those of its vmcore."""

import time
from pathlib import Path

from auditbugs import BUGS, end_bugs, make_bugs
from machine import (
    START_SECONDS,
    Json,
    Machine,
    Region,
    Result,
    each_kernel,
    each_kernel_at_length,
    pageproof,
)

AUDIT = ("audit", "--format", "json")
VERIFY = ("verify", "--kind", "umh_shm", "--format", "json")
LISTS = ("boot", "regions", "mappings", "verdicts", "frames", "rules")


def saved(path: Path, result: Result) -> Path:
    assert result.code in (0, 1, 3), result.err
    path.write_text(result.out, encoding="utf-8")
    return path


def changes(report: Json) -> dict[str, list[Json]]:
    """Return the changes without notes, which are about content that may change at any time."""
    found = {name: report[name] for name in LISTS if report.get(name)}
    findings = [one for one in report["findings"] if one["finding"]["severity"] != "note"]
    return {**found, **({"findings": findings} if findings else {})}


@each_kernel
def test_a_process_that_comes_and_goes(machine: Machine, tmp_path: Path) -> None:
    machine.load(Region("pages", "insert", 4), allow_any=True)
    machine.map("--pages", "4", "--touch", "0", "1", "2", "3")
    before = saved(tmp_path / "before.json", machine.outside(*VERIFY))
    words = ("--pages", "2", "--first", "1", "--touch", "0", "1")
    mapper = machine.map(*words)
    during = saved(tmp_path / "during.json", machine.outside(*VERIFY))
    came = pageproof("diff", before, during, "--format", "json")
    went = pageproof("diff", during, before, "--format", "json")
    for result, change, side in ((came, "new", "new"), (went, "gone", "old")):
        assert result.code == 0, result.out + result.err
        (mapping,) = result.report["mappings"]
        assert list(changes(result.report)) == ["mappings"]
        assert (mapping["change"], mapping["pid"]) == (change, mapper["pid"])
        (span,) = mapping[side]
        assert (int(span["start"], 16), span["pgoff_pages"]) == (mapper["address"], 1)
    text = pageproof("diff", during, before)
    assert "mapping gone  2 pages  pid " in text.out
    assert text.out.endswith(", none of them for the worse\n")
    machine.end_mappers()
    after = saved(tmp_path / "after.json", machine.outside(*VERIFY))
    gone = pageproof("diff", during, after, "--format", "json").report["mappings"]
    assert [one["change"] for one in gone] == ["gone", "gone"]


@each_kernel
def test_a_page_that_is_not_the_regions_any_more(machine: Machine, tmp_path: Path) -> None:
    """Between two reports the process maps an anonymous page over one page of its mapping."""
    machine.load(Region("pages", "insert", 4), allow_any=True)
    mapper = machine.map("--pages", "4", "--touch", "0", "1", "2", "3", "--later", "1")
    pid, start = str(mapper["pid"]), mapper["address"]
    place = ("verify", "--pid", pid, "--user", f"{start:x}", "--length", "16384")
    named = (*place, "--kernel", "umh_shm_region.kaddr", "--format", "json")
    before = [
        saved(tmp_path / f"before-{number}.json", machine.outside(*words))
        for number, words in enumerate((VERIFY, named))
    ]
    machine.guest.check("kill", "-USR1", pid)
    vmas = ("grep", "-c", "/dev/umh_shm", f"/proc/{pid}/maps")
    deadline = time.monotonic() + START_SECONDS
    while machine.guest.check(*vmas).strip() != "2":
        assert time.monotonic() < deadline, "the page is not replaced"
        time.sleep(0.05)
    after = [
        saved(tmp_path / f"after-{number}.json", machine.outside(*words))
        for number, words in enumerate((VERIFY, named))
    ]
    # verify of the region: its mapping is in two parts now, and the other pages are unchanged.
    result = pageproof("diff", before[0], after[0], "--format", "json")
    assert result.code == 0, result.out + result.err
    assert list(changes(result.report)) == ["mappings"]
    (mapping,) = result.report["mappings"]
    assert (mapping["change"], mapping["aspects"]) == ("changed", ["pages"])
    old, new = (
        [(int(one["start"], 16) - start) // 4096 for one in mapping[side]]
        for side in ("old", "new")
    )
    assert (old, new) == ([0], [0, 2])
    # verify of addresses: one of them belongs to another page now.
    result = pageproof("diff", before[1], after[1], "--format", "json")
    assert result.code == 1, result.out + result.err
    (verdict,) = result.report["verdicts"]
    told = int(verdict["user_address"], 16), verdict["pages"], verdict["new"]["verdict"]
    assert told == (start + 4096, 1, "DIFFERENT")
    assert [one["side"] for one in result.report["frames"]] == ["user"]


@each_kernel
def test_another_load_of_the_module(machine: Machine, tmp_path: Path) -> None:
    """All pages belong to another region now, which is not a regression."""
    machine.load(Region("pages", "insert", 4))
    before = saved(tmp_path / "before.json", machine.outside(*VERIFY))
    machine.load(Region("vmalloc", "insert", 5))
    after = saved(tmp_path / "after.json", machine.outside(*VERIFY))
    result = pageproof("diff", before, after, "--format", "json")
    assert result.code == 0, result.out + result.err
    assert {one["change"] for one in result.report["mappings"]} == {"gone", "new"}
    assert result.report["regions"]
    assert not result.report["boot"]


@each_kernel_at_length
def test_from_inside_and_from_outside(machine: Machine, tmp_path: Path) -> None:
    machine.load()
    inside = saved(tmp_path / "inside.json", machine.inside(*VERIFY))
    outside = saved(tmp_path / "outside.json", machine.outside(*VERIFY))
    result = pageproof("diff", inside, outside, "--format", "json")
    assert (result.code, changes(result.report)) == (0, {}), result.out


@each_kernel_at_length
def test_audits_of_bugs_that_come_and_go(machine: Machine, tmp_path: Path) -> None:
    """One bug in the kernel's own tables, and one in a process's tables."""
    names = ["write-execute", "rights"]
    machine.unload()
    make_bugs(machine, [])
    before = saved(tmp_path / "before.json", machine.outside(*AUDIT))
    made = make_bugs(machine, names)
    during = saved(tmp_path / "during.json", machine.outside(*AUDIT))
    end_bugs(machine, made)
    after = saved(tmp_path / "after.json", machine.outside(*AUDIT))
    for old, new, change, code in ((before, during, "new", 1), (during, after, "gone", 0)):
        result = pageproof("diff", old, new, "--format", "json")
        assert result.code == code, result.out + result.err
        found = changes(result.report)
        assert list(found) == ["findings"], result.out
        told = {(one["change"], one["finding"]["id"]) for one in found["findings"]}
        assert told == {(change, BUGS[name]) for name in names}
        places = [one["finding"]["where"] for one in found["findings"]]
        assert any(place.startswith(f"pid {made.pid} ") for place in places), places
    same = pageproof("diff", before, after, "--format", "json")
    assert (same.code, changes(same.report)) == (0, {}), same.out
    text = pageproof("diff", during, after).out
    assert "gone error: " in text
    assert text.endswith(" changes, none of them for the worse\n"), text
