# SPDX-License-Identifier: GPL-2.0-or-later
"""The report as text for a person: the gist on one screen."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Final

from rich.table import Table

from pageproof.model import (
    MappingFacts,
    PageProof,
    Reason,
    Report,
    Verdict,
    VmaFacts,
)
from pageproof.render import PLAIN_WIDTH, phrases
from pageproof.render.findings import print_findings
from pageproof.render.provedtext import regions_of
from pageproof.render.sheet import (
    LABEL,
    Console,
    Sheet,
    Text,
    facts_grid,
    print_facts,
    target_facts,
)

_VERDICT_STYLES: Final = {
    Verdict.SAME: "bold green",
    Verdict.DIFFERENT: "bold red",
    Verdict.UNKNOWN: "bold yellow",
}

#: This many like pages in a row are still shown one by one.
_RUN_PAGES: Final = 8


def report_to_text(
    report: Report, *, verbose: bool = False, color: bool = False, width: int = PLAIN_WIDTH
) -> str:
    """Text with a newline at its end.

    Args:
        report: what verify has to say.
        verbose: every page in full.
        color: with the terminal's escape sequences.
        width: columns.
    """
    sheet = Sheet(color=color, width=width)
    console = sheet.console
    _head(console, report)
    _pages(console, report, verbose)
    if len(report.regions) > 1:
        console.print()
        regions_of(console, report)
    _findings(console, report)
    _foot(console, report)
    return sheet.text()


def _head(console: Console, report: Report) -> None:
    rows = target_facts(report.target, report.paging)
    region = report.region
    if region is not None:
        rows.append(
            (
                "region",
                f"{region.name}, {phrases.plural(region.pages, 'page')} at "
                f"{phrases.address(region.kernel_address)}, {region.backing}, map {region.map}",
            )
        )
    rows += [("note", note) for note in report.target.notes]
    print_facts(console, rows)


def _pages(console: Console, report: Report, verbose: bool) -> None:
    in_full = report.proofs if verbose else (*report.proofs[:1], _first_bad(report))
    full_ids = {id(proof) for proof in in_full}
    last_was_line = False
    told: set[int] = set()
    one = len(report.regions) < 2  # of several, regions_of() tells all pages
    shown = [proof for proof in report.proofs if one or id(proof) in full_ids]
    for full, group in itertools.groupby(shown, lambda proof: id(proof) in full_ids):
        if full:
            for proof in group:
                console.print()
                number = proof.evidence.mapping
                _page_in_full(console, proof, report.mappings[number], number not in told)
                told.add(number)
            last_was_line = False
            continue
        if not last_was_line:
            console.print()
            last_was_line = True
        _pages_in_lines(console, list(group), report.mappings)


def _first_bad(report: Report) -> PageProof | None:
    """A DIFFERENT one, or else one of which nobody knows; among many, not one never touched."""
    bad = [
        proof
        for proof in report.proofs
        if proof.verdict is not Verdict.SAME
        and (len(report.regions) < 2 or proof.reason is not Reason.NOT_PRESENT)
    ]
    return min(bad, key=lambda proof: proof.verdict is not Verdict.DIFFERENT, default=None)


def _page_in_full(
    console: Console, proof: PageProof, mapping: MappingFacts, tell_mapping: bool
) -> None:
    """One page with both walks; what holds for the whole mapping only where it is wanted."""
    evidence = proof.evidence
    console.print(Text.assemble(_verdict(proof.verdict), f"  {phrases.headline(proof, mapping)}"))
    console.print()
    kernel, user = evidence.kernel_walk, evidence.user_walk
    grid = facts_grid()
    grid.add_column(overflow="fold")
    grid.add_column(overflow="fold")
    grid.add_row("", Text("kernel", style="bold"), Text("user", style="bold"))
    grid.add_row("address", phrases.address(kernel.address), phrases.address(user.address))
    grid.add_row("root", f"0x{kernel.root:x}", f"0x{user.root:x}")
    by_kernel = {one.name: phrases.step(one) for one in kernel.steps}
    by_user = {one.name: phrases.step(one) for one in user.steps}
    for name in ("PGD", "P4D", "PUD", "PMD", "PTE"):
        if name in by_kernel or name in by_user:
            grid.add_row(name, by_kernel.get(name, ""), by_user.get(name, ""))
    bold = _VERDICT_STYLES[proof.verdict]
    grid.add_row(
        "frame", Text(phrases.frame(kernel), style=bold), Text(phrases.frame(user), style=bold)
    )
    grid.add_row(
        "access", phrases.permissions(kernel.permissions), phrases.permissions(user.permissions)
    )
    grid.add_row("memory", phrases.memory_type(kernel), phrases.memory_type(user))
    grid.add_row(
        "drgn",
        phrases.second_opinion(evidence.kernel_second),
        phrases.second_opinion(evidence.user_second),
    )
    console.print(grid)
    console.print()
    print_facts(console, itertools.chain(_mapping(mapping) if tell_mapping else (), _facts(proof)))


def _mapping(mapping: MappingFacts) -> Iterator[tuple[str, str]]:
    if mapping.vma is None:
        yield "vma", "no VMA covers this address"
    else:
        yield from _vma(mapping.vma)
    shared = [f"{phrases.plural(mapping.threads, 'thread')} on mm {phrases.address(mapping.mm)}"]
    if mapping.other_pids:
        shared.append(f"shared with pids {', '.join(map(str, mapping.other_pids))}")
    yield "process", f"{phrases.process(mapping)}, {', '.join(shared)}"


def _facts(proof: PageProof) -> Iterator[tuple[str, str]]:
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


def _vma(vma: VmaFacts) -> Iterator[tuple[str, str]]:
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


def _verdict(verdict: Verdict) -> Text:
    return Text(verdict.value, style=_VERDICT_STYLES[verdict])


def _pages_in_lines(
    console: Console, proofs: list[PageProof], mappings: tuple[MappingFacts, ...]
) -> None:
    """One line a page; a long run of like pages becomes one line too."""
    grid = Table.grid(padding=(0, 2))
    for _ in range(6):
        grid.add_column(overflow="fold")

    def kind(proof: PageProof) -> tuple[int, Verdict, str]:
        reason = proof.reason.value if proof.reason else ""
        return proof.evidence.mapping, proof.verdict, reason

    for (number, verdict, reason), group in itertools.groupby(proofs, kind):
        run = list(group)
        who = phrases.process(mappings[number])
        if len(run) > _RUN_PAGES:
            first, last = run[0].evidence, run[-1].evidence
            grid.add_row(
                _verdict(verdict),
                phrases.page_span(first, last),
                who,
                f"{len(run)} pages, -v shows each",
                "",
                reason,
            )
            continue
        for proof in run:
            evidence = proof.evidence
            grid.add_row(
                _verdict(verdict),
                "" if evidence.page_index is None else phrases.page_name(evidence),
                who,
                phrases.way(evidence.kernel_walk),
                phrases.way(evidence.user_walk),
                reason,
            )
    console.print(grid)


def _findings(console: Console, report: Report) -> None:
    every = [*report.findings, *(f for proof in report.proofs for f in proof.findings)]
    if not every:
        return
    console.print()
    print_findings(console, every)


def _foot(console: Console, report: Report) -> None:
    times = report.times
    style = "bold green" if report.summary.exit_code == 0 else "bold"
    line = Text(phrases.totals(report.summary), style=style)
    line.append(
        f"  (attach {times.attach_seconds:.2f} s, debug info {times.debug_info_seconds:.2f} s, "
        f"verify {times.verify_seconds:.2f} s)",
        style=LABEL,
    )
    console.print()
    console.print(line)
