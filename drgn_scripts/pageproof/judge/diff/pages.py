# SPDX-License-Identifier: GPL-2.0-or-later
"""The mappings of a report, with keys to find them in another report.

VMAs of a process that map one file from the same base (VMA start minus offset) are one mapping:
one mmap(), whole or split by a later munmap() or mprotect(). Its pages are numbered from that
base, so their numbers stay the same when it is split, grows or moves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pageproof.model import MappingFacts, PageEvidence, ProvedRegion, Report, VmaFacts
from pageproof.model.diff import Opinion, RegionName
from pageproof.space.units import PAGE_BYTES

#: Kind, part and owner; None where the user named the addresses.
RegionKey = tuple[str, str, int] | None


@dataclass(frozen=True)
class MappingKey:
    """Identifies a mapping.

    Attributes:
        inode: its file's; 0 for none.
        base: the address that the file's first byte would have; may be negative.
    """

    region: RegionKey
    pid: int
    mm: int
    inode: int
    base: int

    @property
    def identity(self) -> tuple[RegionKey, int, int, int]:
        """All fields but the address."""
        return self.region, self.pid, self.mm, self.inode


@dataclass(frozen=True)
class OpinionRun:
    """Pages of a mapping with one opinion; ``shift`` makes a page's number that of its region."""

    first: int
    pages: int
    opinion: Opinion
    shift: int


@dataclass
class Held:
    """What a report contains about one mapping."""

    facts: MappingFacts
    vmas: list[VmaFacts] = field(default_factory=list)
    runs: list[OpinionRun] = field(default_factory=list)
    evidence: dict[int, PageEvidence] = field(default_factory=dict)


def region_key(region: ProvedRegion) -> RegionKey:
    return region.kind, region.part, region.owner


def region_name(region: ProvedRegion) -> RegionName:
    return RegionName(
        region.kind, region.part, region.name, region.owner, region.owner_type, region.pages
    )


@dataclass(frozen=True)
class Pages:
    """A report's mappings, and the names of its regions."""

    held: Mapping[MappingKey, Held]
    names: Mapping[RegionKey, RegionName]

    @classmethod
    def of(cls, report: Report) -> Pages:
        held: dict[MappingKey, Held] = {}
        _add_uses(held, report)
        _add_proofs(held, report)
        return cls(held, {region_key(one): region_name(one) for one in report.regions})


def _add_uses(held: dict[MappingKey, Held], report: Report) -> None:
    """Add VMAs with the verdicts of all their pages; VMAs of no region have none."""
    left = set(range(len(report.mappings)))
    for region in report.regions:
        for use in region.uses:
            left.discard(use.mapping)
            facts = report.mappings[use.mapping]
            place = mapping_key(facts, region_key(region))
            one = held.setdefault(place, Held(facts))
            assert facts.vma is not None  # a use is a VMA
            one.vmas.append(facts.vma)
            start = (facts.vma.start - place.base) // PAGE_BYTES
            for run in use.runs:
                opinion = Opinion(run.verdict, run.reason)
                first = start + run.first_page
                one.runs.append(OpinionRun(first, run.pages, opinion, use.first_page - start))
    for number in sorted(left):
        facts = report.mappings[number]
        one = held.setdefault(mapping_key(facts, None), Held(facts))
        one.vmas += [facts.vma] if facts.vma else []


def _add_proofs(held: dict[MappingKey, Held], report: Report) -> None:
    """Add evidence by page. If the user named the addresses, their verdicts come from it too."""
    for proof in report.proofs:
        evidence = proof.evidence
        facts = report.mappings[evidence.mapping]
        number = evidence.region
        place = mapping_key(facts, None if number is None else region_key(report.regions[number]))
        page = (evidence.user_address - place.base) // PAGE_BYTES
        one = held.setdefault(place, Held(facts))
        one.evidence[page] = evidence
        if number is None:
            one.runs.append(OpinionRun(page, 1, Opinion(proof.verdict, proof.reason), 0))


def mapping_key(facts: MappingFacts, region: RegionKey) -> MappingKey:
    """Return the mapping that a VMA belongs to. Addresses that the user named have none."""
    vma = facts.vma
    if vma is None or region is None:
        return MappingKey(region, facts.pid, facts.mm, 0, 0)
    inode = vma.file.inode if vma.file else 0
    base = vma.start - vma.pgoff_pages * PAGE_BYTES
    return MappingKey(region, facts.pid, facts.mm, inode, base)


def pair(old: Pages, new: Pages) -> dict[MappingKey, MappingKey]:
    """Pair mappings of the older report with those of the newer one, at the same place or moved.

    A mapping that moved has the same identity and begins with the same page of its file. Several
    such mappings are paired in order of address.
    """
    pairs = {place: place for place in old.held if place in new.held}
    left: dict[tuple[object, int], list[MappingKey]] = {}
    for place in sorted(new.held.keys() - old.held.keys(), key=lambda one: -one.base):
        left.setdefault((place.identity, _first_page(new.held[place])), []).append(place)
    for place in sorted(old.held.keys() - pairs.keys(), key=lambda one: one.base):
        alike = left.get((place.identity, _first_page(old.held[place])))
        if alike:
            pairs[place] = alike.pop()
    return pairs


def _first_page(held: Held) -> int:
    return min((vma.pgoff_pages for vma in held.vmas), default=0)
