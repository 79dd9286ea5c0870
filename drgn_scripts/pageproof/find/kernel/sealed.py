# SPDX-License-Identifier: GPL-2.0-or-later
"""The protected parts of the kernel's image: text, read-only data, the parts that PTI shares."""

from __future__ import annotations

from typing import Final

import drgn
from drgn.helpers.linux.cpumask import for_each_possible_cpu
from drgn.helpers.linux.percpu import per_cpu

from pageproof.find.kernel.paging import optional_number
from pageproof.model.auditfacts import ImageFacts, Span
from pageproof.space.units import PAGE_BYTES

_PMD_BYTES: Final = 2 << 20


def image_facts(prog: drgn.Program) -> ImageFacts:
    """Return the ranges of text and read-only data, and the part that PTI may share.

    Raises:
        LookupError: a symbol is missing.
    """
    text, etext = _symbol(prog, "_text"), _symbol(prog, "_etext")
    start, end = _symbol(prog, "__start_rodata"), _symbol(prog, "__end_rodata")
    return ImageFacts(
        text=Span(text, etext & -PAGE_BYTES),
        rodata=Span(start, end & -PAGE_BYTES),
        shared=Span(text & -_PMD_BYTES, -(-end // _PMD_BYTES) * _PMD_BYTES),
        tss_pages=tuple(sorted(_tss_pages(prog))),
        # rodata_enabled belongs to CONFIG_STRICT_KERNEL_RWX, which x86_64 always has.
        read_only=optional_number(prog, "rodata_enabled") != 0,
    )


def _symbol(prog: drgn.Program, name: str) -> int:
    return int(prog.symbol(name).address)


def _tss_pages(prog: drgn.Program) -> set[int]:
    try:
        tss = prog["cpu_tss_rw"]
    except LookupError:
        return set()
    found = set()
    for cpu in for_each_possible_cpu(prog):
        found.add((per_cpu(tss, cpu).address_ or 0) & -PAGE_BYTES)
    return found
