# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory that kernel and user space share, of any kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pageproof.model.facts import MappingFacts, PagingFacts, TargetFacts, TaskFault
from pageproof.model.hexint import Address
from pageproof.model.report import Finding

REGIONS_SCHEMA: Final = "pageproof/regions-1"


@dataclass(frozen=True, slots=True)
class RegionUse:
    """A VMA that maps a region, or a part of it.

    Attributes:
        first_page: page of the region that the VMA's first page is.
        resident_pages: number of pages of the VMA that have a frame in the page tables.
        unknown_pages: number of pages whose page tables could not be read.
    """

    mapping: MappingFacts
    first_page: int
    resident_pages: int
    unknown_pages: int


@dataclass(frozen=True)
class SharedRegion:
    """A list of kernel pages that user space maps.

    Attributes:
        kind: of its finder: "perf", "io_uring", …
        part: name among several regions of one object: "rings", "sqes"; "" for the only one.
        name: its name in reports.
        owner: address of the kernel object that owns it.
        owner_type: the object's C type.
        pages: its size, including pages that are not allocated yet.
    """

    kind: str
    part: str
    name: str
    owner: Address
    owner_type: str
    pages: int
    uses: tuple[RegionUse, ...]


@dataclass(frozen=True)
class RegionsReport:
    """The shared regions: their owners, sizes, and how much of each is in page tables.

    Attributes:
        task_faults: tasks that could not be searched to the end.
        findings: VMAs whose kernel side could not be read.
        exit_code: 0 if these are all regions that the finders recognise, 3 if some may be missing
            or there are none.
    """

    schema: str
    version: str
    target: TargetFacts
    paging: PagingFacts
    regions: tuple[SharedRegion, ...]
    task_faults: tuple[TaskFault, ...]
    findings: tuple[Finding, ...]
    attempts: int
    exit_code: int
