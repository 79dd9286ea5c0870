# SPDX-License-Identifier: GPL-2.0-or-later
"""Compare two reports of ``verify``: a live one and the later vmcore's, or any two.

Each change is reported once: for a mapping that is gone, its pages are not listed. The order of
the lists in a report does not matter; the lists of the comparison are sorted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from pageproof import __version__
from pageproof.errors import Exit
from pageproof.judge.diff.boot import boot_differences
from pageproof.judge.diff.changes import frame_changes, mapping_changes, verdict_changes
from pageproof.judge.diff.findings import finding_changes, new_errors
from pageproof.judge.diff.pages import Pages, pair
from pageproof.model import Finding, Report, Verdict
from pageproof.model.diff import (
    DIFF_SCHEMA,
    Change,
    Compared,
    Difference,
    DiffReport,
    DiffSummary,
    FrameChange,
    MappingChange,
    RegionChange,
    RegionName,
    VerdictChange,
)

__all__ = ["diff"]

#: The worst comes first.
_VERDICTS: Final = [Verdict.DIFFERENT, Verdict.UNKNOWN, Verdict.SAME]
_CHANGES: Final = list(Change)
_NOT_COUNTED: Final = DiffSummary(0, 0, 0, 0, 0)


def diff(old: Report, new: Report, old_path: str, new_path: str) -> DiffReport:
    """Compare two reports.

    Args:
        old: the older one.
        new: the newer one.
        old_path: where it was read.
        new_path: where it was read.
    """
    boot = tuple(boot_differences(old, new))
    told = DiffReport(
        schema=DIFF_SCHEMA,
        version=__version__,
        old=Compared(old_path, old.version, old.target, old.summary),
        new=Compared(new_path, new.version, new.target, new.summary),
        boot=boot,
        regions=(),
        mappings=(),
        verdicts=(),
        frames=(),
        findings=finding_changes(
            Counter(_findings(old)), Counter(_findings(new)), by_place=not boot
        ),
        summary=_NOT_COUNTED,
    )
    if not boot:
        before, after = Pages.of(old), Pages.of(new)
        pairs = pair(before, after)
        told = replace(
            told,
            regions=_sorted_regions(before, after),
            mappings=tuple(sorted(mapping_changes(before, after, pairs), key=_mapping_order)),
            verdicts=tuple(sorted(verdict_changes(before, after, pairs), key=_verdict_order)),
            frames=tuple(sorted(frame_changes(before, after, pairs), key=_frame_order)),
        )
    return replace(told, summary=_summarize(told))


def _findings(report: Report) -> Iterator[Finding]:
    yield from report.findings
    for proof in report.proofs:
        yield from proof.findings


def _sorted_regions(old: Pages, new: Pages) -> tuple[RegionChange, ...]:
    return tuple(sorted(_region_changes(old, new), key=_region_order))


def _region_changes(old: Pages, new: Pages) -> Iterator[RegionChange]:
    for key, was in old.names.items():
        now = new.names.get(key)
        if now is None:
            yield RegionChange(Change.GONE, was)
            continue
        changed = tuple(
            Difference(name, str(before), str(after))
            for name in ("name", "pages", "owner_type")
            if (before := getattr(was, name)) != (after := getattr(now, name))
        )
        if changed:
            yield RegionChange(Change.CHANGED, now, changed)
    for key, now in new.names.items():
        if key not in old.names:
            yield RegionChange(Change.NEW, now)


# Keys to sort changes; they depend only on the changes


def _name_order(region: RegionName | None) -> tuple[str, str, int]:
    return ("", "", 0) if region is None else (region.kind, region.part, region.owner)


def _region_order(one: RegionChange) -> tuple[object, ...]:
    return _CHANGES.index(one.change), _name_order(one.region)


def _mapping_order(one: MappingChange) -> tuple[object, ...]:
    spans = tuple((span.start, span.end) for span in one.new or one.old)
    return _CHANGES.index(one.change), _name_order(one.region), one.pid, one.mm, spans


def _verdict_order(one: VerdictChange) -> tuple[object, ...]:
    worst = _VERDICTS.index(one.new.verdict)
    return worst, one.old is None, _name_order(one.region), one.pid, one.user_address


def _frame_order(one: FrameChange) -> tuple[object, ...]:
    return _name_order(one.region), one.side.value, one.pid, one.user_address


def _summarize(told: DiffReport) -> DiffSummary:
    """Count and set the exit code; for two boots it is 3 unless the newer report is worse."""
    different = sum(one.pages for one in told.verdicts if one.new.verdict is Verdict.DIFFERENT)
    undecided = sum(
        one.pages
        for one in told.verdicts
        if one.new.verdict is Verdict.UNKNOWN
        and one.old is not None
        and one.old.verdict is not Verdict.UNKNOWN
    )
    if told.boot:
        before, after = told.old.summary.different, told.new.summary.different
        different = after if not before else 0
    errors = new_errors(told.findings)
    lists = (told.regions, told.mappings, told.verdicts, told.frames, told.findings)
    nothing = not told.old.summary.pages and not told.new.summary.pages
    if different or errors:
        code = Exit.WRONG
    elif undecided or told.boot or nothing:
        code = Exit.UNDECIDED
    else:
        code = Exit.SOUND
    return DiffSummary(
        different=different,
        undecided=undecided,
        new_errors=errors,
        changes=sum(map(len, lists)),
        exit_code=int(code),
    )
