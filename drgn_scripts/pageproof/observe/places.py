# SPDX-License-Identifier: GPL-2.0-or-later
"""Which physical addresses exist, as the kernel's resource tree has them."""

from __future__ import annotations

import drgn

from pageproof.attach import Target
from pageproof.find.frame.ram import physical_resources


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
