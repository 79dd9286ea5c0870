# SPDX-License-Identifier: GPL-2.0-or-later
"""Names of bits of page-table entries, for reports."""

from __future__ import annotations

from typing import Final

#: ``arch/x86/include/asm/pgtable_types.h``, the bits of ``vm_page_prot``.
_PAGE_PROT: Final = (
    (0, "PRESENT"),
    (1, "RW"),
    (2, "USER"),
    (3, "PWT"),
    (4, "PCD"),
    (5, "ACCESSED"),
    (6, "DIRTY"),
    (7, "PAT"),
    (8, "GLOBAL"),
    (9, "SOFTW1"),
    (10, "SOFTW2"),
    (11, "SOFTW3"),
    (57, "SOFTW4"),
    (58, "SOFTW5"),
    (63, "NX"),
)

#: The manual's names of bits, in words.
FLAG_WORDS: Final = {
    "P": "present",
    "RW": "writable",
    "US": "user",
    "PWT": "write-through",
    "PCD": "cache-disable",
    "A": "accessed",
    "D": "dirty",
    "PSE": "huge leaf",
    "PAT": "PAT",
    "G": "global",
    "PROTNONE": "PROT_NONE",
    "NX": "no-execute",
}


def page_prot_words(prot: int) -> str:
    """Return ``vm_page_prot`` as names of bits joined with "|"."""
    words = [name for bit, name in _PAGE_PROT if prot >> bit & 1]
    key = prot >> 59 & 0xF
    if key:
        words.append(f"PKEY{key}")
    known = sum(1 << bit for bit, _ in _PAGE_PROT) | 0xF << 59
    words += [f"bit {bit}" for bit in range(64) if (prot & ~known) >> bit & 1]
    return "|".join(words) or "none"
