# SPDX-License-Identifier: GPL-2.0-or-later
"""Evidence, verdicts, findings and the report that holds them all."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from pageproof.model.facts import (
    ADDED,
    AreaOwner,
    MappingFacts,
    PagingFacts,
    RegionFacts,
    RouteContent,
    SecondOpinion,
    SlabFacts,
    SlotFacts,
    StructPageFacts,
    TargetFacts,
    TaskFault,
)
from pageproof.model.hexint import Address
from pageproof.model.walk import Walk
from pageproof.model.where import Where

SCHEMA: Final = "pageproof/report-1"


class Verdict(StrEnum):
    SAME = "SAME"
    DIFFERENT = "DIFFERENT"
    UNKNOWN = "UNKNOWN"


class Reason(StrEnum):
    """Why a verdict is UNKNOWN."""

    NOT_PRESENT = "not-present"
    NO_KERNEL_SIDE = "no-kernel-side"
    """The user's page has a frame, but the kernel's side has none."""
    SWAPPED = "swapped"
    EXCLUDED = "excluded"
    ZERO_FILLED = "zero-filled"
    TORN = "torn"
    UNREADABLE = "unreadable"
    DISPUTED = "disputed"
    """The second opinion names another frame: one of the two walkers is wrong."""
    DAMAGED = "damaged"
    """The data is impossible: reserved bits, or a frame that is neither memory nor a device's."""


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Finding:
    """Something wrong or worth knowing beside the verdict.

    Attributes:
        where: its place. JSON has it twice: its text as ``where``, its data as ``place``.
    """

    id: str
    severity: Severity
    where: Where
    sentence: str
    evidence: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class PageEvidence:
    """All observations about one kernel page and one user page.

    Attributes:
        mapping: index into ``Report.mappings``.
        region: index into ``Report.regions``; None if the user named the addresses.
        page_index: page of the region; None if the user's addresses are in no region.
        attempts: number of attempts to walk, read and walk again.
        stable: the walks before and after the reading agreed in the last attempt.
        content_stable: the routes that could be read agreed in some attempt,
            or the target is not live.
        physmap_walk: walk of the direct map's address of the user's frame; None if it has none, or
            if the kernel's side is that address.
        slab: the object at the beginning of the user's frame, if it is a slab's.
        zero_page: the user's frame is the zero page, or part of the huge zero page.
        damaged: (what, why) of impossible data: "kernel frame", "user frame" or "struct page".
        cached_file: inode number and file system of a named file other than the mapped one, if the
            user's frame is in its page cache; "" for none.
        area: the area of vmalloc space that contains the user's frame; None for none.
    """

    mapping: int
    region: int | None
    page_index: int | None
    kernel_address: Address
    user_address: Address
    kernel_walk: Walk
    user_walk: Walk
    kernel_second: SecondOpinion
    user_second: SecondOpinion
    page: StructPageFacts | None
    user_page: StructPageFacts | None
    content: tuple[RouteContent, ...]
    slot: SlotFacts | None
    attempts: int
    stable: bool
    content_stable: bool
    physmap_walk: Walk | None = None
    slab: SlabFacts | None = None
    zero_page: bool = False
    cached_file: str = ""
    area: AreaOwner | None = field(default=None, metadata=ADDED)
    damaged: tuple[tuple[str, str], ...] = field(default=(), metadata=ADDED)


@dataclass(frozen=True)
class PageProof:
    """Evidence with its judgement."""

    evidence: PageEvidence
    verdict: Verdict
    reason: Reason | None
    sentence: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class PageRun:
    """Pages of a VMA, one after the other, with the same verdict; ``first_page`` is the VMA's."""

    first_page: int
    pages: int
    verdict: Verdict
    reason: Reason | None


@dataclass(frozen=True, slots=True)
class ProvedUse:
    """A VMA that maps a region.

    Attributes:
        mapping: index into ``Report.mappings``.
        first_page: page of the region that the VMA's first page is.
        runs: all its pages.
    """

    mapping: int
    first_page: int
    runs: tuple[PageRun, ...]


@dataclass(frozen=True)
class ProvedRegion:
    """A region (see ``SharedRegion``) and the verdict of every page that a VMA maps."""

    kind: str
    part: str
    name: str
    owner: Address
    owner_type: str
    pages: int
    uses: tuple[ProvedUse, ...]


@dataclass(frozen=True)
class Times:
    """Durations in seconds of wall-clock time."""

    attach_seconds: float
    debug_info_seconds: float
    verify_seconds: float


@dataclass(frozen=True)
class Summary:
    pages: int
    same: int
    different: int
    unknown: int
    errors: int
    warnings: int
    notes: int
    exit_code: int


@dataclass(frozen=True)
class Report:
    """The report of verify.

    Attributes:
        region: the module's region, if it was checked.
        regions: all regions that were checked; empty if the user named the addresses.
        proofs: pages with evidence: only some pages of a large region; its ``uses`` have all.
        unmapped_pages: pages of the module's region that no process maps.
    """

    schema: str
    version: str
    target: TargetFacts
    paging: PagingFacts
    region: RegionFacts | None
    regions: tuple[ProvedRegion, ...]
    mappings: tuple[MappingFacts, ...]
    proofs: tuple[PageProof, ...]
    unmapped_pages: tuple[int, ...]
    task_faults: tuple[TaskFault, ...]
    findings: tuple[Finding, ...]
    times: Times
    summary: Summary
