# SPDX-License-Identifier: GPL-2.0-or-later
"""The memory map from the kernel's markers, what lies in each row, and what is odd about it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from pageproof.judge.conditions import (
    OPEN_TO_USER,
    SHARED_TABLES_REGIONS,
    TABLE_USED_TWICE,
    WRITE_EXECUTE,
)
from pageproof.model import GAPS, Finding, Outcome, Range, Severity
from pageproof.model.kmap import Contents, LayoutFacts, MapRow, Placement
from pageproof.model.regions import REGIONS
from pageproof.model.rule import Rule

_TOP: Final = 1 << 64
_GIB: Final = 1 << 30
_TIB: Final = 1 << 40
_PAGE_BYTES: Final = 4096


@dataclass(frozen=True)
class Form:
    """What the number of levels alone decides, and what the documentation says of it.

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


@dataclass(frozen=True)
class _Span:
    """A row to be; ``end`` is exclusive and may be 2**64."""

    region: str
    start: int
    end: int
    placement: Placement = Placement.FIXED
    configured: bool = True
    purpose: str = ""


def memory_map(layout: LayoutFacts) -> tuple[MapRow, ...]:
    """Rows that cover the 64-bit address space, every byte once, in order."""
    spans = sorted(_spans(layout), key=lambda span: span.start)
    rows: list[_Span] = []
    end = 0
    for span in [*spans, _Span("end", _TOP, _TOP)]:
        if span.start > end:
            rows.append(_Span("hole", end, span.start, _beside(rows, span)))
        start = max(span.start, end)
        if span.end > start:
            rows.append(replace(span, start=start))
            end = span.end
    return tuple(_row(span) for span in rows)


def row_of(layout: LayoutFacts, region: str) -> MapRow:
    """The row of a region that every kernel has once."""
    return next(row for row in memory_map(layout) if row.region == region)


#: Regions whose own bounds KASLR moves; in the other rows it moves what lies inside.
_MOVABLE: Final = frozenset({"physmap", "vmalloc", "vmemmap"})


def _beside(before: Sequence[_Span], after: _Span) -> Placement:
    """A hole is where its neighbours let it be."""
    movable = {span.placement for span in (*before[-1:], after) if span.region in _MOVABLE}
    if Placement.MOVED in movable:
        return Placement.MOVED
    return Placement.UNMOVED if movable else Placement.FIXED


def _row(span: _Span) -> MapRow:
    purpose = span.purpose or REGIONS[span.region].purpose
    if not span.configured:
        purpose += " (not configured: unused)"
    return MapRow(
        region=span.region,
        start=span.start,
        last=span.end - 1,
        offset_bytes=span.start if span.start < _TOP >> 1 else span.start - _TOP,
        size_bytes=span.end - span.start,
        purpose=purpose,
        placement=span.placement,
        configured=span.configured,
    )


def _spans(layout: LayoutFacts) -> Iterable[_Span]:
    form = FORMS[layout.levels]
    kernel = _TOP - form.user_end
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
    yield _Span("efi", layout.efi_start, _TOP - 4 * _GIB, configured=layout.efi_configured)
    yield _Span("text", layout.kernel_map, layout.modules_start, inside)
    yield _Span("modules", layout.modules_start, layout.modules_end, inside)
    yield _Span("boot-fixmap", layout.boot_fixmap_start, layout.fixmap_start)
    if layout.vsyscall is None:
        yield _Span("fixmap", layout.fixmap_start, 0xFFFF_FFFF_FF80_0000)
    else:
        yield _Span("fixmap", layout.fixmap_start, layout.vsyscall)
        yield _Span("vsyscall", layout.vsyscall, layout.vsyscall + _PAGE_BYTES)
    yield _Span("top-hole", _TOP - (2 << 20), _TOP)


def _moving(layout: LayoutFacts, form: Form) -> Iterable[_Span]:
    """What KASLR moves, and what the documentation has beside it while nothing was moved."""

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
    end = start + layout.physmap_bytes // _PAGE_BYTES * layout.struct_page_bytes
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


class Ledger:
    """Sums up in rows what walks saw. A range that lies in several rows is shared out."""

    def __init__(self, rows: Sequence[MapRow]) -> None:
        self._rows = rows
        self._starts = [row.start for row in rows]
        self._sums: dict[int, dict[str, int]] = {}
        self._tables: dict[int, str] = {}

    def open(self, row: MapRow, tables: str) -> None:
        """Say whose tables are walked for a row; a row that is not opened has no contents."""
        self._tables[self._starts.index(row.start)] = tables

    def add(self, seen: Range) -> None:
        """Count a range; what was not mapped costs nothing."""
        if seen.outcome is Outcome.NONE:
            return
        index = bisect_right(self._starts, seen.start) - 1
        start = seen.start
        while start <= seen.last:
            last = min(seen.last, self._rows[index].last)
            if index in self._tables:
                sums = self._sums.setdefault(index, {})
                for name in _columns(seen):
                    sums[name] = sums.get(name, 0) + last - start + 1
                if seen.shared_with is not None:
                    sums["shared_entries"] = sums.get("shared_entries", 0) + 1
            start, index = last + 1, index + 1

    def rows(self) -> tuple[MapRow, ...]:
        """The rows with what was counted."""
        return tuple(
            replace(row, contents=Contents(self._tables[index], **self._sums.get(index, {})))
            if index in self._tables
            else row
            for index, row in enumerate(self._rows)
        )


_LEAVES: Final = {1: "mapped_4k_bytes", 2: "mapped_2m_bytes", 3: "mapped_1g_bytes"}


def _columns(seen: Range) -> Iterable[str]:
    """The sums that a range belongs to."""
    if seen.shared_with is not None:
        yield "shared_bytes"
        return
    if seen.outcome in GAPS:
        yield "unknown_bytes"
        return
    if seen.outcome is not Outcome.MAPPED or seen.permissions is None:
        yield "not_present_bytes"
        return
    yield _LEAVES[seen.level]
    may = seen.permissions
    if may.write:
        yield "writable_bytes"
    if may.execute:
        yield "executable_bytes"
    if may.write and may.execute:
        yield "write_execute_bytes"
    if may.user:
        yield "user_bytes"


EFI_WRITE_EXECUTE: Final = Rule(
    "efi-write-execute",
    Severity.WARNING,
    "memory of the firmware is writable and executable in efi_mm, whose tables are loaded only "
    "while the firmware is called",
    "The kernel does this by design for firmware without a memory attributes table: it does not "
    "know which of the runtime services' memory is code. Without EFI it is an error "
    "(kernel-write-execute).",
    "Newer firmware, or efi=noruntime.",
    "arch/x86/platform/efi/efi_64.c: efi_runtime_update_mappings()",
)
MAPPED_HOLE: Final = Rule(
    "mapped-hole",
    Severity.WARNING,
    "{size} bytes are mapped where nothing should be",
    "An entry written by hand, or a region of the map that is not known here.",
    "Report it, with the kernel's release and configuration.",
    "Documentation/arch/x86/x86_64/mm.rst",
)
SHARED_TABLES: Final = Rule(
    "shared-tables",
    Severity.NOTE,
    "{entries} entries lead to tables counted already; their {size} bytes are not counted again",
    "KASAN's early shadow and espfix share one table thousands of times, and processes share those "
    "of hugetlbfs. Anywhere else in the kernel's half it is an error (table-used-twice).",
    "Nothing is wrong.",
    "mm/kasan/init.c; arch/x86/kernel/espfix_64.c",
)
UNDECIDED: Final = Rule(
    "undecided",
    Severity.NOTE,
    "not known for {size} bytes: {why}",
    "The dump lacks the table, or the target gives zeros for what it does not have.",
    "A dump with less left out (makedumpfile -d), or a look from outside.",
    "makedumpfile(8); fs/proc/kcore.c",
)
GAVE_UP: Final = Rule(
    "gave-up",
    Severity.WARNING,
    "{why}",
    "More entries than a walk is allowed to read: page tables that do not end.",
    "Report it, with the kernel's release and configuration.",
    "walk/ranges.py, TooMuchWork",
)
MAP_RULES: Final = (
    WRITE_EXECUTE,
    EFI_WRITE_EXECUTE,
    MAPPED_HOLE,
    OPEN_TO_USER,
    TABLE_USED_TWICE,
    SHARED_TABLES,
    UNDECIDED,
    GAVE_UP,
)

#: Regions of the kernel's half that user mode may touch by design.
_USER_REACHABLE: Final = frozenset({"user", "vsyscall"})
_EMPTY: Final = frozenset({"guard-hole", "hole", "top-hole"})
#: Regions whose tables are shared by design; those of processes by hugetlbfs.
_SHARED: Final = SHARED_TABLES_REGIONS | {"user"}


def map_findings(rows: Sequence[MapRow], *, zero_fills: bool = False) -> tuple[Finding, ...]:
    """What is worth knowing of a map's contents.

    Args:
        rows: with their contents.
        zero_fills: the target makes up zeros, so that an empty table is no evidence.
    """
    found: list[Finding] = []
    why = "an empty table, or one that this target lacks" if zero_fills else "tables can't be had"

    def say(rule: Rule, row: MapRow, *shown: tuple[str, int], **words: object) -> None:
        evidence = tuple((name, str(value)) for name, value in shown)
        found.append(rule.finding(f"{row.region} at {row.start:016x}", evidence, **words))

    for row in rows:
        held = row.contents
        if held is None:
            continue
        if held.write_execute_bytes and row.region != "user":
            rule = EFI_WRITE_EXECUTE if row.region == "efi" else WRITE_EXECUTE
            say(rule, row, ("bytes", held.write_execute_bytes))
        if held.mapped_bytes and (row.region in _EMPTY or not row.configured):
            say(MAPPED_HOLE, row, size=held.mapped_bytes)
        if held.user_bytes and row.region not in _USER_REACHABLE:
            say(OPEN_TO_USER, row, ("bytes", held.user_bytes))
        if held.shared_entries and row.region not in _SHARED:
            shared = ("entries", held.shared_entries), ("bytes", held.shared_bytes)
            say(TABLE_USED_TWICE, row, *shared)
        elif held.shared_entries:
            say(SHARED_TABLES, row, entries=held.shared_entries, size=held.shared_bytes)
        if held.unknown_bytes:
            say(UNDECIDED, row, size=held.unknown_bytes, why=why)
    return tuple(found)
