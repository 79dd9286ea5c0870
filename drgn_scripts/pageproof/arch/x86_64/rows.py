# SPDX-License-Identifier: GPL-2.0-or-later
"""The memory map of the kernel's half, from the kernel's own markers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from pageproof.arch.x86_64.forms import FORMS, Form
from pageproof.arch.x86_64.rowtexts import ROW_TEXTS
from pageproof.model.kmap import LayoutFacts, MapRow, Placement
from pageproof.space.units import ADDRESS_END, PAGE_BYTES

_GIB: Final = 1 << 30
_TIB: Final = 1 << 40


@dataclass(frozen=True)
class _Span:
    """The addresses of a row; ``end`` is exclusive and may be 2**64."""

    region: str
    start: int
    end: int
    placement: Placement = Placement.FIXED
    configured: bool = True
    purpose: str = ""


#: Rows whose bounds KASLR moves. In other rows it moves the contents.
_MOVABLE: Final = frozenset({"physmap", "vmalloc", "vmemmap"})


def memory_map(layout: LayoutFacts) -> tuple[MapRow, ...]:
    """Return rows that cover the 64-bit address space, every byte once, in order."""
    spans = sorted(_spans(layout), key=lambda span: span.start)
    rows: list[_Span] = []
    end = 0
    for span in [*spans, _Span("end", ADDRESS_END, ADDRESS_END)]:
        if span.start > end:
            rows.append(_Span("hole", end, span.start, _beside(rows, span)))
        start = max(span.start, end)
        if span.end > start:
            rows.append(replace(span, start=start))
            end = span.end
    return tuple(_row(span) for span in rows)


def _beside(before: Sequence[_Span], after: _Span) -> Placement:
    """Return the placement of a hole, which follows from its neighbours."""
    movable = {span.placement for span in (*before[-1:], after) if span.region in _MOVABLE}
    if Placement.MOVED in movable:
        return Placement.MOVED
    return Placement.UNMOVED if movable else Placement.FIXED


def _row(span: _Span) -> MapRow:
    purpose = span.purpose or ROW_TEXTS[span.region].purpose
    if not span.configured:
        purpose += " (not configured: unused)"
    return MapRow(
        region=span.region,
        start=span.start,
        last=span.end - 1,
        offset_bytes=span.start if span.start < ADDRESS_END >> 1 else span.start - ADDRESS_END,
        size_bytes=span.end - span.start,
        purpose=purpose,
        placement=span.placement,
        configured=span.configured,
    )


def _spans(layout: LayoutFacts) -> Iterable[_Span]:
    form = FORMS[layout.levels]
    kernel = ADDRESS_END - form.user_end
    inside = Placement.INSIDE if layout.kaslr else Placement.UNMOVED
    areas = inside if layout.cpu_entry_area_moved else Placement.FIXED
    yield _Span("user", 0, form.user_end)
    yield _Span("non-canonical", form.user_end, kernel)
    yield _Span("guard-hole", kernel, layout.ldt)
    yield _Span("ldt", layout.ldt, layout.ldt + form.pgd_bytes, configured=layout.ldt_configured)
    yield from _moving(layout, form)
    yield _Span("cpu-entry-area", layout.cpu_entry_area, layout.cpu_entry_area + _TIB // 2, areas)
    yield _Span(
        "espfix", layout.espfix, layout.espfix + _TIB // 2, configured=layout.espfix_configured
    )
    yield _Span("efi", layout.efi_start, ADDRESS_END - 4 * _GIB, configured=layout.efi_configured)
    yield _Span("text", layout.kernel_map, layout.modules_start, inside)
    yield _Span("modules", layout.modules_start, layout.modules_end, inside)
    yield _Span("boot-fixmap", layout.boot_fixmap_start, layout.fixmap_start)
    if layout.vsyscall is None:
        yield _Span("fixmap", layout.fixmap_start, 0xFFFF_FFFF_FF80_0000)
    else:
        yield _Span("fixmap", layout.fixmap_start, layout.vsyscall)
        yield _Span("vsyscall", layout.vsyscall, layout.vsyscall + PAGE_BYTES)
    yield _Span("top-hole", ADDRESS_END - (2 << 20), ADDRESS_END)


def _moving(layout: LayoutFacts, form: Form) -> Iterable[_Span]:
    """Yield rows that KASLR moves, and documented holes beside them if they were not moved."""

    def placed(base: int, documented: int) -> Placement:
        return Placement.UNMOVED if base == documented else Placement.MOVED

    start = layout.page_offset_base
    end = min(start + layout.physmap_bytes, layout.vmalloc_base)
    place = placed(start, form.physmap[0])
    yield _Span("physmap", start, end, place)
    bits = (layout.physmap_bytes - 1).bit_length()
    beyond = f"unused hole: room of REGION beyond {bits} physical bits"
    if place is Placement.UNMOVED and end < form.physmap[1] <= layout.vmalloc_base:
        purpose = beyond.replace("REGION", "physmap")
        yield _Span("hole", end, form.physmap[1], place, purpose=purpose)
    start = layout.vmalloc_base
    place = placed(start, form.vmalloc)
    yield _Span("vmalloc", start, min(start + form.vmalloc_bytes, layout.vmemmap_base), place)
    start = layout.vmemmap_base
    place = placed(start, form.vmemmap[0])
    # One struct page for each frame that the direct map has room for.
    end = start + layout.physmap_bytes // PAGE_BYTES * layout.struct_page_bytes
    ceiling = layout.cpu_entry_area if layout.kasan_start is None else layout.kasan_start
    end = min(end, ceiling)
    yield _Span("vmemmap", start, end, place)
    if place is Placement.UNMOVED and end < form.vmemmap[1]:
        purpose = beyond.replace("REGION", "vmemmap")
        yield _Span("hole", end, form.vmemmap[1], place, purpose=purpose)
    if layout.kasan_start is not None and layout.kasan_end is not None:
        yield _Span("kasan", layout.kasan_start, layout.kasan_end)
    elif place is Placement.UNMOVED:
        # Under KASLR the moved regions may use this room too.
        yield _Span("kasan", *form.kasan, configured=False)
