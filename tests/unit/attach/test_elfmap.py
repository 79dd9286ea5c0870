# SPDX-License-Identifier: GPL-2.0-or-later
"""An ELF dump that is mapped into memory, compared with drgn, which reads the same file."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass
from pathlib import Path

import drgn
import pytest
from unit.tables import TABLE, P

from pageproof.arch.x86_64.paging import X86Paging
from pageproof.attach import dumpfile
from pageproof.attach.dumpfile import inspect_dump
from pageproof.attach.elfmap import map_file
from pageproof.attach.reader import Reader
from pageproof.model import MemoryGap, Outcome, Walk
from pageproof.model.asked import WalkerChoice
from pageproof.space.units import PAGE_BYTES
from pageproof.walk import Walker, make_walker

MANY = 0xFFFF  # PN_XNUM: the number of segments is elsewhere


@dataclass(frozen=True)
class Load:
    """A PT_LOAD: data at paddr, and at least as much memory."""

    paddr: int
    data: bytes
    left_out: int = 0


def write_core(path: Path, loads: list[Load], *, gap: int = 0, many: bool = False) -> Path:
    """Write an ELF core. The data of the segments is in order, with a gap before each."""
    count = len(loads)
    sections_at = 64 + 56 * count
    sections = struct.pack("<IIQQQQIIQQ", 0, 0, 0, 0, 0, 1, 0, count, 0, 0) if many else b""
    head = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH",
        *(4, 62, 1, 0, 64, sections_at if many else 0, 0),
        *(64, 56, MANY if many else count, 64, int(many), 0),
    )
    at = sections_at + len(sections)
    table, data = b"", b""
    for load in loads:
        at += gap
        size = len(load.data)
        virtual = load.paddr + 0xFFFF_8880_0000_0000 & (1 << 64) - 1
        header = (1, 7, at, virtual, load.paddr, size, size + load.left_out, 0)
        table += struct.pack("<IIQQQQQQ", *header)
        data += b"\xee" * gap + load.data
        at += size
    path.write_bytes(head + table + sections + data)
    return path


def open_core(path: Path) -> tuple[drgn.Program, Reader]:
    prog = drgn.Program()
    prog.set_core_dump(path)
    return prog, Reader(prog, inspect_dump(path).elf_map)


def random_loads(rng: random.Random) -> list[Load]:
    """Return segments that overlap, adjoin or contain each other, and start at any byte."""
    unit = rng.choice([1, 8, 100, PAGE_BYTES])
    base = rng.choice([unit, 1 << 40])
    return [
        Load(
            base + rng.randrange(60) * unit,
            rng.randbytes(rng.randrange(20) * unit),
            rng.choice([0, 0, rng.randrange(20) * unit]),
        )
        for _ in range(rng.randrange(1, 12))
    ]


def byte_of_drgn(prog: drgn.Program, paddr: int) -> int | None:
    """Read with drgn; None if the dump does not have the memory.

    drgn reports that for the core of a process, which these files are.
    """
    try:
        return int(prog.read(paddr, 1, True)[0])
    except drgn.FaultError:
        return None


@pytest.mark.parametrize("seed", range(30))
def test_what_is_mapped_is_what_drgn_reads(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    loads = random_loads(rng)
    gap, many = rng.choice([0, 1, 33]), rng.random() < 0.3
    prog, reader = open_core(write_core(tmp_path / "vmcore", loads, gap=gap, many=many))
    held: dict[int, int | None] = {}
    end = 0
    for paddr, what in reader.direct_memory():
        assert paddr >= end, "pieces overlap, or are not sorted"
        end = paddr + (what if isinstance(what, int) else len(what))
        assert end > paddr
        held.update(
            dict.fromkeys(range(paddr, end))
            if isinstance(what, int)
            else dict(enumerate(what, start=paddr))
        )
    named = {
        paddr
        for load in loads
        for paddr in range(load.paddr, load.paddr + len(load.data) + load.left_out)
    }
    assert held.keys() == named
    edges = [p for p in named if {p - 1, p + 1} - named or held[p - 1] is not held[p]]
    for paddr in {*rng.sample(sorted(named), min(len(named), 500)), *edges[:2000]}:
        assert held[paddr] == byte_of_drgn(prog, paddr)
        if held[paddr] is None:
            with pytest.raises(MemoryGap, match=f"^{paddr:#x} was left out of the dump$") as there:
                reader.read_physical(paddr, 1)
            assert there.value.outcome is Outcome.EXCLUDED


def test_nothing_can_be_written_through_the_mapping(tmp_path: Path) -> None:
    _, reader = open_core(write_core(tmp_path / "vmcore", [Load(0x1000, bytes(64))]))
    ((_, memory),) = reader.direct_memory()
    assert isinstance(memory, memoryview)
    with pytest.raises(TypeError, match="read-only"):
        memory[0] = 1


def test_a_segment_without_a_physical_address_is_nobodys(tmp_path: Path) -> None:
    loads = [Load((1 << 64) - 1, bytes(8)), Load(0x1000, bytes(8))]
    _, reader = open_core(write_core(tmp_path / "vmcore", loads))
    assert [paddr for paddr, _ in reader.direct_memory()] == [0x1000]


def test_a_segment_that_reaches_beyond_all_addresses(tmp_path: Path) -> None:
    last = (1 << 64) - PAGE_BYTES
    path = write_core(tmp_path / "vmcore", [Load(last, bytes(16), left_out=1 << 62)])
    elf_map = inspect_dump(path).elf_map
    assert elf_map
    (held, left_out) = elf_map.direct()
    assert (held[0], left_out) == (last, (last + 16, PAGE_BYTES - 16))
    make_walker(lambda paddr, length: b"", X86Paging(levels=4), WalkerChoice.C, elf_map.direct())


def test_an_empty_file_is_not_mapped(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.touch()
    with path.open("rb") as file:
        assert map_file(file) is None


# Walking page tables in it

#: Address of the PGD; PUD, PMD and four PTE tables follow.
ROOT = 0x10000


def tables() -> bytes:
    """Return tables for four PTE tables of 512 pages each, with increasing frames."""
    pages = [bytearray(PAGE_BYTES) for _ in range(7)]
    struct.pack_into("<Q", pages[0], 0, ROOT + PAGE_BYTES | TABLE)
    struct.pack_into("<Q", pages[1], 0, ROOT + 2 * PAGE_BYTES | TABLE)
    for number in range(4):
        struct.pack_into("<Q", pages[2], number * 8, ROOT + (3 + number) * PAGE_BYTES | TABLE)
        for index in range(512):
            frame = 0x100000 + number * 512 + index
            struct.pack_into("<Q", pages[3 + number], index * 8, frame * PAGE_BYTES | P)
    return b"".join(pages)


def dumps() -> dict[str, list[Load]]:
    data = tables()
    third, fifth = 3 * PAGE_BYTES, 5 * PAGE_BYTES
    junk = random.Random(5).randbytes(2 * PAGE_BYTES)
    return {
        "whole": [Load(ROOT, data)],
        "left out": [Load(ROOT, data[:third], left_out=len(data) - third)],
        "left out in the middle of a table": [
            Load(ROOT, data[: third + 800], left_out=PAGE_BYTES - 800),
            Load(ROOT + third + PAGE_BYTES, data[third + PAGE_BYTES :]),
        ],
        "not named": [Load(ROOT, data[:third]), Load(ROOT + fifth, data[fifth:])],
        "two segments in a table": [
            Load(ROOT, data[: third + 40]),
            Load(ROOT + third + 40, data[third + 40 :]),
        ],
        "a later segment over it": [Load(ROOT + third, junk), Load(ROOT, data)],
        "an earlier segment under it": [Load(ROOT, data), Load(ROOT + third, junk)],
        "a later segment leaves it out": [
            Load(ROOT, data),
            Load(ROOT + third, b"", left_out=2 * PAGE_BYTES),
        ],
    }


def walkers(reader: Reader) -> list[Walker]:
    paging = X86Paging(levels=4)
    read, direct = reader.read_physical, reader.direct_memory()
    return [
        make_walker(read, paging, WalkerChoice.PYTHON, direct),
        make_walker(read, paging, WalkerChoice.C),
        make_walker(read, paging, WalkerChoice.C, direct),
    ]


@pytest.mark.parametrize("name", dumps())
def test_all_walkers_say_the_same_word_for_word(tmp_path: Path, name: str) -> None:
    path = write_core(tmp_path / "vmcore", dumps()[name], gap=3)
    slow, called, direct = walkers(open_core(path)[1])
    outcomes = set()
    for page in (0, 1, 99, 100, 101, 511, 512, 513, 1023, 1024, 2047, 2048, 1 << 20, 1 << 30):
        walk = slow.walk(ROOT, page * PAGE_BYTES + 5)
        assert called.walk(ROOT, page * PAGE_BYTES + 5) == walk
        assert direct.walk(ROOT, page * PAGE_BYTES + 5) == walk
        outcomes.add(walk.outcome)
    ranges = list(slow.ranges(ROOT, 0, (1 << 31) - 1))
    assert list(direct.ranges(ROOT, 0, (1 << 31) - 1)) == ranges
    assert list(called.ranges(ROOT, 0, (1 << 31) - 1)) == ranges
    assert (Outcome.EXCLUDED in outcomes) is ("left out" in name or "leaves" in name)
    assert (Outcome.UNREADABLE in outcomes) is (name == "not named")


def test_a_table_that_was_left_out_says_so(tmp_path: Path) -> None:
    _, reader = open_core(write_core(tmp_path / "vmcore", dumps()["left out"]))
    walk: Walk = walkers(reader)[2].walk(ROOT, 3 * PAGE_BYTES)
    where = f"{ROOT + 3 * PAGE_BYTES:#x}"
    entry = f"{ROOT + 3 * PAGE_BYTES + 24:#x}"
    assert walk.detail == f"PTE table at {where}: {entry} was left out of the dump"


def test_direct_memory_is_not_read(tmp_path: Path) -> None:
    _, reader = open_core(write_core(tmp_path / "vmcore", dumps()["whole"]))
    read: list[int] = []

    def count(paddr: int, length: int) -> bytes:
        read.append(paddr)
        return reader.read_physical(paddr, length)

    walker = make_walker(count, X86Paging(levels=4), WalkerChoice.C, reader.direct_memory())
    assert walker.walk(ROOT, 7 * PAGE_BYTES).pfn == 0x100007
    assert len(list(walker.ranges(ROOT, 0, (1 << 30) - 1, merged=True))) == 1
    assert not read


def test_a_file_that_can_not_be_mapped_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dumpfile, "map_file", lambda file: None)
    _, reader = open_core(write_core(tmp_path / "vmcore", dumps()["left out"]))
    assert not reader.direct_memory()
    slow, called, direct = walkers(reader)
    for page in (0, 3 * 512, 1 << 18):
        assert direct.walk(ROOT, page * PAGE_BYTES) == slow.walk(ROOT, page * PAGE_BYTES)
    assert called.walk(ROOT, 0).outcome is Outcome.EXCLUDED


def test_a_mapping_outlives_the_name_of_its_file(tmp_path: Path) -> None:
    path = write_core(tmp_path / "vmcore", dumps()["whole"])
    _, reader = open_core(path)
    path.unlink()
    assert walkers(reader)[2].walk(ROOT, PAGE_BYTES).pfn == 0x100001
