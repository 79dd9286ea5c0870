# SPDX-License-Identifier: GPL-2.0-or-later
"""The protected parts of the kernel's image: text, read-only data, the parts that PTI shares."""

from __future__ import annotations

import drgn

from pageproof import arch
from pageproof.find.kernel.paging import optional_number
from pageproof.model.auditfacts import ImageFacts, Span
from pageproof.space.units import PAGE_BYTES


def image_facts(prog: drgn.Program) -> ImageFacts:
    """Return the ranges of text and read-only data, and the part that PTI may share.

    Raises:
        LookupError: a symbol is missing.
    """
    architecture = arch.of_program(prog)
    huge = architecture.huge_page_bytes
    text, etext = _symbol(prog, "_text"), _symbol(prog, "_etext")
    start, end = _symbol(prog, "__start_rodata"), _symbol(prog, "__end_rodata")
    return ImageFacts(
        text=Span(text, etext & -PAGE_BYTES),
        rodata=Span(start, end & -PAGE_BYTES),
        shared=Span(text & -huge, -(-end // huge) * huge),
        tss_pages=tuple(sorted(architecture.exposed_pages(prog))),
        read_only=optional_number(prog, "rodata_enabled") != 0,
    )


def _symbol(prog: drgn.Program, name: str) -> int:
    return int(prog.symbol(name).address)
