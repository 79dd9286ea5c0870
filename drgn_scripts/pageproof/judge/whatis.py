# SPDX-License-Identifier: GPL-2.0-or-later
"""The use of a frame, its aliases, and whether an address is identified."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pageproof.errors import Exit
from pageproof.model import GAPS, Outcome, PagingFacts, StructPageFacts, Walk
from pageproof.model.kmap import LayoutFacts
from pageproof.model.whatis import AliasFacts, Identity, OwnerFacts, PageUse, Unknown
from pageproof.space.units import ADDRESS_LAST


def page_use(page: StructPageFacts, owner: OwnerFacts | None) -> PageUse:
    """Return what a frame is used for.

    Args:
        page: its ``struct page``.
        owner: None if it could not be read.
    """
    certain = (
        (page.hwpoison, PageUse.HWPOISON),
        (page.buddy or (owner is not None and owner.free_order is not None), PageUse.FREE),
        (page.type_words == "slab", PageUse.SLAB),
        (page.type_words == "large kmalloc", PageUse.LARGE_KMALLOC),
        (owner is not None and owner.page_table, PageUse.PAGE_TABLE),
        (page.reserved, PageUse.RESERVED),
        (page.mapcount is None, PageUse.TYPED),
        (owner is None, PageUse.UNKNOWN),
        (page.refcount == 0, PageUse.UNCOUNTED),
    )
    for holds, use in certain:
        if holds:
            return use
    assert owner is not None
    if owner.ksm:
        return PageUse.KSM
    if owner.anonymous:
        return PageUse.ANONYMOUS
    return PageUse.OTHER if owner.inode_number is None else PageUse.FILE


def alias_addresses(
    paging: PagingFacts, layout: LayoutFacts, address: int, paddr: int
) -> tuple[tuple[str, int], ...]:
    """Return (area, address) of the kernel's other mappings of a physical address.

    Args:
        paging: the target's.
        layout: the target's.
        address: the address that led there; it is left out.
        paddr: the physical address.
    """
    found = []
    if paddr < layout.memory_bytes:
        found.append(("physmap", layout.page_offset_base + paddr & ADDRESS_LAST))
    text = layout.kernel_map + paddr - paging.phys_base & ADDRESS_LAST
    if layout.image_start <= text < layout.image_end:
        found.append(("text", text))
    return tuple((area, alias) for area, alias in found if alias != address)


def as_alias(area: str, walk: Walk, paddr: int) -> AliasFacts:
    """Return an alias with the result of its walk."""
    mapped = walk.outcome is Outcome.MAPPED
    same = mapped and walk.paddr == paddr
    return AliasFacts(area, walk.address, walk.outcome, same, walk.permissions)


def is_known(identity: Identity, use: PageUse | None, *, in_vma: bool) -> bool:
    """Return whether more is known about an address than its area."""
    facts: Iterable[object] = (
        identity.symbol,
        identity.module,
        identity.slab,
        identity.task,
        identity.vmap,
        identity.per_cpu,
        identity.page_struct,
        identity.fixmap,
        identity.cpu_entry,
        identity.ldt,
        identity.espfix,
        identity.vsyscall,
    )
    return in_vma or use is not None or any(fact is not None for fact in facts)


def exit_code(walk: Walk, unknown: Sequence[Unknown], *, known: bool, stable: bool) -> int:
    """Return 0 if an address is identified; 3 if anything is undecided, or nothing is there."""
    decided = stable and not unknown and walk.outcome not in GAPS
    return Exit.SOUND if decided and known else Exit.UNDECIDED
