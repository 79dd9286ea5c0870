# SPDX-License-Identifier: GPL-2.0-or-later
"""RAM that is missing from the direct map, or has another memory type than usual there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pageproof.model import MemoryType, Range
from pageproof.model.auditfacts import Span
from pageproof.space.spans import is_mapped, joined, span_of, within, without
from pageproof.space.units import PAGE_BYTES, PAGE_SHIFT


def unmapped(physmap: Iterable[Range], base: int, ram: Iterable[Span]) -> Iterator[Span]:
    """Yield the physical addresses of RAM that the direct map does not map.

    Args:
        physmap: ranges of the direct map, in order of address.
        base: the virtual address of physical address 0.
        ram: physical addresses of System RAM.
    """
    there = list(joined(span_of(one) for one in physmap if is_mapped(one)))
    for one in ram:
        for hole in without(Span(base + one.start, base + one.end), there):
            yield Span(hole.start - base, hole.end - base)


def not_of_type(
    usual: MemoryType, kernel: Sequence[Range], base: int, ram: Iterable[Span]
) -> Iterator[tuple[int, MemoryType]]:
    """Yield (PFN, memory type) of RAM that is not of the usual type in the direct map.

    Args:
        usual: write-back, by the architecture's name.
        kernel: ranges of the kernel's half, in order of address.
        base: the virtual address of physical address 0.
        ram: physical addresses of System RAM.
    """
    for span in ram:
        for one in within(kernel, base + span.start, base + span.end):
            kind = one.memory_type
            if not is_mapped(one) or kind is None or kind == usual:
                continue
            for address in range(one.start, one.last, PAGE_BYTES):
                yield address - base >> PAGE_SHIFT, kind
