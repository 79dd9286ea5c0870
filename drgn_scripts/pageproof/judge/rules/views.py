# SPDX-License-Identifier: GPL-2.0-or-later
"""The input of rules: one page, one mapping, or the frames of one mapping."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from pageproof import arch
from pageproof.arch import Architecture
from pageproof.model import (
    MappingFacts,
    PageEvidence,
    StructPageFacts,
    TargetFacts,
    VmaFacts,
)
from pageproof.model.asked import Expectation
from pageproof.space.units import PAGE_BYTES
from pageproof.walk.compare import names_frame
from pageproof.walk.special import is_special


@dataclass(frozen=True)
class PageView:
    """One page of a region, and the mapping that has it.

    Attributes:
        kind: the region's; "" if no finder recognises it.
    """

    evidence: PageEvidence
    target: TargetFacts
    mapping: MappingFacts
    kind: str = ""

    @property
    def architecture(self) -> Architecture:
        return arch.of(self.target.arch)

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
        """Whether the user's entry is special: ``struct page`` does not count it."""
        walk = self.evidence.user_walk
        return walk.leaf_bytes == PAGE_BYTES and is_special(walk, self.architecture)

    @property
    def is_own(self) -> bool:
        """Whether the mapping may have anonymous pages of its own process, or KSM pages.

        True for memory without a file and for private mappings of a file. A driver's mapping is
        neither, and entries of VM_PFNMAP are not counted as the process's.
        """
        vma = self.mapping.vma
        if vma is None or self.is_special or vma.has_flag("PFNMAP"):
            return False
        return vma.file is None or not vma.has_flag("MAYSHARE")

    @property
    def is_counted(self) -> bool:
        """Whether the frame's own ``_mapcount`` counts the user's entry."""
        page = self.mapped
        return (
            page is not None
            and page.mapcount is not None
            and not page.compound
            and not page.reserved
            and self.evidence.user_walk.leaf_bytes == PAGE_BYTES
            and not self.is_special
        )


@dataclass(frozen=True, slots=True)
class MappingView:
    """One VMA of a region, and the expectations given for it.

    Attributes:
        handed_on: another address space maps the same open file.
        data_is_freed: ``file->private_data`` points to a free slab object.
        lacking: pages of the region in the VMA that have no entry and no fault() to make one.
    """

    mapping: MappingFacts
    expected: frozenset[Expectation]
    handed_on: bool = False
    data_is_freed: bool = False
    lacking: tuple[range, ...] = ()

    @property
    def vma(self) -> VmaFacts:
        assert self.mapping.vma is not None
        return self.mapping.vma

    @property
    def alike(self) -> Hashable:
        """All that rules look at: views for which it is equal break the same rules."""
        vma = self.vma
        file = vma.file.file if vma.file else 0
        return (
            vma.vm_flags_words,
            vma.gone,
            file,
            self.expected,
            self.handed_on,
            self.data_is_freed,
            self.lacking,
        )


@dataclass(frozen=True)
class Differing:
    """A page of a region where a process maps another frame.

    Attributes:
        page: of the region.
        anonymous: the user's frame is anonymous memory.
        zeros: it is the zero page, or part of the huge zero page.
    """

    page: int
    user_pfn: int
    anonymous: bool
    zeros: bool


@dataclass(frozen=True)
class FramesView:
    """The frames of a mapping that differ from the region's.

    Attributes:
        name: the region's.
        different: pages of the region, in order.
        same: number of pages of the mapping that have the right frame.
        frames: PFN by page of the region, for the pages that have one.
    """

    name: str
    mapping: MappingFacts
    different: tuple[Differing, ...]
    same: int
    frames: Mapping[int, int]
