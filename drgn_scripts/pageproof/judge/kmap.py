# SPDX-License-Identifier: GPL-2.0-or-later
"""Findings about the contents of the kernel's memory map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pageproof.judge.conditions import (
    OPEN_TO_USER,
    SHARED_TABLES_AREAS,
    TABLE_USED_TWICE,
    WRITE_EXECUTE,
)
from pageproof.model import Finding, Severity
from pageproof.model.kmap import MapRow
from pageproof.model.rule import Rule
from pageproof.model.where import Where, WhereKind

EFI_WRITE_EXECUTE: Final = Rule(
    id="efi-write-execute",
    severity=Severity.WARNING,
    sentence="memory of the firmware is writable and executable in efi_mm, whose tables are loaded "
    "only during firmware calls",
    cause="The kernel does this by design for firmware without a memory attributes table: it does "
    "not know which memory of the runtime services is code. Anywhere else it is an error "
    "(kernel-write-execute).",
    fix="Update the firmware, or boot with efi=noruntime.",
    reference="arch/x86/platform/efi/efi_64.c: efi_runtime_update_mappings()",
)
MAPPED_HOLE: Final = Rule(
    id="mapped-hole",
    severity=Severity.WARNING,
    sentence="{size} bytes are mapped where nothing should be",
    cause="An entry was written by hand, or pageproof does not know this area of the map.",
    fix="Report it, with the kernel's release and configuration.",
    reference="Documentation/arch/x86/x86_64/mm.rst",
)
SHARED_TABLES: Final = Rule(
    id="shared-tables",
    severity=Severity.NOTE,
    sentence="{entries} entries lead to tables that were counted already; their {size} bytes are "
    "not counted again",
    cause="KASAN's early shadow and espfix share one table thousands of times, and processes share "
    "tables of hugetlbfs. Anywhere else in the kernel's half it is an error (table-used-twice).",
    fix="Nothing is wrong.",
    reference="mm/kasan/init.c; arch/x86/kernel/espfix_64.c",
)
UNDECIDED: Final = Rule(
    id="undecided",
    severity=Severity.NOTE,
    sentence="the contents of {size} bytes are unknown: {why}",
    cause="The dump omits the table, or the target returns zeros for memory that it does not have.",
    fix="Use a dump that omits less (makedumpfile -d), or look from outside the guest.",
    reference="makedumpfile(8); fs/proc/kcore.c",
)
GAVE_UP: Final = Rule(
    id="gave-up",
    severity=Severity.WARNING,
    sentence="{why}",
    cause="The walk reached its limit of entries: the page tables do not end.",
    fix="Report it, with the kernel's release and configuration.",
    reference="walk/ranges.py, TooMuchWork",
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

#: Areas that user mode may access by design.
_USER_REACHABLE: Final = frozenset({"user", "vsyscall"})
_EMPTY: Final = frozenset({"guard-hole", "hole", "top-hole"})
#: Areas whose tables are shared by design; processes share tables of hugetlbfs.
_SHARED: Final = SHARED_TABLES_AREAS | {"user"}


def map_findings(rows: Sequence[MapRow], *, zero_fills: bool = False) -> tuple[Finding, ...]:
    """Return findings about a map's contents.

    Args:
        rows: of the map, with their contents.
        zero_fills: the target returns zeros for missing memory, so an empty table proves nothing.
    """
    found: list[Finding] = []
    why = "an empty table, or one that this target lacks" if zero_fills else "tables cannot be read"

    def say(rule: Rule, row: MapRow, *shown: tuple[str, int], **words: object) -> None:
        evidence = tuple((name, str(value)) for name, value in shown)
        where = Where(WhereKind.ROW, row=row.region, address=row.start)
        found.append(rule.finding(where, evidence, **words))

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
