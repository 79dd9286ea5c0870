# SPDX-License-Identifier: GPL-2.0-or-later
"""What changed between two reports as text: a block a region, the worst first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from rich.table import Table

from pageproof.model import Finding, Severity, Verdict
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
    Span,
    VerdictChange,
)
from pageproof.render import PLAIN_WIDTH, phrases
from pageproof.render.findings import finding_line
from pageproof.render.sheet import LABEL, Console, Sheet, Text, print_facts
from pageproof.space.units import PAGE_BYTES

#: So many frames of one kind are told one by one.
_FRAMES: Final = 8
_STYLES: Final = {
    Verdict.SAME: "bold green",
    Verdict.DIFFERENT: "bold red",
    Verdict.UNKNOWN: "bold yellow",
}
#: What both kinds of reports have in common is printed here.
AnyDiff = DiffReport | AuditDiffReport
#: A line of a block: what, its pages, whose, how.
_Line = tuple[Text, str, str, str]


def diff_to_text(report: DiffReport, *, color: bool = False, width: int = PLAIN_WIDTH) -> str:
    """Text with a newline at its end."""
    sheet = Sheet(color=color, width=width)
    console = sheet.console
    print_sides(console, report, *(phrases.counts(one.summary) for one in (report.old, report.new)))
    for block in _blocks(report):
        console.print()
        console.print(_title(block, report.regions))
        table = Table.grid(padding=(0, 2))
        for _ in range(4):
            table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for line in _lines(block, report):
            table.add_row("", *line)
        if table.row_count:
            console.print(table)
    print_finding_changes(console, report)
    print_sum(console, report, _worse(report.summary), _nothing(report))
    return sheet.text()


def print_sides(console: Console, report: AnyDiff, old: str, new: str) -> None:
    """Which two reports, what they say, and whether they are of one boot."""
    rows = [
        (label, f"{one.path}: {phrases.target(one.target)}; {said}")
        for label, one, said in (("old", report.old, old), ("new", report.new, new))
    ]
    if not report.boot:
        rows.append(("kernel", f"Linux {report.new.target.release}"))
    print_facts(console, rows)
    if report.boot:
        _boot(console, report.boot)


def _boot(console: Console, boot: Sequence[Difference]) -> None:
    console.print()
    console.print(
        Text(
            "These reports are of two boots, or of two kernels: addresses, PIDs and frames can't "
            "be compared. Findings are, by their id.",
            style="bold yellow",
        )
    )
    table = Table.grid(padding=(0, 2))
    for one in boot:
        table.add_row(one.name, f"{one.old} -> {one.new}")
    console.print(table)


# Blocks: a region, and all that changed in it


def _blocks(report: DiffReport) -> list[RegionName | None]:
    """Each region that something changed in, once; the lists have the worst first."""
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


def _title(region: RegionName | None, changes: Sequence[RegionChange]) -> Text:
    if region is None:
        return Text("addresses that were named", style="bold")
    kind = f"{region.kind} {region.part}".rstrip()
    owner = f"{region.owner_type} {phrases.address(region.owner)}"
    size = phrases.size(region.pages * PAGE_BYTES)
    text = Text.assemble((kind, "bold"), f"  {region.name}, {size}", (f"  {owner}", LABEL))
    for one in changes:
        if _key(one.region) == _key(region) and one.change is not Change.CHANGED:
            text.append(f"  {one.change.value}", style="bold")
    return text


def _lines(region: RegionName | None, report: DiffReport) -> Iterator[_Line]:
    key = _key(region)
    yield from (_verdict(one) for one in report.verdicts if _key(one.region) == key)
    for change in report.regions:
        if _key(change.region) == key:
            for one in change.differences:
                yield Text(f"region's {one.name}"), "", "", f"{one.old} -> {one.new}"
    for mapping in report.mappings:
        if _key(mapping.region) == key:
            yield from _mapping(mapping)
    frames = [one for one in report.frames if _key(one.region) == key]
    for side, group in groupby(frames, lambda one: one.side):
        yield from _frames(side, list(group))


def _verdict(one: VerdictChange) -> _Line:
    what = Text(_opinion(one.new), style=_STYLES[one.new.verdict])
    what.append(f", was {_opinion(one.old)}" if one.old else ", new", style="default")
    pages = phrases.plural(one.pages, "page")
    if one.page is not None:
        pages = _page_numbers(one.page, one.pages)
    return what, pages, _who(one), f"at {phrases.address(one.user_address)}"


def _opinion(one: Opinion) -> str:
    return one.reason.value if one.reason else one.verdict.value


def _page_numbers(first: int, pages: int) -> str:
    return f"page {first}" if pages == 1 else f"pages {first}-{first + pages - 1}"


def _who(one: VerdictChange | MappingChange | FrameChange) -> str:
    return f"pid {one.pid} ({one.comm})"


def _mapping(one: MappingChange) -> Iterator[_Line]:
    what = Text(f"mapping {one.change.value}")
    pages = sum(span.end - span.start for span in one.new or one.old) // PAGE_BYTES
    ways = " -> ".join(_spans(spans) for spans in _both(one))
    yield what, phrases.plural(pages, "page"), _who(one), ways
    if Aspect.VM_FLAGS in one.aspects:
        yield Text("  vm_flags"), "", "", _words(one, "vm_flags")
    if Aspect.VM_PAGE_PROT in one.aspects:
        yield Text("  vm_page_prot"), "", "", _words(one, "vm_page_prot")


def _both(one: MappingChange) -> list[tuple[Span, ...]]:
    """The VMAs of both reports, or of one where they are at the same place."""
    old, new = (
        [(span.start, span.end, span.pgoff_pages) for span in spans] for spans in (one.old, one.new)
    )
    if one.old and one.new and old != new:
        return [one.old, one.new]
    return [one.new or one.old]


def _spans(spans: Sequence[Span]) -> str:
    return ", ".join(f"{span.start:x}-{span.end:x}" for span in spans)


def _words(one: MappingChange, name: str) -> str:
    """Bits of a word before and after, of all VMAs, and the names that came and went."""
    texts, names = [], []
    for spans in (one.old, one.new):
        values = sorted({int(getattr(span, name)) for span in spans})
        texts.append(", ".join(f"0x{value:x}" for value in values))
        names.append({word for span in spans for word in getattr(span, f"{name}_words").split("|")})
    came = [f"+{word}" for word in sorted(names[1] - names[0]) if word]
    went = [f"-{word}" for word in sorted(names[0] - names[1]) if word]
    return " ".join([" -> ".join(texts), *came, *went])


def _frames(side: Side, frames: Sequence[FrameChange]) -> Iterator[_Line]:
    for one in frames[:_FRAMES]:
        page = phrases.address(one.user_address) if one.page is None else f"page {one.page}"
        # The kernel's frame of a region's page is everybody's.
        who = "" if side is Side.KERNEL and one.region else _who(one)
        moved = f"PFN 0x{one.old_pfn:x} -> PFN 0x{one.new_pfn:x}"
        yield Text(f"{side.value} frame moved"), page, who, moved
    if len(frames) > _FRAMES:
        yield Text(""), "", "", f"and {len(frames) - _FRAMES} more; JSON has each"


# Findings and the sum


def print_finding_changes(console: Console, report: AnyDiff) -> None:
    """Findings that are new or gone, those that are alike in one line."""
    if report.findings:
        console.print()
    groups: dict[tuple[Change, Severity, str, str], list[tuple[Finding, int]]] = {}
    for one in report.findings:
        finding = one.finding
        key = one.change, finding.severity, finding.id, finding.sentence
        groups.setdefault(key, []).append((finding, one.times))
    for (change, severity, _, _), like in groups.items():
        more = sum(times for _, times in like) - 1
        console.print(finding_line(f"{change.value} {severity.value}: ", like[0][0], more))


def print_sum(console: Console, report: AnyDiff, worse: str, nothing: str) -> None:
    """The last line.

    Args:
        console: to print to.
        report: with its exit code.
        worse: what is worse than before; "" if nothing is.
        nothing: why there was nothing to compare; "" if there was something.
    """
    changes = report.summary.changes
    if worse:
        text = f"worse than before: {worse}"
    elif report.boot:
        text = "nothing is known to be worse, but most can't be compared"
    elif nothing:
        text = nothing
    elif not changes:
        text = "nothing has changed"
    else:
        text = f"{phrases.plural(changes, 'change')}, none of them for the worse"
    style = {0: "bold green", 1: "bold red"}.get(report.summary.exit_code, "bold yellow")
    console.print()
    console.print(Text(text, style=style))


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
    return "there was no page to compare"
