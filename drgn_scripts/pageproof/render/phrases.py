# SPDX-License-Identifier: GPL-2.0-or-later
"""Facts as short phrases, for all forms that people read. Nothing is computed here."""

from __future__ import annotations

from itertools import chain, islice
from typing import Final

from pageproof.model import (
    Answer,
    AreaOwner,
    MappingFacts,
    OwnerKind,
    PageEvidence,
    PageProof,
    Permissions,
    Report,
    SecondOpinion,
    Severity,
    SlotFacts,
    Step,
    StructPageFacts,
    Summary,
    TargetFacts,
    TargetKind,
    Verdict,
    Walk,
)
from pageproof.render.where import where_words

#: Formats of images of memory; other files are vmcores.
_IMAGES: Final = ("raw", "lime", "avml")
#: For the facts "page" and "vma" of several reports.
NO_STRUCT_PAGE: Final = "none: the kernel does not manage this memory, or the target lacks it"
NO_VMA: Final = "no VMA covers this address"


def address(value: int) -> str:
    """Return a virtual address as the kernel prints it."""
    return f"{value:016x}"


def size(byte_count: int) -> str:
    """Return a size in the largest unit that divides it."""
    for unit, name in ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if byte_count >= unit and byte_count % unit == 0:
            return f"{byte_count // unit} {name}"
    return f"{byte_count} bytes"


def plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def target(facts: TargetFacts) -> str:
    if facts.kind is TargetKind.LIVE:
        return "live, /proc/kcore"
    if facts.kind is TargetKind.QEMU:
        return f"QEMU guest, {facts.where}"
    if facts.format in _IMAGES:
        return f"{facts.format} image of memory, {facts.where}"
    return f"{facts.format} vmcore, {facts.where}"


def asked_address(value: int, asked: str) -> str:
    """Return an address, and the user's own words for it unless those were its digits."""
    digits = asked.replace("_", "").lower().removeprefix("0x").lstrip("0")
    return address(value) if digits == f"{value:x}".lstrip("0") else f"{address(value)}, {asked}"


def processes(count: int) -> str:
    return "1 process" if count == 1 else f"{count} processes"


def page_numbers(first: int, pages: int) -> str:
    """Return the number of a page, or the numbers of several in a row."""
    return f"page {first}" if pages == 1 else f"pages {first}-{first + pages - 1}"


def region_kind(kind: str, part: str) -> str:
    """Return the kind of a region, and its part if a kind has several."""
    return f"{kind} {part}".rstrip()


def torn(attempts: int) -> str:
    return f"it kept changing while it was read ({plural(attempts, 'attempt')})"


def process(mapping: MappingFacts) -> str:
    return f"pid {mapping.pid} ({mapping.comm})"


def step(one: Step) -> str:
    """Return an entry: index, raw bits, names of the bits."""
    return f"[{one.index:3}] {one.entry:016x}  {' '.join(one.flags) or one.kind.value}"


def frame(walk: Walk) -> str:
    if walk.pfn is None or walk.paddr is None:
        return "none" if walk.outcome.value == "none" else f"none ({walk.outcome.value})"
    leaf = "" if walk.leaf_bytes == 4096 else f", inside a {size(walk.leaf_bytes)} leaf"
    return f"PFN 0x{walk.pfn:x}{leaf}"


def way(walk: Walk) -> str:
    """Return address and frame in short."""
    end = walk.outcome.value if walk.pfn is None else f"0x{walk.pfn:x}"
    return f"{address(walk.address)} -> {end}"


def permissions(facts: Permissions | None) -> str:
    if facts is None:
        return "-"
    if not facts.access:
        return "none (PROT_NONE)"
    mode = "user mode" if facts.user else "kernel only"
    return f"r{'w' if facts.write else '-'}{'x' if facts.execute else '-'}, {mode}"


def memory_type(walk: Walk) -> str:
    return "-" if walk.memory_type is None else walk.memory_type


_ANSWERS: Final = {Answer.AGREES: ", agrees", Answer.CONTRADICTS: ", DISAGREES", None: ""}


def second_opinion(second: SecondOpinion) -> str:
    found = f"no frame: {second.message}" if second.pfn is None else f"PFN 0x{second.pfn:x}"
    if second.answer is Answer.SILENT:
        return f"silent: {second.silence} ({second.message or found})"
    return f"{found}{_ANSWERS[second.answer]}"


def struct_page(facts: StructPageFacts) -> str:
    words = [f"{address(facts.page)}, flags 0x{facts.flags:x} ({facts.flags_words or 'none'})"]
    if facts.type_words:
        words.append(f"type {facts.type_words}")
    words.append(f"refcount {facts.refcount}")
    if facts.mapcount is not None:
        words.append(f"mapcount {facts.mapcount}")
    if facts.head != facts.page:
        words.append(f"head {address(facts.head)}")
    return ", ".join(words)


def content(evidence: PageEvidence) -> str:
    """Return the content that each route read; routes with the same digest are listed together."""
    by_digest: dict[str, list[str]] = {}
    zero = set()
    failed = []
    for one in evidence.content:
        if one.sha256 is None:
            failed.append(f"{one.route.value} ({one.error})")
            continue
        by_digest.setdefault(one.sha256, []).append(one.route.value)
        if one.all_zero:
            zero.add(one.sha256)
    words = [
        f"{'all zeros' if digest in zero else f'sha256 {digest[:16]}…'} by {', '.join(routes)}"
        for digest, routes in by_digest.items()
    ]
    if failed:
        words.append(f"not read by {', '.join(failed)}")
    return "; ".join(words) or "not read"


def slot(facts: SlotFacts) -> str:
    # The texts show their own lengths; JSON has the numbers.
    words = ", ".join(f"{name} {value}" for name, value in facts.words if not name.endswith("_len"))
    text = f'id {facts.id}, payload "{clip(facts.payload)}", pl_hash "{clip(facts.pl_hash)}"'
    return ", ".join(part for part in (text, facts.state, words) if part)


def clip(text: str, length: int = 40) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def page_name(evidence: PageEvidence) -> str:
    if evidence.page_index is None:
        return address(evidence.user_address)
    return f"page {evidence.page_index}"


def page_span(first: PageEvidence, last: PageEvidence) -> str:
    if first.page_index is None or last.page_index is None:
        return f"{page_name(first)} to {page_name(last)}"
    return f"pages {first.page_index}-{last.page_index}"


def headline(proof: PageProof, mapping: MappingFacts) -> str:
    name = page_name(proof.evidence)
    text = f"{name} of {process(mapping)}: {proof.sentence}"
    pfn = proof.evidence.kernel_walk.pfn
    if proof.verdict.value == "SAME" and pfn is not None:
        text += f", PFN 0x{pfn:x}"
    if proof.reason is not None:
        text = f"({proof.reason.value}) {text}"
    return text


def counts(summary: Summary) -> str:
    if summary.pages == 0:
        return "no page was compared"
    parts = [
        f"{count} {word}"
        for count, word in (
            (summary.same, "SAME"),
            (summary.different, "DIFFERENT"),
            (summary.unknown, "UNKNOWN"),
        )
        if count
    ]
    return f"{plural(summary.pages, 'page')}: {', '.join(parts)}"


def totals(summary: Summary) -> str:
    """Return the counts of verdicts, and of findings by severity."""
    found = (
        plural(count, severity.value)
        for severity, count in zip(
            Severity, (summary.errors, summary.warnings, summary.notes), strict=True
        )
        if count
    )
    return "; ".join(part for part in (counts(summary), ", ".join(found)) if part)


def gist(report: Report) -> str:
    """Return a report in one line: the counts, and the worst page or finding."""
    if report.summary.exit_code == 0:
        return counts(report.summary)
    different = (
        headline(one, report.mappings[one.evidence.mapping])
        for one in report.proofs
        if one.verdict is Verdict.DIFFERENT
    )
    findings = [*report.findings, *(one for proof in report.proofs for one in proof.findings)]
    findings.sort(key=lambda one: list(Severity).index(one.severity))
    placed = ((where_words(one.where), one.sentence) for one in findings)
    others = (f"{where}: {sentence}" if where else sentence for where, sentence in placed)
    return "; ".join([counts(report.summary), *islice(chain(different, others), 1)])


def area(one: AreaOwner) -> str:
    """Return what an area of vmalloc space belongs to."""
    if one.kind is OwnerKind.STACK:
        return f"kernel stack of task {one.pid} ({one.comm}), {_area_place(one)}"
    if one.kind is OwnerKind.PER_CPU:
        return f"per-CPU memory, {_area_place(one)}"
    if one.kind is OwnerKind.MODULE:
        return f"module {one.module}, {_area_place(one)}"
    what = "memory of a vmalloc area" if one.owns else "mapped by a vmalloc area"
    module = f" of module {one.module}" if one.module else ""
    return f"{what}, {_area_place(one)}, caller {one.caller or 'unknown'}{module}"


def _area_place(one: AreaOwner) -> str:
    return f"{address(one.start)}+0x{one.address - one.start:x}"
