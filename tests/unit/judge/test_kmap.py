# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's memory map: sums from tables made by hand, and findings."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.layouts import FOUR
from unit.tables import NX, PSE, RW, TABLE, US, P, Tables

from pageproof.arch.x86_64.paging import X86Paging
from pageproof.arch.x86_64.rows import memory_map
from pageproof.errors import PageproofError
from pageproof.front.kmap import check
from pageproof.judge.kmap import map_findings
from pageproof.model import Outcome, Permissions, Range
from pageproof.model.kmap import Contents, LayoutFacts, MapRow
from pageproof.observe.ledger import Ledger
from pageproof.render.where import where_words
from pageproof.walk import walk_range

# What tables hold

ROOT, T1, T2, T3, SHARED = 0x1000, 0x2000, 0x3000, 0x4000, 0x5000


def contents(tables: Tables, layout: LayoutFacts = FOUR) -> dict[str, Contents]:
    rows = memory_map(layout)
    ledger = Ledger(rows)
    kernel = [row for row in rows if row.start >= 1 << 63 and row.region != "non-canonical"]
    for row in kernel:
        ledger.open(row, "init_mm")
    form = X86Paging(levels=layout.levels)
    for seen in walk_range(tables.read, ROOT, kernel[0].start, (1 << 64) - 1, form):
        ledger.add(seen)
    return {row.region: row.contents for row in ledger.rows() if row.contents is not None}


def test_bytes_by_leaf_and_permission() -> None:
    found = contents(
        Tables(
            {
                ROOT + 273 * 8: T1 | TABLE,  # PGD: the physmap
                T1: T2 | TABLE,  # PUD[0]
                T1 + 8: 0x4000_0000 | P | RW | PSE | NX,  # PUD[1]: 1 GiB, writable
                T2: T3 | TABLE,  # PMD[0]
                T2 + 8: 0x20_0000 | P | PSE,  # PMD[1]: 2 MiB, executable
                T2 + 16: 0x40_0000 | P | RW | PSE,  # PMD[2]: 2 MiB, both
                T3: P | NX,  # PTE[0], frame 0
                T3 + 8: 0x1000 | P | US | NX,  # PTE[1]
                T3 + 16: 0x2000,  # PTE[2]: not present and not none
            }
        )
    )["physmap"]
    assert found == Contents(
        "init_mm",
        mapped_4k_bytes=2 * 4096,
        mapped_2m_bytes=4 << 20,
        mapped_1g_bytes=1 << 30,
        writable_bytes=(1 << 30) + (2 << 20),
        executable_bytes=4 << 20,
        write_execute_bytes=2 << 20,
        user_bytes=4096,
        not_present_bytes=4096,
    )
    assert found.mapped_bytes == (1 << 30) + (4 << 20) + 8192


def test_permissions_are_those_of_all_levels() -> None:
    found = contents(
        Tables({ROOT + 273 * 8: T1 | TABLE & ~RW | NX, T1: 0x4000_0000 | P | RW | PSE})
    )["physmap"]
    assert (found.mapped_bytes, found.writable_bytes, found.executable_bytes) == (1 << 30, 0, 0)


def test_kasans_shared_tables_are_reported_and_not_exploded() -> None:
    """One table of each level behind all of the shadow."""
    entries = {ROOT + index * 8: T1 | TABLE for index in range(472, 504)}  # PGD: KASAN's 16 TB
    entries |= {T1 + index * 8: T2 | TABLE for index in range(512)}
    entries |= {T2 + index * 8: T3 | TABLE for index in range(512)}
    entries |= {T3 + index * 8: SHARED | P | NX for index in range(512)}
    tables = Tables(entries)
    found = contents(tables)["kasan"]
    assert found.mapped_4k_bytes == 2 << 20
    assert found.shared_entries == 31 + 511 + 511
    assert found.mapped_bytes + found.shared_bytes == 16 << 40
    assert tables.reads < 5 * 512


def test_a_table_that_can_not_be_had_is_unknown_and_not_empty() -> None:
    tables = Tables({ROOT + 273 * 8: T1 | TABLE}, missing=(T1,))
    found = contents(tables)["physmap"]
    assert (found.unknown_bytes, found.mapped_bytes) == (1 << 39, 0)


def test_a_leaf_over_the_end_of_a_row_is_shared_out() -> None:
    layout = replace(FOUR, fixmap_start=0xFFFF_FFFF_FF57_9000)
    found = contents(
        Tables(
            {
                ROOT + 511 * 8: T1 | TABLE,
                T1 + 511 * 8: T2 | TABLE,
                T2 + 506 * 8: 0x20_0000 | P | RW | PSE | NX,  # PMD: ffffffffff400000
            }
        ),
        layout,
    )
    assert found["boot-fixmap"].mapped_2m_bytes == 0x17_9000
    assert found["fixmap"].mapped_2m_bytes == 0x8_7000


# Findings


def row(region: str, *, configured: bool = True, **sums: int) -> MapRow:
    made = next(row for row in memory_map(FOUR) if row.region == region)
    return replace(made, contents=Contents("init_mm", **sums), configured=configured)


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (row("modules", mapped_4k_bytes=4096, write_execute_bytes=4096), ["kernel-write-execute"]),
        (row("user", mapped_4k_bytes=4096, write_execute_bytes=4096), []),
        (row("modules", mapped_4k_bytes=4096, executable_bytes=4096), []),
        (row("guard-hole", mapped_4k_bytes=4096), ["mapped-hole"]),
        (row("espfix", configured=False, mapped_4k_bytes=4096), ["mapped-hole"]),
        (row("espfix", mapped_4k_bytes=4096), []),
        (row("physmap", mapped_4k_bytes=4096, user_bytes=4096), ["kernel-open-to-user"]),
        (row("vsyscall", mapped_4k_bytes=4096, user_bytes=4096), []),
        (row("kasan", shared_bytes=4096, shared_entries=1), ["shared-tables"]),
        (row("espfix", shared_bytes=4096, shared_entries=1), ["shared-tables"]),
        (row("user", shared_bytes=4096, shared_entries=1), ["shared-tables"]),
        (row("vmalloc", shared_bytes=4096, shared_entries=1), ["table-used-twice"]),
        (row("efi", mapped_4k_bytes=4096, write_execute_bytes=4096), ["efi-write-execute"]),
        (row("vmalloc", unknown_bytes=1 << 30), ["undecided"]),
    ],
)
def test_findings(one: MapRow, expected: list[str]) -> None:
    assert [finding.id for finding in map_findings([one])] == expected


SIZE = 4096 * 3


@pytest.mark.parametrize(
    ("one", "sentence"),
    [
        (row("guard-hole", mapped_4k_bytes=SIZE), "12288 bytes are mapped where nothing should be"),
        (
            row("kasan", shared_bytes=SIZE, shared_entries=7),
            "7 entries lead to tables that were counted already; "
            "their 12288 bytes are not counted again",
        ),
        (
            row("vmalloc", unknown_bytes=SIZE),
            "the contents of 12288 bytes are unknown: tables cannot be read",
        ),
    ],
)
def test_how_much_it_is(one: MapRow, sentence: str) -> None:
    (found,) = map_findings([one])
    assert found.sentence == sentence
    assert (where_words(found.where), found.evidence) == (f"{one.region} at {one.start:016x}", ())


@pytest.mark.parametrize(
    ("one", "evidence"),
    [
        (row("modules", write_execute_bytes=SIZE), (("bytes", "12288"),)),
        (row("physmap", user_bytes=SIZE), (("bytes", "12288"),)),
        (
            row("vmalloc", shared_bytes=SIZE, shared_entries=7),
            (("entries", "7"), ("bytes", "12288")),
        ),
    ],
)
def test_the_evidence_of_what_other_commands_find_too(
    one: MapRow, evidence: tuple[tuple[str, str], ...]
) -> None:
    (found,) = map_findings([one])
    assert (where_words(found.where), found.evidence) == (
        f"{one.region} at {one.start:016x}",
        evidence,
    )


def test_what_a_target_with_made_up_zeros_does_not_know() -> None:
    (found,) = map_findings([row("vmalloc", unknown_bytes=SIZE)], zero_fills=True)
    assert found.sentence.endswith(
        "bytes are unknown: an empty table, or one that this target lacks"
    )


def test_rows_that_were_not_walked_say_nothing() -> None:
    rows = [replace(row("modules"), contents=None), row("modules", write_execute_bytes=SIZE)]
    assert [finding.id for finding in map_findings(rows)] == ["kernel-write-execute"]


def test_what_is_prot_none_is_not_present() -> None:
    """It names a frame, and nothing may touch it."""
    ledger = Ledger(memory_map(FOUR))
    (physmap,) = (one for one in memory_map(FOUR) if one.region == "physmap")
    ledger.open(physmap, "init_mm")
    closed = Permissions(write=True, execute=True, user=True, access=False)
    last = physmap.start + 4095
    ledger.add(Range(physmap.start, last, 1, Outcome.PROT_NONE, 0, closed))
    ledger.add(Range(0x1000, 0x1FFF, 1, Outcome.MAPPED, 0, replace(closed, access=True)))
    held = [one.contents for one in ledger.rows() if one.contents is not None]
    assert held == [Contents("init_mm", not_present_bytes=4096)]


@pytest.mark.parametrize(
    ("explain", "form", "message"),
    [("x", "text", "no region 'x'"), ("text", "json", "text only")],
)
def test_usage(explain: str, form: str, message: str) -> None:
    from argparse import Namespace

    with pytest.raises(PageproofError, match=message):
        check(Namespace(explain=explain, format=form))
