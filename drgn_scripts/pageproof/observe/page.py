# SPDX-License-Identifier: GPL-2.0-or-later
"""Collect the evidence of one page: walk, read, walk again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from pageproof import arch
from pageproof.attach import Target
from pageproof.find.frame.content import content_by, is_plain_ram, read_user_virtual
from pageproof.find.frame.opinion import second_opinion
from pageproof.find.frame.owner import named_file_of
from pageproof.find.frame.page import struct_page_facts
from pageproof.find.frame.ram import has_its_zone
from pageproof.find.identify.memory import slab_at
from pageproof.find.kernel.layout import physmap
from pageproof.find.process.mappings import key_of
from pageproof.find.umh_shm.slot import slot_reader
from pageproof.model import (
    MappingFacts,
    MemoryGap,
    Outcome,
    PageEvidence,
    PagingFacts,
    Route,
    RouteContent,
    SlabFacts,
    SlotFacts,
    StructPageFacts,
    Walk,
)
from pageproof.observe.attempts import look_until
from pageproof.observe.content import ContentReader
from pageproof.observe.owners import Owners
from pageproof.observe.places import Places
from pageproof.observe.walkers import zero_pages
from pageproof.space.units import PAGE_BYTES
from pageproof.walk import Walker
from pageproof.walk.compare import agree
from pageproof.walk.opinion import disputes


@dataclass(frozen=True)
class Pair:
    """Two addresses to compare, and the page of the region that both should map.

    Attributes:
        region: index into ``Report.regions``.
        slot: the page belongs to the module's region and holds a request.
    """

    mapping: int
    page_index: int | None
    kernel_address: int
    user_address: int
    region: int | None = None
    slot: bool = True


def settle(look: Callable[[], PageEvidence], live: bool) -> PageEvidence:
    """Look until two walks agree, a bounded number of times; once if nothing can change.

    A look is void if a page table changed, or if the second opinion contradicts, because it may
    have been taken a moment later. Changed content does not void a look, since the other side may
    write at any time, but it is worth another look.
    """

    def settled(seen: PageEvidence) -> bool:
        disputed = disputes(seen.kernel_walk, seen.kernel_second) or disputes(
            seen.user_walk, seen.user_second
        )
        return seen.stable and seen.content_stable and not disputed

    evidence, attempts = look_until(settled, look, live=live)
    return replace(evidence, attempts=attempts)


def without_vanished(
    evidences: Sequence[PageEvidence],
    before: Sequence[MappingFacts],
    after: Sequence[MappingFacts],
) -> list[PageEvidence]:
    """Mark pages as torn whose mapping went away or moved during the look.

    The tables of a process that has exited are other memory by now, so a walk through them is
    worthless.
    """

    there = {key_of(mapping) for mapping in after}
    return [
        one if key_of(before[one.mapping]) in there else replace(one, stable=False)
        for one in evidences
    ]


class Observer:
    """Collects the evidence of one page: walk, read, walk again."""

    def __init__(
        self,
        target: Target,
        paging: PagingFacts,
        mappings: tuple[MappingFacts, ...],
        walker: Walker,
    ) -> None:
        self._target = target
        self._facts = paging
        self._mappings = mappings
        self._slots = slot_reader(target.prog)
        self._walker = walker
        self._physmap = physmap(target.prog)
        self._zeros = zero_pages(target, paging, walker)
        self._owners = Owners(target, paging, walker)
        self._places = Places(target)
        self._content_reader = ContentReader(target, paging, walker)

    def observe(self, pair: Pair) -> PageEvidence:
        """Return the evidence of one page, once it has settled."""
        return settle(lambda: self._look(pair), self._target.facts.live)

    def _walks(self, pair: Pair) -> tuple[Walk, Walk]:
        root = self._mappings[pair.mapping].root
        return (
            self._walker.walk(self._facts.kernel_root, pair.kernel_address),
            self._walker.walk(root, pair.user_address),
        )

    def _look(self, pair: Pair) -> PageEvidence:
        prog, mapping = self._target.prog, self._mappings[pair.mapping]
        kernel, user = self._walks(pair)
        sme = self._facts.sme_mask
        kernel_second = second_opinion(prog, None, pair.kernel_address, sme)
        user_second = second_opinion(prog, mapping.mm, pair.user_address, sme)
        content = tuple(self._content(pair, kernel, user))
        slot = self._slot(kernel, pair.page_index) if pair.slot else None
        page = self._struct_page(kernel.pfn)
        other = user.pfn is not None and user.pfn != kernel.pfn
        user_page = self._struct_page(user.pfn) if other else None
        mapped = user_page if other else page
        stable = content_stable = True
        if self._target.facts.live:
            again = self._walks(pair)
            stable = agree(kernel, again[0]) and agree(user, again[1])
            same = kernel.pfn == user.pfn
            digests = {c.sha256 for c in content if c.sha256 is not None}
            content_stable = not same or len(digests) < 2
        return PageEvidence(
            mapping=pair.mapping,
            region=pair.region,
            page_index=pair.page_index,
            kernel_address=pair.kernel_address,
            user_address=pair.user_address,
            kernel_walk=kernel,
            user_walk=user,
            kernel_second=kernel_second,
            user_second=user_second,
            page=page,
            user_page=user_page,
            content=content,
            slot=slot,
            attempts=1,
            stable=stable,
            content_stable=content_stable,
            physmap_walk=self._physmap_walk(kernel, user),
            slab=self._slab(user, mapped),
            zero_page=user.pfn is not None and self.is_zeros(user.pfn),
            cached_file=self._cached_file(mapping, mapped),
            area=None if user.pfn is None else self._owners.of(user.pfn, mapping),
            damaged=tuple(self._damaged(kernel, user)),
        )

    def walk_user(self, mapping: MappingFacts, address: int) -> Walk:
        """Walk a user address once."""
        return self._walker.walk(mapping.root, address)

    def _struct_page(self, pfn: int | None) -> StructPageFacts | None:
        """Return a frame's struct page; None if it cannot be the frame's."""
        if pfn is None or not has_its_zone(self._target.prog, pfn):
            return None
        return struct_page_facts(self._target.prog, pfn)

    def _damaged(self, kernel: Walk, user: Walk) -> Iterator[tuple[str, str]]:
        """Yield what is impossible about a page, and why."""
        for side, walk in (("kernel frame", kernel), ("user frame", user)):
            # Both sides may lead to the same frame outside known memory.
            if walk.paddr is None or (side == "user frame" and walk.pfn == kernel.pfn):
                continue
            if user.paddr != kernel.paddr and self._places.is_nowhere(walk.paddr):
                yield side, "no memory and no device is there"
            prog, pfn = self._target.prog, walk.paddr // PAGE_BYTES
            if struct_page_facts(prog, pfn) is not None and not has_its_zone(prog, pfn):
                yield "struct page", f"that of the {side} names a zone without it"

    def is_zeros(self, pfn: int) -> bool:
        """Return whether a frame is the zero page, or part of the huge zero page."""
        return pfn in self._zeros

    def _at_rest(self, paddr: int) -> bytes | None:
        """Read until two reads agree; None if they never do.

        Raises:
            MemoryGap: it cannot be read.
        """
        read = self._content_reader.read_physical
        if not self._target.facts.live:
            return read(paddr, PAGE_BYTES)
        (first, second), _ = look_until(
            lambda seen: seen[0] == seen[1],
            lambda: (read(paddr, PAGE_BYTES), read(paddr, PAGE_BYTES)),
            live=True,
        )
        return second if first == second else None

    def _physmap_walk(self, kernel: Walk, user: Walk) -> Walk | None:
        """Walk the user frame's address in the direct map, unless that is the region's address."""
        address = self._physmap_address(user)
        if address is None or kernel.address & -PAGE_BYTES == address:
            return None
        return self._walker.walk(self._facts.kernel_root, address)

    def _physmap_address(self, walk: Walk) -> int | None:
        if walk.paddr is None or walk.paddr >= len(self._physmap):
            return None
        return self._physmap[walk.paddr & -PAGE_BYTES]

    def _slab(self, user: Walk, page: StructPageFacts | None) -> SlabFacts | None:
        address = self._physmap_address(user)
        if address is None or page is None or page.type_words != "slab":
            return None
        return slab_at(self._target.prog, address)

    def _cached_file(self, mapping: MappingFacts, page: StructPageFacts | None) -> str:
        file = mapping.vma.file if mapping.vma else None
        if page is None or file is None:
            return ""
        return named_file_of(self._target.prog, page, file)

    def _content(self, pair: Pair, kernel: Walk, user: Walk) -> Iterator[RouteContent]:
        reader, prog = self._content_reader, self._target.prog
        mm = self._mappings[pair.mapping].mm
        devices = {walk.pfn for walk in (kernel, user) if self._is_device(walk)}

        def physical(walk: Walk) -> bytes:
            assert walk.paddr is not None
            if walk.pfn in devices:
                raise MemoryGap(Outcome.UNREADABLE, "a device's memory, which a read may change")
            return reader.read_physical(walk.paddr, PAGE_BYTES)

        def guarded(walk: Walk, read: Callable[[], bytes]) -> Callable[[], bytes]:
            # A virtual route ends in the same frame. If the dump omits it, drgn returns zeros,
            # so check the frame first.
            def checked() -> bytes:
                physical(walk)
                return read()

            return checked

        # An entry without PRESENT admits no access, including drgn's.
        if kernel.outcome is Outcome.MAPPED:
            by_kernel = guarded(
                kernel, lambda: reader.read_kernel_virtual(pair.kernel_address, PAGE_BYTES)
            )
            yield content_by(Route.KERNEL_VIRTUAL, by_kernel)
        if user.outcome is Outcome.MAPPED:
            by_user = guarded(
                user, lambda: read_user_virtual(prog, mm, pair.user_address, MemoryGap.from_fault)
            )
            yield content_by(Route.USER_VIRTUAL, by_user)
        if kernel.paddr is not None:
            yield content_by(Route.PHYSICAL, lambda: physical(kernel))
        if user.paddr is not None and user.paddr != kernel.paddr:
            yield content_by(Route.USER_PHYSICAL, lambda: physical(user))

    def _is_device(self, walk: Walk) -> bool:
        """Return whether reading a frame may have side effects, because QEMU asks the device.

        True for a frame without struct page, and for one that is not RAM and not write-back.
        """
        if walk.pfn is None or not self._target.facts.live:
            return False
        if is_plain_ram(self._target.prog, self._facts, walk.pfn):
            return False
        page = struct_page_facts(self._target.prog, walk.pfn)
        return page is None or walk.memory_type != arch.of(self._target.facts.arch).write_back

    def _slot(self, kernel: Walk, page: int | None) -> SlotFacts | None:
        if self._slots is None or kernel.paddr is None or page is None:
            return None
        try:
            data = self._at_rest(kernel.paddr)
        except MemoryGap:
            return None
        return None if data is None else self._slots.facts(data)
