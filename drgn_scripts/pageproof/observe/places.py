# SPDX-License-Identifier: GPL-2.0-or-later
"""Which physical addresses exist, as the kernel's resource tree has them."""

from __future__ import annotations

from collections.abc import Iterator

import drgn

from pageproof.attach import Target
from pageproof.find.frame.ram import physical_resources
from pageproof.space.units import PAGE_BYTES


class Places:
    """RAM, devices and their windows. Read once, because memory is rarely added."""

    def __init__(self, target: Target) -> None:
        try:
            self._spans = physical_resources(target.prog)
        except (drgn.FaultError, LookupError, ValueError):
            self._spans = ()

    def is_nowhere(self, paddr: int) -> bool:
        """Return whether neither memory nor a device has an address; False if unknown."""
        return bool(self._spans) and not any(span.start <= paddr < span.end for span in self._spans)

    def changes(self, paddr: int, pages: int) -> Iterator[int]:
        """Yield the numbers of pages, counted from paddr, at which the answer may change."""
        for span in self._spans:
            for edge in (span.start, span.end):
                page = -(-(edge - paddr) // PAGE_BYTES)
                if 0 < page < pages:
                    yield page
