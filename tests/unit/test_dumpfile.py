# SPDX-License-Identifier: GPL-2.0-or-later
"""Recognising dumps and seeing that they are whole; the files are made here, a few bytes each."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from pageproof.errors import Exit, PageproofError
from pageproof.target.dumpfile import inspect_dump
from pageproof.target.elfmap import ElfMap, Segment

PAGE = 4096


def elf(segments: list[tuple[int, int, int]], *, kind: int = 4, machine: int = 62) -> bytes:
    """An ELF core of (physical address, bytes in memory, bytes in the file)."""
    table_at, data_at = 64, 64 + 56 * len(segments)
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    head = ident + struct.pack(
        "<HHIQQQIHHHHHH", kind, machine, 1, 0, table_at, 0, 0, 64, 56, len(segments), 0, 0, 0
    )
    table, at = b"", data_at
    for paddr, memory, file in segments:
        table += struct.pack("<IIQQQQQQ", 1, 7, at, 0, paddr, file, memory, 0)
        at += file
    return head + table + b"\xaa" * (at - data_at)


def kdump(pages: int = 3, *, status: int = 1, split: int = 0) -> bytes:
    """A kdump-compressed file with descriptors and data of some pages."""
    head = bytearray(PAGE)
    head[:8] = b"KDUMP   "
    struct.pack_into("<IiiII", head, 424, status, PAGE, 1, 2, 8)
    sub = bytearray(PAGE)
    struct.pack_into("<i", sub, 12, split)
    bitmap = bytes([(1 << pages) - 1]).ljust(PAGE, b"\0")
    descriptors_at = 4 * PAGE
    data_at = descriptors_at + pages * 24
    table = b"".join(struct.pack("<qIIQ", data_at + page * 100, 100, 1, 0) for page in range(pages))
    return bytes(head) + bytes(sub) + bitmap + bitmap + table + b"\xbb" * (pages * 100)


def flattened(inner: bytes) -> bytes:
    head = (b"makedumpfile".ljust(16, b"\0") + struct.pack(">QQ", 1, 1)).ljust(PAGE, b"\0")
    half = len(inner) // 2
    records = [(0, inner[:half]), (half, inner[half:])]
    body = b"".join(struct.pack(">qq", at, len(data)) + data for at, data in records)
    return head + body + struct.pack(">qq", -1, -1)


def written(directory: Path, data: bytes) -> Path:
    path = directory / "vmcore"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("data", "form", "zero_fills"),
    [
        (elf([(0, PAGE, PAGE)]), "elf", False),
        (kdump(), "kdump", False),
        (flattened(kdump()), "flattened", False),
        (flattened(elf([(0, PAGE, PAGE)])), "flattened", True),
    ],
    ids=["elf", "kdump", "flattened kdump", "flattened elf"],
)
def test_a_whole_dump(tmp_path: Path, data: bytes, form: str, zero_fills: bool) -> None:
    got = inspect_dump(written(tmp_path, data))
    assert (got.format, got.zero_fills) == (form, zero_fills)


@pytest.mark.parametrize(
    "make", [lambda: elf([(0, 9 * PAGE, PAGE)]), kdump, lambda: flattened(kdump())]
)
@pytest.mark.parametrize("part", [0.3, 0.6, 0.999])
def test_a_cut_dump(tmp_path: Path, make: object, part: float) -> None:
    assert callable(make)
    data = make()
    with pytest.raises(PageproofError, match="the dump is cut") as caught:
        inspect_dump(written(tmp_path, data[: int(len(data) * part)]))
    assert caught.value.exit_code is Exit.USAGE
    assert "copy it again" in caught.value.remedy


def test_a_dump_cut_in_its_header(tmp_path: Path) -> None:
    for data in (elf([(0, PAGE, PAGE)])[:40], kdump()[:100], flattened(kdump())[:100]):
        with pytest.raises(PageproofError, match="the dump is cut"):
            inspect_dump(written(tmp_path, data))


def test_a_dump_that_makedumpfile_could_not_finish(tmp_path: Path) -> None:
    with pytest.raises(PageproofError, match="marked it as incomplete"):
        inspect_dump(written(tmp_path, kdump(status=1 | 8)))


def test_one_part_of_a_split_dump_is_not_taken_for_cut(tmp_path: Path) -> None:
    data = kdump(split=1)
    assert inspect_dump(written(tmp_path, data[:-250])).format == "kdump"


@pytest.mark.parametrize(
    ("data", "message", "remedy"),
    [
        (b"", "an empty file", "dump again"),
        (b"hello, world" * 9, "neither ELF nor makedumpfile's formats", "give a vmcore"),
        (elf([], kind=2), "an ELF executable or object", "with -s"),
        (elf([], kind=1), "an ELF executable or object", "with -s"),
        (elf([], machine=183), "not of an x86_64 machine", "only x86_64"),
        (b"\x1f\x8b" + b"x" * 90, "a gzip file", "gunzip it first"),
        (b"\xfd7zXZ\0" + b"x" * 90, "a xz file", "unxz it first"),
        (b"\x28\xb5\x2f\xfd" + b"x" * 90, "a zstd file", "unzstd it first"),
    ],
)
def test_not_a_dump(tmp_path: Path, data: bytes, message: str, remedy: str) -> None:
    with pytest.raises(PageproofError, match=message) as caught:
        inspect_dump(written(tmp_path, data))
    assert remedy in caught.value.remedy
    assert str(tmp_path) in caught.value.where


def test_a_flattened_dump_that_went_through_a_text_mode(tmp_path: Path) -> None:
    data = bytearray(flattened(kdump()))
    struct.pack_into(">q", data, PAGE + 8, -7)
    with pytest.raises(PageproofError, match="damaged"):
        inspect_dump(written(tmp_path, bytes(data)))


def test_no_such_file_and_a_directory(tmp_path: Path) -> None:
    with pytest.raises(PageproofError, match="there is no such dump"):
        inspect_dump(tmp_path / "nothing")
    with pytest.raises(PageproofError, match="a directory, not a dump"):
        inspect_dump(tmp_path)


# What an ELF dump left out


def elf_map(*segments: tuple[int, int, int]) -> ElfMap:
    return ElfMap([Segment(*segment, order) for order, segment in enumerate(segments)])


@pytest.mark.parametrize(
    ("paddr", "excluded"),
    [
        (0x1000, False),
        (0x2000, True),  # in memory, not in the file
        (0x1FFC, True),  # begins in the file and ends beyond it
        (0x3FFF, True),
        (0x4000, False),  # nobody's: unreadable, but not excluded
        (0x0FFF, False),
    ],
)
def test_excluded_is_named_but_not_held(paddr: int, excluded: bool) -> None:
    assert elf_map((0x1000, 0x3000, 0x1000)).is_excluded(paddr, 8) is excluded


def test_where_segments_overlap_the_later_counts() -> None:
    """As in drgn: the kernel's text is in a segment of its own and in that of all memory."""
    assert not elf_map((0, 0x9000, 0), (0x4000, 0x1000, 0x1000)).is_excluded(0x4000, 8)
    assert elf_map((0x4000, 0x1000, 0x1000), (0, 0x9000, 0)).is_excluded(0x4000, 8)


def test_a_long_segment_far_below_is_still_seen() -> None:
    pieces = tuple((0x10000 + n * 0x1000, 0x1000, 0x1000) for n in range(50))
    assert elf_map((0, 0x100000, 0), *pieces).is_excluded(0x50000, 8)
    assert not elf_map((0, 0x100000, 0), *pieces).is_excluded(0x20000, 8)
