# SPDX-License-Identifier: GPL-2.0-or-later
"""``audit``: the facts that rules need, and why some are missing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import islice
from typing import Final, TypeVar

import drgn

from pageproof import arch
from pageproof.attach import Target
from pageproof.errors import PageproofError
from pageproof.find.frame.ram import memory_sections, recorded_types, system_ram, why_unmapped
from pageproof.find.frame.records import page_layout
from pageproof.find.frame.vmap import vmap_areas
from pageproof.find.kernel.areaowners import BROKEN
from pageproof.find.kernel.layout import read_layout
from pageproof.find.kernel.sealed import image_facts
from pageproof.find.process.mappings import Mappings, address_spaces
from pageproof.model import GAPS, MemoryGap, PagingFacts, Range
from pageproof.model.auditfacts import (
    Area,
    AuditFacts,
    FrameClass,
    Need,
    Section,
    Span,
    TopTable,
    TopTables,
    UserFacts,
)
from pageproof.model.kmap import LayoutFacts
from pageproof.model.where import INIT_MM, Space
from pageproof.observe.audit.frames import Frames, read_frames
from pageproof.observe.audit.owners import AuditOwners
from pageproof.observe.audit.users import UserSweep, space_of
from pageproof.observe.walkers import paging_form
from pageproof.space.physmap import not_of_type, unmapped
from pageproof.space.rows import mapped_in, named_rows
from pageproof.space.spans import pages_of, without
from pageproof.space.units import ADDRESS_LAST, PAGE_BYTES, PAGE_SHIFT
from pageproof.space.vmalloc import VMALLOC_ROWS, odd_spans
from pageproof.walk import TooMuchWork, Walker

_FACT = TypeVar("_FACT")
#: Errors of a target's data. They become the reason why a fact is missing.
_BROKEN: Final = (*BROKEN, PageproofError, MemoryGap, TooMuchWork)
#: Names, newest first, of mm_structs of the kernel beside init_mm that have the same upper half:
#: the one for code patching.
_KERNEL_MMS: Final = (("text_poke_mm", "poking_mm"),)
#: Further looks at parts of vmalloc space that do not agree with their tables.
_VMALLOC_LOOKS: Final = 8
#: Limit: odd pages of the direct map that are looked up.
_MOST_ODD: Final = 1 << 16


class Missing(Exception):
    """A part of the facts is missing; the message gives the reason."""


class Collector:
    """One look at a target. Each part is collected once, if a rule needs it."""

    def __init__(
        self,
        target: Target,
        paging: PagingFacts,
        walker: Walker,
        progress: Callable[[str], None],
    ) -> None:
        self._target, self._paging, self._walker = target, paging, walker
        self._architecture = arch.of(target.facts.arch)
        self._progress = progress
        self._missing: dict[Need, str] = {}

    def collect(self, needs: Collection[Need]) -> AuditFacts:
        """Collect the parts that rules need, or the reasons why they are missing."""
        facts = AuditFacts(self._target.facts, self._paging)
        try:
            facts = replace(facts, layout=self._layout)
        except _BROKEN as error:
            why = f"the kernel does not say where its regions are: {error}"
            return replace(facts, missing=dict.fromkeys(Need, why))

        def part(need: Need, get: Callable[[], _FACT]) -> _FACT | None:
            if need not in needs:
                return None
            self._progress(f"reading {need}")
            try:
                return get()
            except Exception as error:  # what one rule needs must not lose the others
                expected = isinstance(error, (*_BROKEN, Missing))
                name = "" if expected else f"{type(error).__name__}: "
                self._missing[need] = f"{name}{error}"
                return None

        facts = replace(
            facts,
            tops=part(Need.TOPS, self._tops),
            kernel=part(Need.KERNEL, lambda: self._kernel),
            user_half=part(Need.USER_HALF, self._user_half),
            image=part(Need.IMAGE, lambda: image_facts(self._target.prog)),
            ram=part(Need.RAM, lambda: self._ram),
            areas=part(Need.AREAS, self._areas),
            sections=part(Need.SECTIONS, lambda: self._sections),
        )
        users, marked = part(Need.USERS, self._users) or (None, frozenset[int]())
        classes = part(Need.FRAMES, lambda: self._classes(marked))
        facts = replace(facts, users=users, classes=classes)
        if facts.kernel is not None and facts.ram is not None:
            facts = self._with_reasons(facts)
        if self._target.facts.live and facts.kernel is not None and facts.areas is not None:
            moving = part(Need.AREAS, lambda: self._moving(facts))
            facts = replace(facts, moving=moving or ())
        return replace(facts, missing=self._missing)

    @cached_property
    def _layout(self) -> LayoutFacts:
        return read_layout(self._target.prog, self._paging)

    @cached_property
    def _half(self) -> int:
        return ADDRESS_LAST - paging_form(self._target, self._paging).lower_half_last

    @cached_property
    def _spaces(self) -> Mappings:
        return address_spaces(self._target.prog, self._paging)

    def _swept(self, root: int) -> tuple[Range, ...]:
        """Sweep the upper half.

        Raises:
            Missing: a table cannot be read, so the whole is unknown.
        """
        ranges = tuple(self._walker.ranges(root, self._half, ADDRESS_LAST, merged=True))
        gaps = [one for one in ranges if one.outcome in GAPS]
        if gaps:
            more = f", and {len(gaps) - 1} more" if len(gaps) > 1 else ""
            raise Missing(f"{gaps[0].detail}{more}")
        return ranges

    @cached_property
    def _kernel(self) -> tuple[Range, ...]:
        return self._swept(self._paging.kernel_root)

    def _user_half(self) -> tuple[Range, ...]:
        if not self._paging.pti:
            return ()
        return self._swept(self._architecture.user_root(self._paging.kernel_root))

    @cached_property
    def _ram(self) -> tuple[Span, ...]:
        return system_ram(self._target.prog)

    @cached_property
    def _sections(self) -> tuple[Section, ...]:
        return tuple(memory_sections(self._target.prog))

    @cached_property
    def _frames(self) -> Frames:
        layout = page_layout(self._target.prog)
        vmemmap = self._layout.vmemmap_base
        frames = self._layout.memory_bytes >> PAGE_SHIFT
        return read_frames(self._target, layout, vmemmap, self._kernel, frames, self._sections)

    def _areas(self) -> tuple[Area, ...]:
        layout = self._layout
        return tuple(vmap_areas(self._target.prog, layout.vmemmap_base, layout.struct_page_bytes))

    def _moving(self, facts: AuditFacts) -> tuple[Span, ...]:
        """Return where vmalloc space disagrees with its tables in some looks only.

        Areas such as task stacks come and go. The tables may have been read while an area existed
        and the list of areas while it did not, by chance several times.
        """
        moving: list[Span] = []
        standing = self._odd_spans(facts)
        for _ in range(_VMALLOC_LOOKS):
            if not standing:
                break
            kernel = (
                one
                for span in standing
                for one in self._walker.ranges(
                    self._paging.kernel_root, span.start, span.end - 1, merged=True
                )
            )
            still = self._odd_spans(replace(facts, kernel=tuple(kernel), areas=self._areas()))
            moving += [part for span in standing for part in without(span, still)]
            standing = still
        return tuple(sorted(moving, key=lambda one: one.start))

    def _mapped(self, kernel: Sequence[Range], *names: str) -> list[Range]:
        """Return what the kernel maps in the rows with these names."""
        rows = named_rows(self._architecture.memory_map(self._layout), *names)
        return mapped_in(rows, kernel)

    def _odd_spans(self, facts: AuditFacts) -> list[Span]:
        mapped = self._mapped(facts.kernel or (), *VMALLOC_ROWS)
        return odd_spans(mapped, facts.areas or (), facts.moving)

    def _top(self, space: Space, root: int, *, user_half: bool = False) -> TopTable:
        if user_half:
            root = self._architecture.user_root(root)
        entries: tuple[int, ...] = ()
        gap = ""
        try:
            data = self._target.reader.read_physical(root, PAGE_BYTES)
            entries = tuple(memoryview(data).cast("Q"))
        except MemoryGap as error:
            gap = str(error)
        if self._target.facts.zero_fills and not gap and not any(entries):
            entries, gap = (), "it reads as zeros, which this target makes up"
        return TopTable(space, root, entries, gap, user_half)

    def _tops(self) -> TopTables:
        paging, prog = self._paging, self._target.prog
        named = [(space_of(one), one.kernel_half_root) for one in self._spaces.found]
        for names in _KERNEL_MMS:
            for name in names:
                try:
                    pgd = prog[name].pgd.value_()
                except (LookupError, drgn.FaultError):
                    continue
                named.append((Space(None, tables=name), pgd - paging.page_offset_base))
        halves = named if paging.pti else []
        return TopTables(
            kernel=self._top(INIT_MM, paging.kernel_root),
            kernel_user=self._top(INIT_MM, paging.kernel_root, user_half=True)
            if paging.pti
            else None,
            spaces=tuple(self._top(space, root) for space, root in named),
            user_halves=tuple(self._top(space, root, user_half=True) for space, root in halves),
            faults=tuple(f"pid {one.pid}: {one.message}" for one in self._spaces.faults),
        )

    def _classes(self, marked: Collection[int]) -> bytes:
        """Return the classes of all frames; struct page marks some as tables since it was read."""
        classes = bytearray(self._frames.classes)
        for pfn in marked:
            classes[pfn] |= FrameClass.TABLE
        return bytes(classes)

    def _users(self) -> tuple[UserFacts, frozenset[int]]:
        frames = None
        try:
            frames = self._frames
        except (*_BROKEN, Missing) as error:
            self._missing[Need.FRAMES] = str(error)
        count = self._layout.memory_bytes >> PAGE_SHIFT
        try:
            ram = self._ram
        except _BROKEN:
            ram = ()
        sweep = UserSweep(self._target, self._paging, self._walker, self._spaces, count)
        # struct page is read through the kernel's tables. Without it no frame is suspect.
        owners = None
        if frames is not None:
            owners = AuditOwners(self._target, self._paging, self._walker, self._kernel)
        return sweep.facts(frames, ram, owners)

    def _with_reasons(self, facts: AuditFacts) -> AuditFacts:
        """Add why some RAM is not in the direct map, or not write-back there."""
        prog, base = self._target.prog, self._layout.page_offset_base
        physmap = self._mapped(facts.kernel or (), "physmap")
        holes = [
            pfn
            for hole in unmapped(physmap, base, facts.ram or ())
            for pfn in range(hole.start >> PAGE_SHIFT, hole.end >> PAGE_SHIFT)
        ][:_MOST_ODD]
        usual = self._architecture.write_back
        types = not_of_type(usual, facts.kernel or (), base, facts.ram or ())
        odd = [pfn for pfn, _ in islice(types, _MOST_ODD)]
        return replace(
            facts,
            unmapped=dict(why_unmapped(prog, holes, self._executed())),
            memtypes=dict(recorded_types(prog, odd)),
        )

    def _executed(self) -> frozenset[int]:
        """Return the frames that are mapped executable in the modules row."""
        return frozenset(
            (one.frame >> PAGE_SHIFT) + page
            for one in self._mapped(self._kernel, "modules")
            if one.frame is not None
            if one.permissions is not None and one.permissions.execute
            for page in range(pages_of(one))
        )
