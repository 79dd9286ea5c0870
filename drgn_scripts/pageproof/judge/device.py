# SPDX-License-Identifier: GPL-2.0-or-later
"""What a device's VMAs are, and what is known of frames whose kernel side nobody named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pageproof.judge.rules.views import has_flag
from pageproof.model import Finding, MappingFacts, Severity
from pageproof.model.alias import Alias
from pageproof.model.rule import Rule

#: By the word of the flag: what a VMA's kind means for the proof.
_KINDS = {
    "PFNMAP": "it maps raw frames (VM_PFNMAP): nothing counts these mappings, so that a frame "
    "stays mapped when the driver frees it, and only the page tables tell",
    "MIXEDMAP": "it may map raw frames and pages (VM_MIXEDMAP): only what struct page counts is "
    "kept from being freed while it is mapped",
}
_ORDINARY = (
    "it maps ordinary pages: each is counted in struct page and not freed while it is mapped"
)

MAPPING_KIND: Final = Rule(
    "mapping-kind",
    Severity.NOTE,
    "{kind}",
    "What the driver's mmap() did: remap_pfn_range(), vmf_insert_mixed(), vm_insert_page().",
    "Nothing is wrong.",
    "mm/memory.c, vm_normal_page()",
)
KERNEL_SIDE_UNKNOWN: Final = Rule(
    "kernel-side-unknown",
    Severity.NOTE,
    "{frames}: which kernel address is to be the same was not said (--kernel, --pages); the kernel "
    "{what}",
    "No finder knows the device.",
    "Say where the kernel has its pages: --kernel EXPR or --pages EXPR.",
    "docs/your-driver.md",
)
KERNEL_SIDE_BY_VALUE: Final = Rule(
    "kernel-side-by-value",
    Severity.NOTE,
    "{what}: that value is taken for the kernel's address, and not the address of the integer",
    "A driver keeps the address of its memory as an integer (__get_free_pages() gives one).",
    "Nothing is wrong. If the variable itself is mapped, say &VARIABLE.",
    "docs/your-driver.md",
)


def kernel_side_by_value(where: str, what: str) -> Finding:
    """An integer that stands for what it points at.

    Args:
        where: the mapping that is compared.
        what: which integer it is, and what it holds.
    """
    return KERNEL_SIDE_BY_VALUE.finding(where, what=what)


def mapping_kind(mapping: MappingFacts) -> Finding:
    """VM_PFNMAP, VM_MIXEDMAP or ordinary."""
    vma = mapping.vma
    assert vma is not None
    words = (text for word, text in _KINDS.items() if has_flag(vma, word))
    return MAPPING_KIND.finding(
        f"pid {mapping.pid} at 0x{vma.start:x}",
        (("vm_flags", vma.vm_flags_words),),
        kind=next(words, _ORDINARY),
    )


def kernel_side_unknown(
    pid: int, address: int, pages: int, pfn: int, aliases: Sequence[tuple[Alias, str]]
) -> Finding:
    """Which mappings the kernel has of adjoining user pages, when nobody said which is meant.

    Args:
        pid: the process.
        address: of its first page.
        pages: how many there are, each with a frame and aliases that adjoin the last one's.
        pfn: the first one's frame.
        aliases: the kernel's mappings of it, with what is there.
    """
    frames = f"frame 0x{pfn:x}" if pages == 1 else f"frames 0x{pfn:x}-0x{pfn + pages - 1:x}"
    what = "maps it at" if pages == 1 else "maps them from"
    if not aliases:
        what = what.split()[0] + " nowhere"
    return KERNEL_SIDE_UNKNOWN.finding(
        f"pid {pid} at 0x{address:x}",
        tuple((f"{one.region} 0x{one.address:x}", owner or "?") for one, owner in aliases),
        frames=frames,
        what=what,
    )
