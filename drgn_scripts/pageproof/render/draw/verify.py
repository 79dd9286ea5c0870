# SPDX-License-Identifier: GPL-2.0-or-later
"""A report of verify, with its main points on one screen."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Final

from pageproof.model import (
    MappingFacts,
    PageProof,
    Reason,
    Report,
    Verdict,
    VmaFacts,
)
from pageproof.render import phrases, styles
from pageproof.render.draw.common import FOLDED, MANY, draw_head
from pageproof.render.draw.proved import draw_proved
from pageproof.render.sheet import Cell, Fact, Sheet, styled
from pageproof.render.styles import LABEL, TITLE, VERDICTS

#: A run of pages that are alike is shown page by page up to this length.
_RUN_PAGES: Final = 8
#: Findings that are shown, the worst first.
_FINDINGS: Final = 100


def draw_verify(report: Report, sheet: Sheet) -> None:
    """Draw pages, regions, findings and the sum; if the sheet is verbose, every page in full."""
    draw_head(report, sheet, first=_region(report))
    crowded = any(len(region.uses) > MANY for region in report.regions)
    by_region = crowded or len(report.regions) > 1
    _pages(report, sheet, every=not by_region)
    if by_region:
        sheet.gap()
        draw_proved(report, sheet)
    findings = [*report.findings, *(f for proof in report.proofs for f in proof.findings)]
    if findings:
        sheet.gap()
        sheet.findings(findings, None if sheet.verbose else _FINDINGS)
    _foot(report, sheet)


def _region(report: Report) -> Iterator[Fact]:
    region = report.region
    if region is not None:
        yield (
            "region",
            f"{region.name}, {phrases.plural(region.pages, 'page')} at "
            f"{phrases.address(region.kernel_address)}, {region.backing}, map {region.map}",
        )


def _pages(report: Report, sheet: Sheet, *, every: bool) -> None:
    """Draw some pages in full and, if ``every`` is set, a row for each other page."""
    in_full = report.proofs if sheet.verbose else (*report.proofs[:1], _first_bad(report))
    full_ids = {id(proof) for proof in in_full}
    last_was_line = False
    drawn: set[int] = set()
    shown = [proof for proof in report.proofs if every or id(proof) in full_ids]
    for full, group in itertools.groupby(shown, lambda proof: id(proof) in full_ids):
        if full:
            for proof in group:
                sheet.gap()
                number = proof.evidence.mapping
                _page_in_full(proof, report.mappings[number], number not in drawn, sheet)
                drawn.add(number)
            last_was_line = False
            continue
        if not last_was_line:
            sheet.gap()
            last_was_line = True
        sheet.table([FOLDED] * 6, _pages_in_rows(list(group), report.mappings))


def _first_bad(report: Report) -> PageProof | None:
    """Return a page that is DIFFERENT, or else UNKNOWN.

    With several regions, pages that nobody has touched are common and not worth showing.
    """
    bad = [
        proof
        for proof in report.proofs
        if proof.verdict is not Verdict.SAME
        and (len(report.regions) < 2 or proof.reason is not Reason.NOT_PRESENT)
    ]
    return min(bad, key=lambda proof: proof.verdict is not Verdict.DIFFERENT, default=None)


def _page_in_full(
    proof: PageProof, mapping: MappingFacts, with_mapping: bool, sheet: Sheet
) -> None:
    """Draw one page with both walks, and facts of its mapping if ``with_mapping`` is set."""
    sheet.line(
        (proof.verdict.value, VERDICTS[proof.verdict]), f"  {phrases.headline(proof, mapping)}"
    )
    sheet.gap()
    sheet.facts(_both_walks(proof))
    sheet.gap()
    sheet.facts([*(_mapping(mapping) if with_mapping else ()), *_facts(proof)])


def _both_walks(proof: PageProof) -> Iterator[Fact]:
    """Yield the walks, the kernel's on the left and the user's on the right."""
    evidence = proof.evidence
    kernel, user = evidence.kernel_walk, evidence.user_walk
    yield "", styled("kernel", style=TITLE), styled("user", style=TITLE)
    yield "address", phrases.address(kernel.address), phrases.address(user.address)
    yield "root", f"0x{kernel.root:x}", f"0x{user.root:x}"
    by_kernel = {one.name: phrases.step(one) for one in kernel.steps}
    by_user = {one.name: phrases.step(one) for one in user.steps}
    # Both walks use the same levels; one of them may have ended earlier.
    for name in max(by_kernel, by_user, key=len):
        yield name, by_kernel.get(name, ""), by_user.get(name, "")
    style = VERDICTS[proof.verdict]
    frames = [styled(phrases.frame(walk), style=style) for walk in (kernel, user)]
    yield "frame", frames[0], frames[1]
    rights = [phrases.permissions(walk.permissions) for walk in (kernel, user)]
    yield "access", rights[0], rights[1]
    yield "memory", phrases.memory_type(kernel), phrases.memory_type(user)
    seconds = (evidence.kernel_second, evidence.user_second)
    opinions = [phrases.second_opinion(one) for one in seconds]
    yield "drgn", opinions[0], opinions[1]


def _mapping(mapping: MappingFacts) -> Iterator[Fact]:
    if mapping.vma is None:
        yield "vma", phrases.NO_VMA
    else:
        yield from _vma(mapping.vma)
    shared = [f"{phrases.plural(mapping.threads, 'thread')} on mm {phrases.address(mapping.mm)}"]
    if mapping.other_pids:
        shared.append(f"shared with pids {', '.join(map(str, mapping.other_pids))}")
    yield "process", f"{phrases.process(mapping)}, {', '.join(shared)}"


def _facts(proof: PageProof) -> Iterator[Fact]:
    evidence = proof.evidence
    if evidence.page is not None:
        yield "page", phrases.struct_page(evidence.page)
    if evidence.user_page is not None:
        yield "", f"user's: {phrases.struct_page(evidence.user_page)}"
    yield "content", phrases.content(evidence)
    if evidence.slot is not None:
        yield "slot", phrases.slot(evidence.slot)
        if evidence.slot.reply:
            yield "reply", f'"{phrases.clip(evidence.slot.reply, 80)}"'


def _vma(vma: VmaFacts) -> Iterator[Fact]:
    yield (
        "vma",
        f"{vma.start:x}-{vma.end:x}, offset {phrases.plural(vma.pgoff_pages, 'page')}"
        + (f", vm_ops {vma.vm_ops_symbol}" if vma.vm_ops_symbol else ""),
    )
    yield "", f"vm_flags 0x{vma.vm_flags:x} = {vma.vm_flags_words}"
    yield "", f"vm_page_prot 0x{vma.vm_page_prot:x} = {vma.vm_page_prot_words}"
    file = vma.file
    if file is not None:
        yield (
            "file",
            f'"{file.dentry_name}", struct file {phrases.address(file.file)}, '
            f"f_op {file.f_op_symbol}",
        )
        yield (
            "",
            f"inode {file.inode_number} at {phrases.address(file.inode)}, "
            f"i_mode 0x{file.i_mode:x} ({file.i_mode_words})",
        )


def _pages_in_rows(
    proofs: Sequence[PageProof], mappings: Sequence[MappingFacts]
) -> Iterator[tuple[Cell, ...]]:
    """Yield a row for each page; a long run of pages that are alike is one row."""

    def kind(proof: PageProof) -> tuple[int, Verdict, str]:
        reason = proof.reason.value if proof.reason else ""
        return proof.evidence.mapping, proof.verdict, reason

    for (number, verdict, reason), group in itertools.groupby(proofs, kind):
        run = list(group)
        word = styled(verdict.value, style=VERDICTS[verdict])
        process = phrases.process(mappings[number])
        if len(run) > _RUN_PAGES:
            pages = phrases.page_span(run[0].evidence, run[-1].evidence)
            yield word, pages, process, f"{len(run)} pages, -v shows each", "", reason
            continue
        for proof in run:
            evidence = proof.evidence
            yield (
                word,
                "" if evidence.page_index is None else phrases.page_name(evidence),
                process,
                phrases.way(evidence.kernel_walk),
                phrases.way(evidence.user_walk),
                reason,
            )


def _foot(report: Report, sheet: Sheet) -> None:
    times = report.times
    seconds = (
        f"  (attach {times.attach_seconds:.2f} s, debug info {times.debug_info_seconds:.2f} s, "
        f"verify {times.verify_seconds:.2f} s)"
    )
    sheet.gap()
    style = styles.GOOD if report.summary.exit_code == 0 else TITLE
    sheet.line(phrases.totals(report.summary), (seconds, LABEL), style=style)
