# SPDX-License-Identifier: GPL-2.0-or-later
"""The comparison of two reports of verify."""

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
    """A property of a mapping that changed, other than its place."""

    PAGES = "pages"
    """Its pages of the file, or its number of VMAs."""
    VM_FLAGS = "vm_flags"
    VM_PAGE_PROT = "vm_page_prot"


class Side(StrEnum):
    KERNEL = "kernel"
    USER = "user"


@dataclass(frozen=True)
class Compared:
    """One of the two reports.

    Attributes:
        path: of its file.
        version: of the pageproof that wrote it.
    """

    path: str
    version: str
    target: TargetFacts
    summary: Summary


@dataclass(frozen=True)
class Difference:
    """A fact that differs between the two reports, as text."""

    name: str
    old: str
    new: str


@dataclass(frozen=True)
class RegionName:
    """Identifies a region: kind, part and owner stay the same for its lifetime."""

    kind: str
    part: str
    name: str
    owner: Address
    owner_type: str
    pages: int


@dataclass(frozen=True)
class RegionChange:
    """A region that is gone, new or changed, with the facts of the newer report that has it."""

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
    """A process's mapping of a region, made by one mmap().

    Attributes:
        region: None if the user named the addresses.
        file: name of the file, or of the operations if there is no file; "" for anonymous memory.
        old, new: its VMAs; empty if it is not in that report.
        aspects: properties that changed, other than its place.
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
    """Adjoining pages whose verdict changed.

    Attributes:
        page: number of the first page in its region; None if the user named the addresses.
        user_address: of the first page, in the newer report.
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
    """A page with evidence in both reports whose frame changed.

    Attributes:
        pid, comm: of the process; for the kernel's side, of the first one that maps the page.
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
    """A finding that one report has more often than the other.

    Attributes:
        times: the difference in number.
    """

    change: Change
    finding: Finding
    times: int


@dataclass(frozen=True)
class DiffSummary:
    """The counts that decide the exit code.

    Attributes:
        different: pages that became DIFFERENT, or that are new and DIFFERENT.
        undecided: pages that were decided and are UNKNOWN now.
        new_errors: number of new findings that are errors.
        changes: number of entries in all lists.
    """

    different: int
    undecided: int
    new_errors: int
    changes: int
    exit_code: int


@dataclass(frozen=True)
class DiffReport:
    """The report of diff.

    Attributes:
        boot: differing facts that are constant during a boot. If there are any, the reports are of
            two boots or two kernels: addresses, PIDs and frames are not comparable, and only
            findings are compared, by their id.
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
