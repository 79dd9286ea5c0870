# SPDX-License-Identifier: GPL-2.0-or-later
"""The kind of a device's VMAs, and the kernel's mappings of frames if no kernel side was given."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from pageproof.judge.alias import doubt_findings
from pageproof.model import Finding, MappingFacts, Severity, TaskFault
from pageproof.model.alias import KernelSides, SweepGap
from pageproof.model.rule import Rule
from pageproof.model.where import Where, in_process

#: What a VMA's kind means for the proof, by its flag.
_KINDS = {
    "PFNMAP": "it maps raw frames (VM_PFNMAP): nothing counts these mappings, so a frame stays "
    "mapped when the driver frees it, and only the page tables show that",
    "MIXEDMAP": "it may map raw frames and pages (VM_MIXEDMAP): only pages whose mappings struct "
    "page counts cannot be freed while they are mapped",
}
_ORDINARY = (
    "it maps ordinary pages: struct page counts each mapping, and a page is not freed while it "
    "is mapped"
)

MAPPING_KIND: Final = Rule(
    id="mapping-kind",
    severity=Severity.NOTE,
    sentence="{kind}",
    cause="What the driver's mmap() did: remap_pfn_range(), vmf_insert_mixed(), vm_insert_page().",
    fix="Nothing is wrong.",
    reference="mm/memory.c, vm_normal_page()",
)
KERNEL_SIDE_UNKNOWN: Final = Rule(
    id="kernel-side-unknown",
    severity=Severity.NOTE,
    sentence="{frames}: no kernel address to compare with was given (--kernel, --pages); the "
    "kernel {what}",
    cause="No finder recognises the device.",
    fix="Give the kernel's address of the pages: --kernel EXPR or --pages EXPR.",
    reference="docs/your-driver.md",
)
KERNEL_SIDE_BY_VALUE: Final = Rule(
    id="kernel-side-by-value",
    severity=Severity.NOTE,
    sentence="{what}: its value is used as the kernel's address, not the address of the integer",
    cause="The driver keeps the address of its memory as an integer (__get_free_pages() returns "
    "one).",
    fix="Nothing is wrong. If the variable itself is mapped, pass &VARIABLE.",
    reference="docs/your-driver.md",
)


def kernel_side_by_value(where: Where, what: str) -> Finding:
    """Report that an integer is used as the address it holds.

    Args:
        where: the mapping to compare with.
        what: the integer and its value, in words.
    """
    return KERNEL_SIDE_BY_VALUE.finding(where, what=what)


def mapping_kind(mapping: MappingFacts) -> Finding:
    """Report whether a mapping is VM_PFNMAP, VM_MIXEDMAP or ordinary."""
    vma = mapping.vma
    assert vma is not None
    words = (text for word, text in _KINDS.items() if vma.has_flag(word))
    return MAPPING_KIND.finding(
        in_process(mapping.pid, vma.start),
        (("vm_flags", vma.vm_flags_words),),
        kind=next(words, _ORDINARY),
    )


def kernel_side_unknown(found: Iterable[KernelSides | TaskFault | SweepGap]) -> Iterator[Finding]:
    """Report where the kernel maps user pages when the user did not say which mapping is meant."""
    for one in found:
        if isinstance(one, KernelSides):
            yield _kernel_sides(one)
        else:
            yield from doubt_findings([one])


def _kernel_sides(one: KernelSides) -> Finding:
    last = one.pfn + one.pages - 1
    frames = f"frame 0x{one.pfn:x}" if one.pages == 1 else f"frames 0x{one.pfn:x}-0x{last:x}"
    what = "maps it at" if one.pages == 1 else "maps them from"
    if not one.aliases:
        what = "maps nowhere"
    return KERNEL_SIDE_UNKNOWN.finding(
        in_process(one.pid, one.address),
        tuple((f"{at.region} 0x{at.address:x}", owner or "?") for at, owner in one.aliases),
        frames=frames,
        what=what,
    )
