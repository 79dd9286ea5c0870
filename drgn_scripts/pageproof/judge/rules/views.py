# SPDX-License-Identifier: GPL-2.0-or-later
"""What rules are given to look at: one page, one mapping, or the frames of one mapping."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pageproof.model import (
    Expectation,
    MappingFacts,
    PageEvidence,
    StructPageFacts,
    TargetFacts,
    VmaFacts,
)
from pageproof.space.units import PAGE_BYTES
from pageproof.walk.compare import names_frame
from pageproof.walk.special import is_special


@dataclass(frozen=True)
class PageView:
    """One page of a region, and the mapping that has it.

    Attributes:
        kind: the region's; "" if no finder knows it.
    """

    evidence: PageEvidence
    target: TargetFacts
    mapping: MappingFacts
    kind: str = ""

    @property
    def same_frame(self) -> bool:
        kernel, user = self.evidence.kernel_walk, self.evidence.user_walk
        return names_frame(kernel) and names_frame(user) and kernel.pfn == user.pfn

    @property
    def mapped(self) -> StructPageFacts | None:
        """``struct page`` of the user's frame."""
        return self.evidence.user_page if not self.same_frame else self.evidence.page

    @property
    def is_special(self) -> bool:
        """Whether the user's entry says that no ``struct page`` counts it."""
        walk = self.evidence.user_walk
        return walk.leaf_bytes == PAGE_BYTES and is_special(walk)

    @property
    def is_own(self) -> bool:
        """Whether the mapping is one that has anonymous pages of its own process, or KSM's.

        Memory of a process without a file, or a private mapping of a file. A driver's mapping is
        neither, and VM_PFNMAP entries are not counted as the process's.
        """
        vma = self.mapping.vma
        if vma is None or self.is_special or vma.has_flag("PFNMAP"):
            return False
        return vma.file is None or not vma.has_flag("MAYSHARE")

    @property
    def is_counted(self) -> bool:
        """Whether the user's entry is one that the frame's own ``_mapcount`` counts."""
        page = self.mapped
        return (
            page is not None
            and page.mapcount is not None
            and not page.compound
            and not page.reserved
            and self.evidence.user_walk.leaf_bytes == PAGE_BYTES
            and not self.is_special
        )


@dataclass(frozen=True)
class MappingView:
    """One VMA of a region, and what its user expects of it.

    Attributes:
        handed_on: another address space maps the same open file.
        data_is_freed: ``file->private_data`` points to a free slab object.
        lacking: pages of the region that the VMA covers and has no entry for, where nothing makes
            one.
    """

    mapping: MappingFacts
    expected: frozenset[Expectation]
    handed_on: bool = False
    data_is_freed: bool = False
    lacking: tuple[int, ...] = ()

    @property
    def vma(self) -> VmaFacts:
        assert self.mapping.vma is not None
        return self.mapping.vma


@dataclass(frozen=True)
class Differing:
    """A page of a region in whose place a process has another frame.

    Attributes:
        page: of the region.
        anonymous: the user's frame is anonymous memory.
        zeros: it is the zero page, or in the huge one.
    """

    page: int
    user_pfn: int
    anonymous: bool
    zeros: bool


@dataclass(frozen=True)
class FramesView:
    """Where the frames of a mapping are others than the region's.

    Attributes:
        name: the region's.
        different: pages of the region, in order.
        same: how many pages of the mapping are as they should be.
        frames: PFN by page of the region, of all that have one.
    """

    name: str
    mapping: MappingFacts
    different: tuple[Differing, ...]
    same: int
    frames: Mapping[int, int]
