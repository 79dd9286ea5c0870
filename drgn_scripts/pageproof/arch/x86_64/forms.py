# SPDX-License-Identifier: GPL-2.0-or-later
"""The bounds of the kernel's areas that depend only on the number of levels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_TIB: Final = 1 << 40


@dataclass(frozen=True)
class Form:
    """What depends only on the number of levels, and its place in the documentation.

    Attributes:
        user_end: first address past the user half; the kernel's begins at its negative.
        pgd_bytes: bytes under one entry of the topmost table.
        vmalloc_bytes: ``VMALLOC_SIZE_TB``.
        physmap, vmemmap, kasan: start and end in mm.rst, without KASLR.
        vmalloc: start in mm.rst.
    """

    user_end: int
    pgd_bytes: int
    vmalloc_bytes: int
    physmap: tuple[int, int]
    vmalloc: int
    vmemmap: tuple[int, int]
    kasan: tuple[int, int]


FORMS: Final = {
    4: Form(
        user_end=1 << 47,
        pgd_bytes=1 << 39,
        vmalloc_bytes=32 * _TIB,
        physmap=(0xFFFF_8880_0000_0000, 0xFFFF_C880_0000_0000),
        vmalloc=0xFFFF_C900_0000_0000,
        vmemmap=(0xFFFF_EA00_0000_0000, 0xFFFF_EB00_0000_0000),
        kasan=(0xFFFF_EC00_0000_0000, 0xFFFF_FC00_0000_0000),
    ),
    5: Form(
        user_end=1 << 56,
        pgd_bytes=1 << 48,
        vmalloc_bytes=12800 * _TIB,
        physmap=(0xFF11_0000_0000_0000, 0xFF91_0000_0000_0000),
        vmalloc=0xFFA0_0000_0000_0000,
        vmemmap=(0xFFD4_0000_0000_0000, 0xFFD6_0000_0000_0000),
        kasan=(0xFFDF_0000_0000_0000, 0xFFFF_FC00_0000_0000),
    ),
}
