# SPDX-License-Identifier: GPL-2.0-or-later
"""Members of many structures through pointers, and the rows that a bulk reader gives."""

from __future__ import annotations

import struct
from array import array

import drgn
import pytest

from pageproof.find.bulk.follow import follow
from pageproof.find.bulk.objects import ObjectBulk
from pageproof.find.bulk.protocol import VMA_WORDS, SpaceRecord, VmaRecord, Vmas
from pageproof.model.auditfacts import VmaBounds, VmaTable

MMS, OWNERS, PROXIES = [0x1000, 0x2000, 0x3000, 0x9000], [0x4000, 0, 0x8888], [0x5000]


@pytest.fixture
def prog() -> drgn.Program:
    """Three structures that point at an owner, one of them at NULL and one nowhere."""
    made = drgn.Program(drgn.Platform(drgn.Architecture.X86_64))
    word, small = made.int_type("unsigned long", 8, False), made.int_type("short", 2, True)
    inner = made.struct_type("inner", 8, [drgn.TypeMember(small, "id", 32)])
    owner = made.struct_type("owner", 16, [drgn.TypeMember(inner, "inner", 64)])
    alias = made.typedef_type("owner_t", made.pointer_type(owner))
    kind = made.struct_type("mm", 16, [drgn.TypeMember(alias, "owner", 64)])
    types = {"mm": kind, "word": word}
    made.register_type_finder("test", lambda _p, _k, name, _f: types.get(name), enable_index=0)
    memory = {mm: struct.pack("<QQ", 7, to) for mm, to in zip(MMS, OWNERS, strict=False)}
    memory[OWNERS[0]] = struct.pack("<QIhH", 0, 0, 42, 0xFFFF)
    for start, data in memory.items():

        def read(address: int, count: int, offset: int, physical: bool, of: bytes = data) -> bytes:
            return of[offset : offset + count]

        made.add_memory_segment(start, len(data), read)
    made.cache["pageproof.bulk"] = ObjectBulk(made)
    return made


def test_a_member_through_a_pointer(prog: drgn.Program) -> None:
    """0 through a null pointer; nothing for what cannot be read."""
    assert follow(prog, "struct mm", "owner.inner.id", MMS) == {MMS[0]: 42, MMS[1]: 0}
    assert follow(prog, "struct mm", "owner", MMS) == dict(zip(MMS, OWNERS, strict=False))


@pytest.mark.parametrize("path", ["other", "owner.other", "owner.inner", "owner.inner.id.more"])
def test_no_such_member(prog: drgn.Program, path: str) -> None:
    with pytest.raises(LookupError):
        follow(prog, "struct mm", path, MMS)


def test_rows_with_faults(prog: drgn.Program) -> None:
    """What can be read of a row is there; the address 0 is a row of zeros."""
    rows = ObjectBulk(prog).gather([MMS[0], 0, MMS[3], MMS[1] + 8], ((0, 8), (8, 2)))
    assert list(rows) == [(7, 0x4000), (0, 0), (0, 0), (0, 0)]
    assert sorted(rows.faults) == [2, 3]
    assert rows.column(1) == [0x4000, 0, 0, 0]


def test_records_of_vmas() -> None:
    records = [VmaRecord(n, n + 1, *range(n, n + VMA_WORDS - 2)) for n in range(3)]
    words = array("Q", [word for one in records for word in one])
    vmas = Vmas([SpaceRecord(0x1000, 0, 0, 3, "")], memoryview(words), {})
    assert len(vmas) == 3
    assert [vmas.record(number) for number in range(3)] == records
    assert vmas.column(1) == [1, 2, 3]
    assert vmas.column(1, 1, 1) == [2]
    assert vmas.column(1, 3, 0) == []


def test_a_table_of_vmas() -> None:
    some = [VmaBounds(0x1000, 0x2000, 3), VmaBounds(0x3000, 0x5000, 5)]
    table = VmaTable.of(*some)
    assert (list(table), len(table), table[-1]) == (some, 2, some[1])
    assert table[1:] == VmaTable.of(some[1])
    assert table != VmaTable.of(some[0]) and table != some
    assert table == VmaTable([0x1000, 0x3000], [0x2000, 0x5000], [3, 5])
    assert table != VmaTable([0x1000, 0x3000], [0x2000, 0x5000], [3, 4])
