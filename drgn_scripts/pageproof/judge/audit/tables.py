# SPDX-License-Identifier: GPL-2.0-or-later
"""Page-table pages: each is marked as such and used once."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Final

from pageproof import arch
from pageproof.judge.audit.check import Check, Judged, judged
from pageproof.judge.audit.users import undecided_of
from pageproof.judge.conditions import SHARED_TABLES_AREAS, TABLE_USED_TWICE
from pageproof.model import Finding, Severity
from pageproof.model.auditfacts import (
    AuditFacts,
    FrameClass,
    Need,
    UserFacts,
    UserSpace,
    UserTable,
)
from pageproof.model.rule import Rule
from pageproof.model.where import INIT_MM, in_space
from pageproof.space.rows import row_at
from pageproof.space.units import PAGE_SHIFT

UNMARKED: Final = Rule(
    id="table-unmarked",
    severity=Severity.ERROR,
    sentence="struct page does not mark this frame as a page table, but a process's tables use it: "
    "it may be freed, moved or reallocated while the processor walks it",
    cause="An upper entry was written by hand, or a table was freed while in use.",
    fix="Allocate tables with pte_alloc() or similar.",
    reference="include/linux/mm.h: pagetable_pte_ctor(), pgtable_pmd_page_ctor()",
)

_HUGETLB: Final = 1 << 22
#: PTE and PMD tables. Not every kernel marks the tables above them.
_MARKED_LEVELS: Final = (1, 2)


def _facts(facts: AuditFacts) -> UserFacts:
    assert facts.users is not None
    return facts.users


def unmarked(facts: AuditFacts) -> Judged:
    """Check tables of the two lowest levels of user halves."""
    users, classes = _facts(facts), facts.classes
    assert classes is not None
    tables = [
        (space, one)
        for space in users.spaces
        for one in space.tables
        if one.level in _MARKED_LEVELS and one.table >> PAGE_SHIFT < len(classes)
    ]

    def found() -> Iterator[Finding]:
        for space, one in tables:
            if not classes[one.table >> PAGE_SHIFT] & (FrameClass.TABLE | FrameClass.NO_PAGE):
                shown = (("table", f"0x{one.table:x}"), ("level", str(one.level)))
                yield UNMARKED.finding(in_space(space.name, one.address), shown)

    return judged(len(tables), found(), undecided_of(users))


def _is_shared_on_purpose(facts: AuditFacts, space: UserSpace | None, one: UserTable) -> bool:
    if space is None:
        assert facts.layout is not None
        rows = arch.of(facts.target.arch).memory_map(facts.layout)
        return row_at(rows, one.address).region in SHARED_TABLES_AREAS
    end = one.address + arch.of(facts.target.arch).huge_table_bytes
    first = bisect_right(space.vmas.ends, one.address)
    behind = bisect_left(space.vmas.starts, end)
    return one.level == 2 and any(flags & _HUGETLB for flags in space.vmas.vm_flags[first:behind])


def used_twice(facts: AuditFacts) -> Judged:
    """Check every entry that leads to a table, of all processes and the kernel."""
    users = _facts(facts)
    uses: dict[int, list[tuple[UserSpace | None, UserTable]]] = {}
    for one in users.kernel_tables:
        uses.setdefault(one.table, []).append((None, one))
    for space in users.spaces:
        for one in space.tables:
            uses.setdefault(one.table, []).append((space, one))

    def found() -> Iterator[Finding]:
        for table, places in uses.items():
            if len(places) < 2 or all(
                _is_shared_on_purpose(facts, space, one) for space, one in places
            ):
                continue
            uses_of = [
                (INIT_MM if space is None else space.name, one.address) for space, one in places
            ]
            used = (("used at", f"{name}, {address:x}") for name, address in uses_of[:8])
            where = in_space(*uses_of[-1])
            yield TABLE_USED_TWICE.finding(where, (("table", f"0x{table:x}"), *used))

    return judged(len(uses), found(), undecided_of(users))


CHECKS: Final = (
    Check(
        UNMARKED,
        "page-table pages that struct page does not mark as such",
        "tables",
        (Need.USERS, Need.FRAMES),
        unmarked,
    ),
    Check(TABLE_USED_TWICE, "page tables that are used twice", "tables", (Need.USERS,), used_twice),
)
