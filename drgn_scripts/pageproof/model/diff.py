# SPDX-License-Identifier: GPL-2.0-or-later
"""What changed between two reports of verify."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pageproof.model.facts import TargetFacts
from pageproof.model.hexint import Address, Bits, Pfn
from pageproof.model.report import Finding, Reason, Summary, Verdict

DIFF_SCHEMA: Final = "pageproof/diff-1"


class Change(StrEnum):
    GONE = "gone"
    NEW = "new"
    MOVED = "moved"
    CHANGED = "changed"


class Aspect(StrEnum):
    """What is not as it was, of a mapping beside its place."""

    PAGES = "pages"
    """Which ones of its file it has, or in how many VMAs."""
    VM_FLAGS = "vm_flags"
    VM_PAGE_PROT = "vm_page_prot"


class Side(StrEnum):
    KERNEL = "kernel"
    USER = "user"


@dataclass(frozen=True)
class Compared:
    """One of the two reports.

    Attributes:
        path: where it was read.
        version: of the pageproof that wrote it.
    """

    path: str
    version: str
    target: TargetFacts
    summary: Summary


@dataclass(frozen=True)
class Difference:
    """A fact that both reports have and that is not the same, written as text."""

    name: str
    old: str
    new: str


@dataclass(frozen=True)
class RegionName:
    """Which region: kind, part and owner are the same as long as it lives."""

    kind: str
    part: str
    name: str
    owner: Address
    owner_type: str
    pages: int


@dataclass(frozen=True)
class RegionChange:
    """A region that is gone, new or changed; it is told as the newer report has it."""

    change: Change
    region: RegionName
    differences: tuple[Difference, ...] = ()


@dataclass(frozen=True)
class VmaShape:
    """A VMA of a mapping; one that was split has several."""

    start: Address
    end: Address
    pgoff_pages: int
    vm_flags: Bits
    vm_flags_words: str
    vm_page_prot: Bits
    vm_page_prot_words: str


@dataclass(frozen=True)
class MappingChange:
    """What a process maps of a region, by one mmap().

    Attributes:
        region: None where the user named the addresses.
        file: its name, or that of what stands in for a file; "" for anonymous memory.
        old, new: its VMAs; empty where it is not in that report.
        aspects: what is not as it was, beside its place.
    """

    change: Change
    region: RegionName | None
    pid: int
    comm: str
    mm: Address
    file: str
    old: tuple[VmaShape, ...]
    new: tuple[VmaShape, ...]
    aspects: tuple[Aspect, ...] = ()


@dataclass(frozen=True)
class Opinion:
    verdict: Verdict
    reason: Reason | None


@dataclass(frozen=True)
class VerdictChange:
    """Pages, one after the other, that have another verdict now.

    Attributes:
        page: the first one's number in its region; None where the user named the addresses.
        user_address: the first one's, in the newer report.
        old: None for pages that the older report does not have.
    """

    region: RegionName | None
    pid: int
    comm: str
    page: int | None
    user_address: Address
    pages: int
    old: Opinion | None
    new: Opinion


@dataclass(frozen=True)
class FrameChange:
    """A page of which both reports have evidence, and that lies in another frame now.

    Attributes:
        pid, comm: of the process; on the kernel's side the first one that maps the page.
    """

    region: RegionName | None
    pid: int
    comm: str
    page: int | None
    user_address: Address
    side: Side
    old_pfn: Pfn
    new_pfn: Pfn


@dataclass(frozen=True)
class FindingChange:
    """A finding that only one of the reports has, or has more often.

    Attributes:
        times: how much more often.
    """

    change: Change
    finding: Finding
    times: int


@dataclass(frozen=True)
class DiffSummary:
    """What the exit code comes from.

    Attributes:
        different: pages that have become DIFFERENT, or that are new and DIFFERENT.
        undecided: pages that were decided and are UNKNOWN now.
        new_errors: findings.
        changes: entries of all lists.
    """

    different: int
    undecided: int
    new_errors: int
    changes: int
    exit_code: int


@dataclass(frozen=True)
class DiffReport:
    """What diff has to say.

    Attributes:
        boot: facts that no boot changes and that differ: the reports are of two boots, or of two
            kernels. Then addresses, PIDs and frames say nothing, and only findings are compared,
            by their id.
    """

    schema: str
    version: str
    old: Compared
    new: Compared
    boot: tuple[Difference, ...]
    regions: tuple[RegionChange, ...]
    mappings: tuple[MappingChange, ...]
    verdicts: tuple[VerdictChange, ...]
    frames: tuple[FrameChange, ...]
    findings: tuple[FindingChange, ...]
    summary: DiffSummary
