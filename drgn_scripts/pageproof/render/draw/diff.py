# SPDX-License-Identifier: GPL-2.0-or-later
"""What changed between two reports of verify: a block for each region, the worst first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from pageproof.model import Finding, Severity
from pageproof.model.auditdiff import AuditDiffReport
from pageproof.model.diff import (
    Aspect,
    Change,
    Difference,
    DiffReport,
    DiffSummary,
    FrameChange,
    MappingChange,
    Opinion,
    RegionChange,
    RegionName,
    Side,
    VerdictChange,
    VmaShape,
)
from pageproof.render import phrases, styles
from pageproof.render.draw.common import FOLDED, columns, region_title
from pageproof.render.findings import FindingGroup
from pageproof.render.sheet import Cell, Fact, Part, Sheet, styled
from pageproof.render.styles import DOUBT, PLAIN, TITLE, VERDICTS
from pageproof.space.units import PAGE_BYTES

#: Frames that moved, on one side of a region, that are shown one by one.
_FRAMES: Final = 8
#: The parts that comparisons of verify and of audit share are drawn here.
AnyDiff = DiffReport | AuditDiffReport
#: A row of a block: what changed, its pages, the process, how it changed.
_Row = tuple[Cell, str, str, str]


def draw_diff(report: DiffReport, sheet: Sheet) -> None:
    """Draw both sides, a block for each region that changed, findings and the sum."""
    draw_sides(report, sheet, *(phrases.counts(one.summary) for one in (report.old, report.new)))
    for block in _blocks(report):
        sheet.gap()
        sheet.line(*_title(block, report.regions))
        sheet.table(columns(4, FOLDED), (("", *row) for row in _rows(block, report)))
    draw_finding_changes(report, sheet)
    draw_sum(report, sheet, _worse(report.summary), _nothing(report))


def draw_sides(report: AnyDiff, sheet: Sheet, old: str, new: str) -> None:
    """Draw the names and counts of both reports, and a warning if they are from two boots."""
    rows: list[Fact] = [
        (label, f"{one.path}: {phrases.target(one.target)}; {counts}")
        for label, one, counts in (("old", report.old, old), ("new", report.new, new))
    ]
    if not report.boot:
        rows.append(("kernel", f"Linux {report.new.target.release}"))
    sheet.facts(rows)
    if report.boot:
        _boot(report.boot, sheet)


def _boot(boot: Sequence[Difference], sheet: Sheet) -> None:
    sheet.gap()
    sheet.line(
        "These reports are from two boots or two kernels. Addresses, PIDs and frames cannot be "
        "compared; findings are compared by their id.",
        style=DOUBT,
    )
    sheet.table((FOLDED, FOLDED), ((one.name, f"{one.old} -> {one.new}") for one in boot))


# Blocks: a region and its changes


def _blocks(report: DiffReport) -> list[RegionName | None]:
    """Return each region with a change, once; the lists have the worst first."""
    of_verdicts = [one.region for one in report.verdicts]
    others = [
        *(one.region for one in report.regions),
        *(one.region for one in report.mappings),
        *(one.region for one in report.frames),
    ]
    found: dict[tuple[object, ...], RegionName | None] = {}
    for region in (*of_verdicts, *others):
        found.setdefault(_key(region), region)
    return list(found.values())


def _key(region: RegionName | None) -> tuple[object, ...]:
    return () if region is None else (region.kind, region.part, region.owner)


def _title(region: RegionName | None, changes: Sequence[RegionChange]) -> Iterator[Part]:
    if region is None:
        yield "addresses given by the user", TITLE
        return
    yield from region_title(region)
    for one in changes:
        if _key(one.region) == _key(region) and one.change is not Change.CHANGED:
            yield f"  {one.change.value}", TITLE


def _rows(region: RegionName | None, report: DiffReport) -> Iterator[_Row]:
    key = _key(region)
    yield from (_verdict(one) for one in report.verdicts if _key(one.region) == key)
    for change in report.regions:
        if _key(change.region) == key:
            for one in change.differences:
                yield f"region's {one.name}", "", "", f"{one.old} -> {one.new}"
    for mapping in report.mappings:
        if _key(mapping.region) == key:
            yield from _mapping(mapping)
    frames = [one for one in report.frames if _key(one.region) == key]
    for side, group in groupby(frames, lambda one: one.side):
        yield from _frames(side, list(group))


def _verdict(one: VerdictChange) -> _Row:
    before = f", was {_opinion(one.old)}" if one.old else ", new"
    what = styled(_opinion(one.new), (before, PLAIN), style=VERDICTS[one.new.verdict])
    pages = phrases.plural(one.pages, "page")
    if one.page is not None:
        pages = phrases.page_numbers(one.page, one.pages)
    return what, pages, _who(one), f"at {phrases.address(one.user_address)}"


def _opinion(one: Opinion) -> str:
    return one.reason.value if one.reason else one.verdict.value


def _who(one: VerdictChange | MappingChange | FrameChange) -> str:
    return f"pid {one.pid} ({one.comm})"


def _mapping(one: MappingChange) -> Iterator[_Row]:
    what = f"mapping {one.change.value}"
    pages = sum(span.end - span.start for span in one.new or one.old) // PAGE_BYTES
    ways = " -> ".join(_spans(spans) for spans in _both(one))
    yield what, phrases.plural(pages, "page"), _who(one), ways
    if Aspect.VM_FLAGS in one.aspects:
        yield "  vm_flags", "", "", _words(one, "vm_flags")
    if Aspect.VM_PAGE_PROT in one.aspects:
        yield "  vm_page_prot", "", "", _words(one, "vm_page_prot")


def _both(one: MappingChange) -> list[tuple[VmaShape, ...]]:
    """Return the VMAs of both reports, or of one if they are at the same place in both."""
    old, new = (
        [(span.start, span.end, span.pgoff_pages) for span in spans] for spans in (one.old, one.new)
    )
    if one.old and one.new and old != new:
        return [one.old, one.new]
    return [one.new or one.old]


def _spans(spans: Sequence[VmaShape]) -> str:
    return ", ".join(f"{span.start:x}-{span.end:x}" for span in spans)


def _words(one: MappingChange, name: str) -> str:
    """Return the bits of all VMAs before and after, and the names that came and went."""
    texts, names = [], []
    for spans in (one.old, one.new):
        values = sorted({int(getattr(span, name)) for span in spans})
        texts.append(", ".join(f"0x{value:x}" for value in values))
        names.append({word for span in spans for word in getattr(span, f"{name}_words").split("|")})
    came = [f"+{word}" for word in sorted(names[1] - names[0]) if word]
    went = [f"-{word}" for word in sorted(names[0] - names[1]) if word]
    return " ".join([" -> ".join(texts), *came, *went])


def _frames(side: Side, frames: Sequence[FrameChange]) -> Iterator[_Row]:
    for one in frames[:_FRAMES]:
        page = phrases.address(one.user_address) if one.page is None else f"page {one.page}"
        # On the kernel's side of a region's page, all processes share one frame.
        who = "" if side is Side.KERNEL and one.region else _who(one)
        moved = f"PFN 0x{one.old_pfn:x} -> PFN 0x{one.new_pfn:x}"
        yield f"{side.value} frame moved", page, who, moved
    if len(frames) > _FRAMES:
        yield "", "", "", f"and {len(frames) - _FRAMES} more; JSON lists all"


# Findings and the sum


def draw_finding_changes(report: AnyDiff, sheet: Sheet) -> None:
    """Draw findings that are new or gone, those that say the same in one line."""
    if report.findings:
        sheet.gap()
    groups: dict[tuple[Change, Severity, str, str], list[tuple[Finding, int]]] = {}
    for one in report.findings:
        finding = one.finding
        key = one.change, finding.severity, finding.id, finding.sentence
        groups.setdefault(key, []).append((finding, one.times))
    for (change, *_), like in groups.items():
        more = sum(times for _, times in like) - 1
        every = tuple(finding for finding, _ in like)
        group = FindingGroup(every[0], more, every, change=change.value, evidence=False)
        sheet.finding(group)


def draw_sum(report: AnyDiff, sheet: Sheet, worse: str, nothing: str) -> None:
    """Draw the last line.

    Args:
        report: the comparison.
        sheet: what to draw on.
        worse: what is worse than before; "" if nothing is.
        nothing: why there was nothing to compare; "" if there was something.
    """
    changes = report.summary.changes
    if worse:
        text = f"worse than before: {worse}"
    elif report.boot:
        text = "nothing is known to be worse, but most of the reports cannot be compared"
    elif nothing:
        text = nothing
    elif not changes:
        text = "nothing has changed"
    else:
        text = f"{phrases.plural(changes, 'change')}, none of them for the worse"
    sheet.gap()
    sheet.line(text, style=styles.of_exit(report.summary.exit_code))


def _worse(summary: DiffSummary) -> str:
    counts = (
        (summary.different, f"{phrases.plural(summary.different, 'page')} DIFFERENT"),
        (summary.undecided, f"{phrases.plural(summary.undecided, 'page')} undecided"),
        (summary.new_errors, phrases.plural(summary.new_errors, "error")),
    )
    return ", ".join(text for count, text in counts if count)


def _nothing(report: DiffReport) -> str:
    if report.old.summary.pages or report.new.summary.pages:
        return ""
    return "there is no page to compare"
