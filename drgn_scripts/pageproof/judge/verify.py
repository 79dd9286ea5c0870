# SPDX-License-Identifier: GPL-2.0-or-later
"""Judge a whole run: proofs, findings about coverage, the exit code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from pageproof.errors import Exit
from pageproof.judge.rules import RULE_BROKEN, PageView, page_findings
from pageproof.judge.rules.coverage import (
    MAPPING_BEYOND_REGION,
    MAPPING_PARTIAL,
    REGION_PAGES_UNMAPPED,
    REGION_PART_UNKNOWN,
    REGION_UNREADABLE,
)
from pageproof.judge.verdict import judge_page
from pageproof.judge.words import page_list
from pageproof.model import (
    Finding,
    MappingFacts,
    PageEvidence,
    PageProof,
    ProvedRegion,
    Reason,
    RegionFacts,
    Severity,
    Summary,
    TargetFacts,
    TaskFault,
    Verdict,
)
from pageproof.model.where import Where, WhereKind, in_process, named_region
from pageproof.space.units import PAGE_BYTES
from pageproof.walk.opinion import weigh

#: Limit of similar mappings that one finding lists.
_SHOWN_PLACES: Final = 16
#: Findings after which the report may be incomplete.
_UNSEEN: Final = (REGION_UNREADABLE.id, RULE_BROKEN.id)


def prove(
    evidence: PageEvidence,
    target: TargetFacts,
    mappings: Sequence[MappingFacts],
    kind: str = "",
) -> PageProof:
    """Judge one page, of a region of some kind."""
    evidence = replace(
        evidence,
        kernel_second=weigh(evidence.kernel_walk, evidence.kernel_second),
        user_second=weigh(evidence.user_walk, evidence.user_second),
    )
    mapping = mappings[evidence.mapping]
    where = in_process(mapping.pid, evidence.user_address, page=evidence.page_index)
    verdict, reason, sentence = judge_page(evidence)
    return PageProof(
        evidence=evidence,
        verdict=verdict,
        reason=reason,
        sentence=sentence,
        findings=page_findings(PageView(evidence, target, mapping, kind), where),
    )


def prove_again(
    evidence: PageEvidence,
    before: Verdict,
    target: TargetFacts,
    mappings: Sequence[MappingFacts],
    kind: str,
) -> PageProof:
    """Judge one page again that has a verdict, at the kernel address of the earlier look.

    Compaction moves memory to other frames, and in the direct map to other addresses: a page that
    is DIFFERENT only now is torn.
    """
    verdict, *_ = judge_page(evidence)
    if verdict is Verdict.DIFFERENT and before is not Verdict.DIFFERENT:
        evidence = replace(evidence, stable=False)
    return prove(evidence, target, mappings, kind)


def mapped_pages(region: RegionFacts, mapping: MappingFacts) -> range:
    """Return the region's pages that a mapping covers; none without a VMA."""
    vma = mapping.vma
    if vma is None:
        return range(0)
    end = vma.pgoff_pages + vma.pages
    return range(vma.pgoff_pages, min(end, region.pages))


def _pages_beyond(region: RegionFacts, mapping: MappingFacts) -> int:
    """Return how many pages of a mapping are behind the region's end."""
    vma = mapping.vma
    if vma is None:
        return 0
    pages = vma.pages
    return pages - len(mapped_pages(region, mapping))


def page_at(region: RegionFacts, mappings: Iterable[MappingFacts], user: int) -> int | None:
    """Return the region's page that belongs at a user address, by the mappings around it.

    The address itself need not be mapped: if a process covered a part of its mapping with something
    else, the rest of the mapping still shows it.
    """
    for mapping in mappings:
        if mapping.vma is not None:
            base = mapping.vma.start - mapping.vma.pgoff_pages * PAGE_BYTES
            if base <= user < base + region.pages * PAGE_BYTES:
                return (user - base) // PAGE_BYTES
    return None


def unmapped_pages(region: RegionFacts, mappings: Iterable[MappingFacts]) -> tuple[int, ...]:
    """Return the pages of the region that no mapping covers."""
    covered = {page for mapping in mappings for page in mapped_pages(region, mapping)}
    return tuple(page for page in range(region.pages) if page not in covered)


def unread(kind: str, vma: int, reason: str) -> Finding:
    """Report a VMA that a finder recognises and whose kernel side could not be read."""
    where = Where(WhereKind.VMA, address=vma)
    return REGION_UNREADABLE.finding(where, (("reason", reason),), kind=kind)


def unknown_parts(parts: Iterable[tuple[str, str, MappingFacts]]) -> tuple[Finding, ...]:
    """Report mappings of known files whose part no finder recognises; like ones share a finding.

    Args:
        parts: kind, the finder's words for the part, the mapping.
    """
    alike: dict[tuple[str, str], list[MappingFacts]] = {}
    for kind, what, mapping in parts:
        alike.setdefault((kind, what), []).append(mapping)
    return tuple(
        REGION_PART_UNKNOWN.finding(
            place_of(some[0]),
            tuple(("mapping", _mapping_words(one)) for one in some[1:_SHOWN_PLACES]),
            count="this is a mapping" if len(some) == 1 else f"these are {len(some)} mappings",
            kind=kind,
            what=what,
        )
        for (kind, what), some in alike.items()
    )


def place_of(mapping: MappingFacts) -> Where:
    """Return the place of a mapping."""
    return in_process(mapping.pid, None if mapping.vma is None else mapping.vma.start)


def _mapping_words(mapping: MappingFacts) -> str:
    start = "" if mapping.vma is None else f" at 0x{mapping.vma.start:x}"
    return f"pid {mapping.pid}{start}"


def beyond_findings(
    name: str, pages: int, beyond: Mapping[int, int], ends: str = ""
) -> tuple[Finding, ...]:
    """Report frames that a process maps behind a region's end.

    Args:
        name: the region's.
        pages: its size.
        beyond: number of such frames, by pid.
        ends: the kernel object with which the region ends; "" if unknown.
    """
    return tuple(
        MAPPING_BEYOND_REGION.finding(
            in_process(pid),
            (("the region ends with", ends),) if ends else (),
            pages=frames,
            what="have a frame and lie",
            name=name,
            size=pages,
        )
        for pid, frames in beyond.items()
        if frames
    )


def coverage_findings(region: RegionFacts, mappings: Sequence[MappingFacts]) -> tuple[Finding, ...]:
    """Report pages of the module's region that are not mapped, and mapped pages outside it."""
    found = []
    missing = unmapped_pages(region, mappings)
    if missing and mappings:
        found.append(
            REGION_PAGES_UNMAPPED.finding(
                named_region(region.name), pages=page_list(missing), size=region.pages
            )
        )
    by_pid: dict[int, set[int]] = {}
    for mapping in mappings:
        by_pid.setdefault(mapping.pid, set()).update(mapped_pages(region, mapping))
        beyond = _pages_beyond(region, mapping)
        if beyond:
            found.append(
                MAPPING_BEYOND_REGION.finding(
                    in_process(mapping.pid),
                    pages=beyond,
                    what="are",
                    name="the region",
                    size=region.pages,
                )
            )
    for pid, pages in by_pid.items():
        lacking = [page for page in range(region.pages) if page not in pages]
        if lacking and tuple(lacking) != missing:
            found.append(
                MAPPING_PARTIAL.finding(
                    in_process(pid),
                    _hole(pid, mappings, lacking),
                    pages=page_list(sorted(pages)),
                    lacking=page_list(lacking),
                )
            )
    return tuple(found)


def _hole(
    pid: int, mappings: Sequence[MappingFacts], lacking: Sequence[int]
) -> tuple[tuple[str, str], ...]:
    """Return a command that shows what is between two VMAs of the region, as evidence."""
    vmas = [m.vma for m in mappings if m.pid == pid and m.vma is not None]
    for below in vmas:
        base = below.start - below.pgoff_pages * PAGE_BYTES
        above = {
            vma.start - vma.pgoff_pages * PAGE_BYTES for vma in vmas if vma.start > below.start
        }
        for page in lacking:
            if base in above and base + page * PAGE_BYTES == below.end:
                return (("to see what is there", f"verify --pid {pid} --user 0x{below.end:x}"),)
    return ()


def summarize(
    proofs: Sequence[PageProof],
    findings: Sequence[Finding],
    faults: Sequence[TaskFault],
    regions: Sequence[ProvedRegion] = (),
    *,
    strict: bool = True,
) -> Summary:
    """Count and set the exit code, which is never 0 for an empty result.

    Args:
        proofs: pages with evidence; they are counted if there are no regions.
        findings: findings that do not belong to a page.
        faults: tasks that could not be searched.
        regions: the regions that were checked.
        strict: a page without an entry is undecided; otherwise it is ignored as long as another
            page is SAME.
    """
    runs = [run for region in regions for use in region.uses for run in use.runs]
    every = [*findings, *(finding for proof in proofs for finding in proof.findings)]

    def verdicts(wanted: Verdict) -> int:
        if runs:
            return sum(run.pages for run in runs if run.verdict is wanted)
        return sum(proof.verdict is wanted for proof in proofs)

    def severities(wanted: Severity) -> int:
        return sum(finding.severity is wanted for finding in every)

    different, unknown = verdicts(Verdict.DIFFERENT), verdicts(Verdict.UNKNOWN)
    absent = sum(run.pages for run in runs if run.reason is Reason.NOT_PRESENT)
    undecided = unknown if strict else unknown - absent
    unseen = bool(faults) or any(one.id in _UNSEEN for one in every)
    errors = severities(Severity.ERROR)
    if different or errors:
        code = Exit.WRONG
    elif undecided or unseen or not verdicts(Verdict.SAME):
        code = Exit.UNDECIDED
    else:
        code = Exit.SOUND
    return Summary(
        pages=sum(run.pages for run in runs) if runs else len(proofs),
        same=verdicts(Verdict.SAME),
        different=different,
        unknown=unknown,
        errors=errors,
        warnings=severities(Severity.WARNING),
        notes=severities(Severity.NOTE),
        exit_code=int(code),
    )
