# SPDX-License-Identifier: GPL-2.0-or-later
"""Where RAM is, which sections of it have struct pages, and why some of it is not mapped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import drgn
from drgn import cast
from drgn.helpers.linux.mm import compound_head, page_flags, pfn_to_page

from pageproof import arch
from pageproof.find.kernel.paging import optional_number, page_offset
from pageproof.model import MemoryType
from pageproof.model.auditfacts import Section, Span
from pageproof.space.units import PAGE_BYTES, PAGE_SHIFT

#: ``IORESOURCE_SYSRAM`` of include/linux/ioport.h, a flag of RAM beside IORESOURCE_MEM.
_SYSTEM_RAM: Final = 0x0100_0000
#: Limit, because a tree that changes while it is read may lead back to itself.
_MOST_RESOURCES: Final = 1 << 16
#: ``SECTION_HAS_MEM_MAP``, ``SECTION_IS_EARLY`` of include/linux/mmzone.h. All flags are below
#: the alignment of a section's struct pages.
_HAS_MEM_MAP: Final = 1 << 1
_IS_EARLY: Final = 1 << 3
_SECTION_FLAGS: Final = (1 << 12) - 1
#: CONFIG_KFENCE_NUM_OBJECTS by default. If it differs, the length of the array of metadata is used
#: (``KFENCE_POOL_SIZE`` of include/linux/kfence.h).
_KFENCE_OBJECTS: Final = 255


def system_ram(prog: drgn.Program) -> tuple[Span, ...]:
    """Return the System RAM of ``iomem_resource`` in whole pages, in order of address.

    It is what ``/proc/iomem`` shows. memblock is not kept after boot.
    """
    spans: list[Span] = []
    for one in _resources(prog):
        if one.flags.value_() & _SYSTEM_RAM:
            start = -(-one.start.value_() // PAGE_BYTES) * PAGE_BYTES
            end = (one.end.value_() + 1) // PAGE_BYTES * PAGE_BYTES
            if start < end:
                spans.append(Span(start, end))
    return tuple(sorted(spans, key=lambda span: span.start))


def physical_resources(prog: drgn.Program) -> tuple[Span, ...]:
    """Return everything in ``iomem_resource``: RAM, devices and their windows, reserved memory.

    Raises:
        FaultError, LookupError, ValueError: the list cannot be read.
    """
    return tuple(Span(one.start.value_(), one.end.value_() + 1) for one in _resources(prog))


def _resources(prog: drgn.Program) -> Iterator[drgn.Object]:
    """Yield the top-level ``struct resource`` of ``iomem_resource``."""
    resource = prog["iomem_resource"].child
    for _ in range(_MOST_RESOURCES):
        if not resource:
            return
        one = resource[0].read_()
        yield one
        resource = one.sibling
    raise ValueError("the list of resources has no end")


def has_its_zone(prog: drgn.Program, pfn: int) -> bool:
    """Return whether the zone in a ``struct page``'s flags contains the frame.

    If not, the data is not a struct page. It is the check of ``page_outside_zone_boundaries()``
    (mm/page_alloc.c). Reserved pages always pass: in holes they have the nearest zone
    (``init_unavailable_range()``).
    """
    try:
        page = pfn_to_page(prog, pfn)
        if page_flags(page).value_() >> prog.constant("PG_reserved").value_() & 1:
            return True
        zone = zone_of(prog, page)
        if zone is None:
            return False
        start = zone.zone_start_pfn.value_()
        return bool(start <= pfn < start + zone.spanned_pages.value_())
    except (drgn.FaultError, drgn.OutOfBoundsError):
        return False
    except LookupError:
        return True


def memory_sections(prog: drgn.Program) -> Iterator[Section]:
    """Yield the sections that have struct pages.

    Raises:
        LookupError: the kernel has no sparse memory model.
    """
    roots = prog["mem_section"]
    per_root = PAGE_BYTES // drgn.sizeof(prog.type("struct mem_section"))
    shift = arch.of_program(prog).section_bits - PAGE_SHIFT
    last = prog["max_pfn"].value_() - 1 >> shift
    for number in range(last + 1):
        root = roots[number // per_root]
        if not root:
            continue
        coded = root[number % per_root].section_mem_map.value_()
        if not coded & _HAS_MEM_MAP:
            continue
        first, pages = number << shift, 1 << shift
        yield Section(
            number=number,
            first_pfn=first,
            pages=pages,
            whole=bool(coded & _IS_EARLY),
            mem_map=coded & ~_SECTION_FLAGS,
            zones=tuple(_zones(prog, (first, first + pages - 1))),
        )


def _zones(prog: drgn.Program, pfns: Iterable[int]) -> Iterator[tuple[int, int, int]]:
    """Yield (frame, start, end) of the zone in the flags of each struct page in use."""
    for pfn in pfns:
        try:
            page = pfn_to_page(prog, pfn)
            zone = zone_of(prog, page)
        except (drgn.FaultError, LookupError):
            continue
        # Pages in holes have the nearest zone (init_unavailable_range()).
        if (
            zone is not None
            and not page_flags(page).value_() >> prog.constant("PG_reserved").value_() & 1
        ):
            start = zone.zone_start_pfn.value_()
            yield pfn, start, start + zone.spanned_pages.value_()


def zone_of(prog: drgn.Program, page: drgn.Object) -> drgn.Object | None:
    """Return the zone of a page, like ``page_zone()``.

    With VMEMMAP the top bits of the flags are the node and then the zone.
    """
    zones = prog.constant("__MAX_NR_ZONES").value_()
    width = max((zones - 1).bit_length(), 1)
    flags = page_flags(page).value_()
    try:
        nodes = prog["node_data"]
    except LookupError:  # without CONFIG_NUMA there is one node, and no bits for it
        return prog["contig_page_data"].node_zones[flags >> 64 - width]
    node_bits = (len(nodes) - 1).bit_length()
    node = flags >> 64 - node_bits if node_bits else 0
    number = flags >> 64 - node_bits - width & (1 << width) - 1
    data = nodes[node]
    return data.node_zones[number] if data else None


def why_unmapped(
    prog: drgn.Program, pfns: Iterable[int], executed: frozenset[int]
) -> Iterator[tuple[int, str]]:
    """Yield frames that are not in the direct map on purpose, and the reason.

    Args:
        prog: the target.
        pfns: RAM frames that the direct map does not have.
        executed: frames that the kernel executes in the modules' space. execmem removes its cache
            from the direct map (since 6.13: 2e45474ab14f).
    """
    secret = _address(prog, "secretmem_aops")
    debug = optional_number(prog, "_debug_pagealloc_enabled_early")
    kfence = _kfence_pool(prog)
    for pfn in pfns:
        if pfn in executed:
            yield pfn, "execmem's cache"
        elif pfn in kfence:
            yield pfn, "KFENCE's pool"
        else:
            why = _by_struct_page(prog, pfn, secret)
            if why or debug:
                yield pfn, why or "debug_pagealloc"


def _by_struct_page(prog: drgn.Program, pfn: int, secret: int | None) -> str:
    try:
        page = pfn_to_page(prog, pfn)
        if page_flags(page).value_() >> prog.constant("PG_hwpoison").value_() & 1:
            return "hardware poison"
    except LookupError:
        pass  # without CONFIG_MEMORY_FAILURE
    except drgn.FaultError:
        return ""
    try:
        # Bits 0 and 1 are clear for a page of a file.
        mapping = compound_head(page).mapping.value_()
        if secret is None or not mapping or mapping & 3:
            return ""
        space = cast("struct address_space *", drgn.Object(prog, "unsigned long", mapping))
        return "memfd_secret" if space.a_ops.value_() == secret else ""
    except drgn.FaultError:
        return ""


def _kfence_pool(prog: drgn.Program) -> range:
    start = optional_number(prog, "__kfence_pool")
    if not start:
        return range(0)
    try:
        objects = prog["kfence_metadata"].type_.length or _KFENCE_OBJECTS
    except (LookupError, AttributeError):
        objects = _KFENCE_OBJECTS
    first = start - page_offset(prog) >> PAGE_SHIFT
    return range(first, first + 2 * (objects + 1))


def _address(prog: drgn.Program, name: str) -> int | None:
    try:
        address: int | None = prog[name].address_
        return address
    except LookupError:
        return None


def recorded_types(prog: drgn.Program, pfns: Iterable[int]) -> Iterator[tuple[int, MemoryType]]:
    """Yield RAM frames with the memory type that ``struct page`` records, if it records any."""
    type_of = arch.of_program(prog).recorded_type(prog)
    if type_of is None:
        return
    for pfn in pfns:
        try:
            flags = page_flags(pfn_to_page(prog, pfn)).value_()
        except drgn.FaultError:
            continue
        yield pfn, type_of(flags)
