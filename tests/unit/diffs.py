# SPDX-License-Identifier: GPL-2.0-or-later
"""Hand-made reports to compare: regions, mappings and verdicts in few words."""

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
from unit.facts import USER, mapping, report

import pageproof
from pageproof import judge
from pageproof.files.places import read_where
from pageproof.judge.diff import diff
from pageproof.model import (
    Finding,
    MappingFacts,
    PageRun,
    ProvedRegion,
    ProvedUse,
    Reason,
    Report,
    Severity,
    Verdict,
)
from pageproof.model.diff import DiffReport
from pageproof.render.jsonform import report_to_json

SCHEMA = Path(pageproof.__file__).parent / "schema" / "diff-1.json"
OWNER = 0xFFFF_8880_0510_2000
SAME = Verdict.SAME, None
DIFFERENT = Verdict.DIFFERENT, None
ABSENT = Verdict.UNKNOWN, Reason.NOT_PRESENT
EXCLUDED = Verdict.UNKNOWN, Reason.EXCLUDED
Said = tuple[Verdict, Reason | None]
Use = tuple[MappingFacts, Sequence[tuple[int, Said]]]


def use(
    *runs: tuple[int, Said], first: int = 0, base: int = USER, pid: int = 133, flags: int = 0xD1
) -> Use:
    """A VMA with verdicts of all its pages; base is where the file's first page would be."""
    pages = sum(count for count, _ in runs)
    facts = mapping(first, pages, pid)
    assert facts.vma is not None
    start = base + first * 4096
    words = "READ|MAYREAD|MAYEXEC|MAYSHARE" + "|WRITE" * bool(flags & 2)
    vma = replace(
        facts.vma, start=start, end=start + pages * 4096, vm_flags=flags, vm_flags_words=words
    )
    return replace(facts, vma=vma), runs


def region(*uses: Use, owner: int = OWNER, pages: int = 8, kind: str = "io_uring") -> Any:
    """A region, with all that maps it; ``whole`` puts it into a report."""
    return owner, pages, kind, uses


def whole(*regions: Any, findings: tuple[Finding, ...] = ()) -> Report:
    mappings: list[MappingFacts] = []
    made = []
    for owner, pages, kind, uses in regions:
        proved = []
        for facts, said in uses:
            runs, at = [], 0
            for count, (verdict, reason) in said:
                runs.append(PageRun(at, count, verdict, reason))
                at += count
            assert facts.vma is not None
            proved.append(ProvedUse(len(mappings), facts.vma.pgoff_pages, tuple(runs)))
            mappings.append(facts)
        name = f"[{kind}]"
        made.append(
            ProvedRegion(kind, "rings", name, owner, f"struct {kind}_ctx", pages, tuple(proved))
        )
    empty = report(pages=0, mappings=(), findings=findings)
    return replace(
        empty,
        region=None,
        regions=tuple(made),
        mappings=tuple(mappings),
        summary=judge.summarize((), findings, (), made, strict=False),
    )


def compare(old: Report, new: Report) -> DiffReport:
    """Both ways through JSON's schema, so that each test checks that too."""
    found = diff(old, new, "old.json", "new.json")
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(json.loads(report_to_json(found)))
    return found


def code(found: DiffReport) -> int:
    return found.summary.exit_code


SOUND = region(use((8, SAME)))


def finding(
    severity: Severity = Severity.ERROR, where: str = "page 0, pid 133", name: str = "wrong-frame"
) -> Finding:
    return Finding(name, severity, read_where(where), "this is wrong")


def rebooted(one: Report) -> Report:
    return replace(one, paging=replace(one.paging, page_offset_base=0xFF11_0000_0000_0000))


def shuffled(one: Report, chance: random.Random) -> Report:
    """The same report, with all lists in another order."""
    numbers = list(range(len(one.mappings)))
    chance.shuffle(numbers)
    regions = []
    for proved in one.regions:
        uses = [
            replace(
                one_use,
                mapping=numbers.index(one_use.mapping),
                runs=tuple(chance.sample(one_use.runs, len(one_use.runs))),
            )
            for one_use in proved.uses
        ]
        chance.shuffle(uses)
        regions.append(replace(proved, uses=tuple(uses)))
    chance.shuffle(regions)
    return replace(
        one,
        regions=tuple(regions),
        mappings=tuple(one.mappings[number] for number in numbers),
        findings=tuple(chance.sample(one.findings, len(one.findings))),
    )


def busy() -> tuple[Report, Report]:
    """A bit of everything."""
    old = whole(
        region(use((8, SAME)), use((4, SAME), pid=200), use((2, ABSENT), (2, SAME), pid=201)),
        region(use((2, SAME), base=USER + 0x80_0000), owner=OWNER + 64, kind="perf", pages=2),
        findings=(finding(), finding(Severity.NOTE, "page 3, pid 133", "content-all-zero")),
    )
    new = whole(
        region(
            use((3, SAME)),
            use((1, SAME), (3, DIFFERENT), first=4),
            use((4, SAME), pid=200, base=USER + 0x10_0000),
            use((1, SAME), (3, ABSENT), pid=201, flags=0xD3),
        ),
        region(use((5, ABSENT), pid=202), owner=OWNER + 128, kind="bpf", pages=5),
        findings=(
            finding(where="page 5, pid 133"),
            finding(where="page 6, pid 133"),
            finding(Severity.WARNING, "pid 201 sleep", "task-unreadable"),
        ),
    )
    return old, new
