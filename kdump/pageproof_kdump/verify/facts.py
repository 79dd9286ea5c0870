# SPDX-License-Identifier: GPL-2.0-or-later
"""What several checks of a dump need, each collected once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path

from pageproof.attach import Target, Wanted, open_target
from pageproof.errors import PageproofError
from pageproof.find.kernel.paging import read_paging
from pageproof.find.process.tasks import TaskRecord, read_tasks
from pageproof.model import PagingFacts
from pageproof.model.auditfacts import AuditFacts, Need
from pageproof.observe.audit.facts import Collector
from pageproof.observe.walkers import walker_of
from pageproof.space.units import PAGE_SHIFT
from pageproof.walk import Walker
from pageproof_kdump.engine import NoFact
from pageproof_kdump.verify.head import Head

#: All that the checks need; what cannot be collected has its reason in AuditFacts.missing.
_NEEDS = frozenset(
    {Need.TOPS, Need.KERNEL, Need.USER_HALF, Need.AREAS, Need.SECTIONS, Need.FRAMES, Need.USERS}
)


class DumpFacts:
    """The facts about a dump. Each raises NoFact if it cannot be found out.

    Args:
        head: what its headers say.
        level: the dump level, if the user gave it.
        damage: what is wrong with the file; "" for nothing.
        symbols: files with debug info.
        progress: called with one line before each step.
        others: the other files of a dump that was split.
    """

    def __init__(
        self,
        head: Head,
        level: int | None,
        damage: str,
        symbols: Iterable[Path],
        progress: Callable[[str], None],
        others: Iterable[Path] = (),
    ) -> None:
        self.head, self.damage = head, damage
        self.level = level if head.level is None else head.level
        self._symbols, self._progress = tuple(symbols), progress
        self._others = tuple(others)

    @cached_property
    def opened(self) -> Target | PageproofError:
        """The dump with its debug info, or why it cannot be opened."""
        if self.damage:
            return PageproofError("the dump is damaged")
        wanted = Wanted(core=self.head.path, symbols=self._symbols, other_parts=self._others)
        try:
            return open_target(wanted, (), self._progress)
        except PageproofError as error:
            return error

    @property
    def target(self) -> Target:
        """The dump with its debug info."""
        if isinstance(self.opened, PageproofError):
            raise NoFact("the dump could not be opened")
        return self.opened

    @cached_property
    def paging(self) -> PagingFacts:
        """Its page tables."""
        return read_paging(self.target.prog)

    @cached_property
    def walker(self) -> Walker:
        """Walks its page tables."""
        return walker_of(self.target, self.paging, progress=self._progress)

    @cached_property
    def audit(self) -> AuditFacts:
        """The facts of the whole system, as ``audit`` collects them."""
        return Collector(self.target, self.paging, self.walker, self._progress).collect(_NEEDS)

    @cached_property
    def tasks(self) -> tuple[list[TaskRecord], str]:
        """All tasks, and why some may be missing."""
        return read_tasks(self.target.prog)

    @cached_property
    def has_page(self) -> Callable[[int], bool]:
        """Whether a frame is in the dump."""
        bitmap = self.head.bitmap
        if bitmap is not None:
            bits = bitmap
            return lambda pfn: pfn >> 3 < len(bits) and bool(bits[pfn >> 3] >> (pfn & 7) & 1)
        pieces = [
            (paddr, paddr + len(piece))
            for paddr, piece in self.target.reader.direct_memory()
            if not isinstance(piece, int)
        ]
        if not pieces:
            raise NoFact(f"which pages {self.head.path.name} has is not known")
        starts = [start for start, _ in pieces]

        def has(pfn: int) -> bool:
            at = bisect_right(starts, pfn << PAGE_SHIFT) - 1
            return at >= 0 and pfn << PAGE_SHIFT < pieces[at][1]

        return has
