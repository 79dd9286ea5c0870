# SPDX-License-Identifier: GPL-2.0-or-later
"""One side of shared memory: the frames of many spans of one address space, as runs of pages."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from pageproof.model import GAPS, Outcome
from pageproof.space.units import ADDRESS_LAST, PAGE_BYTES

#: Index of the first page, number of pages, and address of each span, one after the other.
Spans: TypeAlias = "array[int]"

#: The engine's SIDE_FORMAT: index, pages, paddr, span, kind, same.
_FORMAT: Final = "=3QI2B2x"
#: A record as 64-bit numbers.
_WORDS: Final = struct.calcsize(_FORMAT) // 8
_NO_PADDR: Final = ADDRESS_LAST


class Side(NamedTuple):
    """Pages of a span whose entries are of one kind, and whose frames adjoin or are as expected.

    Attributes:
        first: index of the first page.
        pages: how many.
        paddr: of the first page; None without a frame, and if ``same``.
        span: number of the span.
        outcome: as of :meth:`Walker.walk` for each page.
        same: the frames are the expected ones, wherever they are.
    """

    first: int
    pages: int
    paddr: int | None
    span: int
    outcome: Outcome
    same: bool

    def cut(self, first: int, pages: int) -> Side:
        """Return some of the pages."""
        if (first, pages) == (self.first, self.pages):
            return self
        paddr = self.paddr
        if paddr is not None:
            paddr += (first - self.first) * PAGE_BYTES
        return self._replace(first=first, pages=pages, paddr=paddr)

    def continues(self, before: Side) -> bool:
        """Return whether the pages can be in one run with those before them."""
        follows = None if before.paddr is None else before.paddr + before.pages * PAGE_BYTES
        return (
            before.span == self.span
            and before.first + before.pages == self.first
            and before.outcome is self.outcome
            and before.same == self.same
            and follows == self.paddr
        )


@dataclass(frozen=True)
class Sides:
    """The result of :meth:`Walker.sides`: runs in the order of the spans.

    Attributes:
        data: the runs, packed. Results of one walker are equal if these are.
        outcomes: the outcome that each number of a kind in the data means.
    """

    data: bytes
    outcomes: tuple[Outcome, ...]

    @classmethod
    def of(cls, sides: Iterable[Side]) -> Sides:
        """Pack runs, of which some may continue the one before."""
        outcomes = tuple(Outcome)
        numbers = {outcome: number for number, outcome in enumerate(outcomes)}
        packed = (
            struct.pack(
                _FORMAT,
                one.first,
                one.pages,
                _NO_PADDR if one.paddr is None else one.paddr,
                one.span,
                numbers[one.outcome],
                one.same,
            )
            for one in merged(sides)
        )
        return cls(b"".join(packed), outcomes)

    def __iter__(self) -> Iterator[Side]:
        outcomes = self.outcomes
        for first, pages, paddr, span, kind, same in struct.iter_unpack(_FORMAT, self.data):
            frame = None if paddr == _NO_PADDR else paddr
            yield Side(first, pages, frame, span, outcomes[kind], bool(same))

    def __len__(self) -> int:
        return len(self.data) // struct.calcsize(_FORMAT)

    def __getitem__(self, number: int) -> Side:
        size = struct.calcsize(_FORMAT)
        return next(iter(Sides(self.data[number * size : (number + 1) * size], self.outcomes)))

    def as_expected(self, spans: Spans) -> Iterator[int]:
        """Yield the numbers of the spans whose pages are all at their expected frames, in one run.

        Args:
            spans: those that this is the result of.
        """
        for _, pages, _, span, _, same in struct.iter_unpack(_FORMAT, self.data):
            if same and pages == spans[3 * span + 1]:
                yield span

    def counts(self, spans: int) -> list[tuple[int, int]]:
        """Return for each span how many of its pages have a frame, and how many are unknown.

        Args:
            spans: their number.
        """
        mapped, unknown = [0] * spans, [0] * spans
        has_frame = [one is Outcome.MAPPED for one in self.outcomes]
        is_gap = [one in GAPS for one in self.outcomes]
        for _, pages, _, span, kind, _ in struct.iter_unpack(_FORMAT, self.data):
            if has_frame[kind]:
                mapped[span] += pages
            elif is_gap[kind]:
                unknown[span] += pages
        return list(zip(mapped, unknown, strict=True))

    def indices(self) -> Sequence[int]:
        """Return the index of the first page of each run."""
        return array("Q", self.data)[::_WORDS]


def merged(sides: Iterable[Side]) -> Iterator[Side]:
    """Join runs that continue each other."""
    before: Side | None = None
    for one in sides:
        if before is not None and one.continues(before):
            before = before._replace(pages=before.pages + one.pages)
            continue
        if before is not None:
            yield before
        before = one
    if before is not None:
        yield before
