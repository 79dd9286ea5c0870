# SPDX-License-Identifier: GPL-2.0-or-later
"""What of physical memory is there at all, as the kernel itself knows it."""

from __future__ import annotations

import drgn

from pageproof.attach import Target
from pageproof.find.frame.ram import physical_resources


class Places:
    """RAM, devices and their windows. Read once: memory is added seldom."""

    def __init__(self, target: Target) -> None:
        try:
            self._spans = physical_resources(target.prog)
        except (drgn.FaultError, LookupError, ValueError):
            self._spans = ()

    def is_nowhere(self, paddr: int) -> bool:
        """Whether no memory and no device has an address; False where that is not known."""
        return bool(self._spans) and not any(span.start <= paddr < span.end for span in self._spans)
