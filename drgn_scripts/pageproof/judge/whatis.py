# SPDX-License-Identifier: GPL-2.0-or-later
"""The row of an address, what its frame is used for, where else it is, and whether all is said."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pageproof.errors import Exit
from pageproof.model import GAPS, Outcome, PagingFacts, StructPageFacts, Walk
from pageproof.model.kmap import LayoutFacts
from pageproof.model.whatis import AliasFacts, Identity, OwnerFacts, PageUse, Unknown
from pageproof.space.units import ADDRESS_LAST


def page_use(page: StructPageFacts, owner: OwnerFacts | None) -> PageUse:
    """What a frame is used for.

    Args:
        page: its ``struct page``.
        owner: None if that could not be read.
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
    """(region, address) of where the kernel should have a physical address too.

    Args:
        paging: the target's.
        layout: the target's.
        address: the one that led there; it is no alias of itself.
        paddr: where it led.
    """
    found = []
    if paddr < layout.memory_bytes:
        found.append(("physmap", layout.page_offset_base + paddr & ADDRESS_LAST))
    text = layout.kernel_map + paddr - paging.phys_base & ADDRESS_LAST
    if layout.image_start <= text < layout.image_end:
        found.append(("text", text))
    return tuple((region, alias) for region, alias in found if alias != address)


def as_alias(region: str, walk: Walk, paddr: int) -> AliasFacts:
    """What a walk says of an address that should lead to a physical address."""
    mapped = walk.outcome is Outcome.MAPPED
    same = mapped and walk.paddr == paddr
    return AliasFacts(region, walk.address, walk.outcome, same, walk.permissions)


def is_known(identity: Identity, use: PageUse | None, *, in_vma: bool) -> bool:
    """Whether more is known of an address than the region that it is in."""
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
    """0 if an address is identified; 3 if anything is open, or nothing is there."""
    decided = stable and not unknown and walk.outcome not in GAPS
    return Exit.SOUND if decided and known else Exit.UNDECIDED
