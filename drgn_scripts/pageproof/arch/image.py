# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a kernel's image and its page tables are, by nothing but its VMCOREINFO."""

from __future__ import annotations

from dataclasses import dataclass

from pageproof.arch.paging import Paging


class Unsuitable(Exception):
    """A VMCOREINFO that is not one of this architecture."""


class OtherWordSize(Unsuitable):
    """It is one of a 32-bit kernel."""


@dataclass(frozen=True)
class ImagePlace:
    """The place of a kernel's image.

    Attributes:
        paging: the form of the kernel's tables.
        tables: virtual address of ``init_mm``'s topmost table, which is in the image.
        shift: what turns an address of the image into a physical one if added.
    """

    paging: Paging
    tables: int
    shift: int

    def physical(self, address: int) -> int:
        """Return the physical address of a virtual one of the image."""
        return address + self.shift
