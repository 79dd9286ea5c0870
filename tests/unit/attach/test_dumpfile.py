# SPDX-License-Identifier: GPL-2.0-or-later
"""Recognising and checking dumps, on small files that are made here."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pageproof.attach.dumpfile import inspect_dump
from pageproof.attach.elfmap import ElfMap, Segment
from pageproof.errors import Exit, PageproofError

PAGE = 4096
#: Offset of the bitmap in kdump(), after the header and the sub header.
BITMAP_AT = 2 * PAGE


def elf(segments: list[tuple[int, int, int]], *, kind: int = 4, machine: int = 62) -> bytes:
    """Return an ELF core of (physical address, bytes in memory, bytes in the file)."""
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


def kdump(
    pages: int = 3,
    *,
    status: int = 1,
    part: tuple[int, int] | None = None,
    zeros: bool = False,
    notes: bytes = b"notes",
) -> bytearray:
    """Return a kdump-compressed file with descriptors and data of some pages.

    Version, sizes and order are those of a vmcore that makedumpfile 1.7.2 wrote of Linux 6.12.

    Args:
        pages: of the dump.
        status: the header's status word.
        part: first page and page after the last one, of one file of a split dump.
        zeros: the last page is all zeros, and so is page 0.
        notes: behind the sub header.
    """
    head = bytearray(PAGE)
    head[:8] = b"KDUMP   "
    struct.pack_into("<i", head, 8, 6)
    struct.pack_into("<IiiII", head, 424, status, PAGE, 1, 2, pages)
    first, end = part or (0, pages)
    sub = struct.pack(
        "<QiiQQQQQQQQQQQ", 0, 31, int(part is not None), *(0, 0), *(0, 0), PAGE + 104, len(notes),
        *(0, 0), *(part or (0, 0)), pages,
    )  # fmt: skip
    bitmap = ((1 << pages) - 1).to_bytes(PAGE, "little")
    data_at = BITMAP_AT + 2 * PAGE + (end - first) * 24
    table, data = b"", bytes(PAGE) if zeros else b""
    for page in range(first, end):
        if zeros and page in (0, pages - 1):
            table += struct.pack("<QIIQ", data_at, PAGE, 0, 0)
        else:
            table += struct.pack("<QIIQ", data_at + len(data), 100, 2, 0)
            data += b"\xbb" * 100
    return bytearray(head + (sub + notes).ljust(PAGE, b"\0") + bitmap + bitmap + table + data)


def flat_record(at: int, data: bytes | bytearray) -> bytes:
    return struct.pack(">qq", at, len(data)) + data


def flattened(inner: bytes | bytearray) -> bytes:
    head = (b"makedumpfile".ljust(16, b"\0") + struct.pack(">QQ", 1, 1)).ljust(PAGE, b"\0")
    half = len(inner) // 2
    records = [(0, inner[:half]), (half, inner[half:])]
    body = b"".join(flat_record(at, data) for at, data in records)
    return head + body + struct.pack(">qq", -1, -1)


def written(directory: Path, data: bytes | bytearray) -> Path:
    path = directory / "vmcore"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("data", "form", "zero_fills"),
    [
        (elf([(0, PAGE, PAGE)]), "elf", False),
        (kdump(), "kdump", False),
        (kdump(5, zeros=True), "kdump", False),
        (kdump(3, status=2), "kdump", False),
        (flattened(kdump()), "flattened", False),
        (flattened(elf([(0, PAGE, PAGE)])), "flattened", True),
    ],
    ids=["elf", "kdump", "zeros", "lzo", "flattened kdump", "flattened elf"],
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
    with pytest.raises(PageproofError, match="the dump is truncated") as caught:
        inspect_dump(written(tmp_path, data[: int(len(data) * part)]))
    assert caught.value.exit_code is Exit.USAGE
    assert "copy it again" in caught.value.remedy


def test_a_dump_cut_in_its_header(tmp_path: Path) -> None:
    for data in (elf([(0, PAGE, PAGE)])[:40], kdump()[:100], flattened(kdump())[:100]):
        with pytest.raises(PageproofError, match="the dump is truncated"):
            inspect_dump(written(tmp_path, data))


def test_a_dump_that_makedumpfile_could_not_finish(tmp_path: Path) -> None:
    with pytest.raises(PageproofError, match="marked it as incomplete"):
        inspect_dump(written(tmp_path, kdump(status=1 | 8)))


@pytest.mark.parametrize("part", [(0, 9), (9, 20)])
def test_one_part_of_a_split_dump(tmp_path: Path, part: tuple[int, int]) -> None:
    """It has the bitmap of all pages, but only its own descriptors."""
    data = kdump(20, part=part)
    got = inspect_dump(written(tmp_path, data))
    assert (got.format, got.split) == ("kdump", True)
    with pytest.raises(PageproofError, match="the dump is truncated"):
        inspect_dump(written(tmp_path, data[:-50]))


def test_a_part_of_a_split_dump_without_pages(tmp_path: Path) -> None:
    """makedumpfile 1.7.2 wrote such a second part of a guest of 512 MiB."""
    with pytest.raises(PageproofError, match="has no pages") as caught:
        inspect_dump(written(tmp_path, kdump(20, part=(20, 20))))
    assert "--reassemble" in caught.value.remedy


@pytest.mark.parametrize(
    ("data", "message", "remedy"),
    [
        (b"", "an empty file", "dump again"),
        (b"hello, world" * 9, "neither ELF nor makedumpfile's formats", "give a vmcore"),
        (elf([], kind=2), "an ELF executable or object", "with -s"),
        (elf([], kind=1), "an ELF executable or object", "with -s"),
        (elf([], machine=183), "not of an x86_64 machine", "only x86_64"),
        (b"\x1f\x8b" + b"x" * 90, "a gzip file", "gunzip it first"),
        (b"\xfd7zXZ\0" + b"x" * 90, "an xz file", "unxz it first"),
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


# Inconsistent kdump-compressed dumps: libkdumpfile would return wrong pages or crash


def words(at: int, form: str, *values: int) -> Callable[[bytearray], None]:
    return lambda data: struct.pack_into(form, data, at, *values)


def flip(at: int, bit: int) -> Callable[[bytearray], None]:
    def change(data: bytearray) -> None:
        data[at] ^= 1 << bit

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (flip(BITMAP_AT + PAGE, 1), "has 8 pages, and its page descriptors do not match"),
        (flip(BITMAP_AT + PAGE, 0), "has 8 pages"),
        (words(PAGE + 96, "<Q", 8), "pages after the last one, 8"),  # max_mapnr_64
        (words(PAGE + 96, "<Q", PAGE * 8 + 1), "a bitmap of 4096 bytes"),
        (words(PAGE + 96, "<Q", 1 << 60), "a bitmap of 4096 bytes"),
        (words(436, "<I", 32 << 20), "a bitmap of 68719476736 bytes"),  # bitmap_blocks
        (words(8, "<i", 2), "version 2"),
        (words(8, "<i", -6), "version -6"),
        (words(428, "<i", 65536), "block size 65536"),
        (words(432, "<i", -1), "sub header -1"),
        (words(416, "<I", 4096), "32-bit machine"),
        (words(416, ">I", 4096), "32-bit machine"),
        (words(PAGE + 48, "<Q", 1 << 40), "bad range of notes"),
        (words(PAGE + 56, "<Q", 1 << 40), "bad range of notes"),
        (words(PAGE + 32, "<QQ", 0, 1 << 63), "bad range of VMCOREINFO"),
        (words(PAGE + 64, "<QQ", 0, 1 << 63), "bad range of erase info"),
        (words(BITMAP_AT + 2 * PAGE, "<Q", 1 << 62), "do not match"),  # a page's offset
        (words(BITMAP_AT + 2 * PAGE + 24 + 8, "<I", 1 << 31), "do not match"),  # and size
    ],
)
@pytest.mark.parametrize("flat", [False, True])
def test_what_does_not_fit(
    tmp_path: Path, change: Callable[[bytearray], None], message: str, flat: bool
) -> None:
    data = kdump(9)
    change(data)
    with pytest.raises(PageproofError, match=message) as caught:
        inspect_dump(written(tmp_path, flattened(data) if flat else data))
    assert "the dump is damaged" in str(caught.value)


@pytest.mark.parametrize("name", ["offset", "size"])
def test_notes_up_to_the_end_of_the_file(tmp_path: Path, name: str) -> None:
    """libkdumpfile maps the file and reads beyond its end: SIGBUS."""
    data = kdump()
    struct.pack_into("<Q", data, PAGE + (48 if name == "offset" else 56), len(data))
    with pytest.raises(PageproofError, match="bad range of notes"):
        inspect_dump(written(tmp_path, data))


def test_the_last_pages_data_beyond_the_end_of_the_file(tmp_path: Path) -> None:
    data = kdump()
    struct.pack_into("<I", data, BITMAP_AT + 2 * PAGE + 2 * 24 + 8, 101)
    with pytest.raises(PageproofError, match="the dump is truncated"):
        inspect_dump(written(tmp_path, data))


def test_many_descriptors_are_checked_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pageproof.attach.kdump._CHUNK_BYTES", 96)
    for data in (kdump(4000), kdump(4000, zeros=True), kdump(4000, part=(1003, 2999))):
        assert inspect_dump(written(tmp_path, data)).format == "kdump"
    for bit in (0, 1003, 2998, 3999):
        data = kdump(4000, part=(1003, 2999) if bit in (1003, 2998) else None)
        data[BITMAP_AT + PAGE + bit // 8] ^= 1 << bit % 8
        with pytest.raises(PageproofError, match="do not match"):
            inspect_dump(written(tmp_path, data))


# Flattened dumps


def test_a_flattened_dump_without_records(tmp_path: Path) -> None:
    data = flattened(b"")
    empty = data[:PAGE] + data[-16:]
    with pytest.raises(PageproofError, match="has no data"):
        inspect_dump(written(tmp_path, empty))


def test_a_flattened_dump_that_lacks_a_record(tmp_path: Path) -> None:
    inner = kdump(40)
    head, middle = flat_record(0, inner[: -20 * 100]), flat_record(len(inner) - 100, inner[-100:])
    data = flattened(b"x")[:PAGE] + head + middle + struct.pack(">qq", -1, -1)
    with pytest.raises(PageproofError, match="data of some pages is missing"):
        inspect_dump(written(tmp_path, data))


def test_a_later_record_counts(tmp_path: Path) -> None:
    """makedumpfile writes the header again at the end."""
    inner = kdump()
    wrong = bytes(len(inner))
    records = (0, wrong), (0, inner[:PAGE]), (PAGE, inner[PAGE:])
    body = b"".join(flat_record(at, data) for at, data in records)
    data = flattened(b"x")[:PAGE] + body + struct.pack(">qq", -1, -1)
    assert inspect_dump(written(tmp_path, data)).format == "flattened"


def test_a_flattened_dump_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(PageproofError, match="neither ELF nor kdump"):
        inspect_dump(written(tmp_path, flattened(b"hello, world" * 100)))


def test_sections_in_a_flattened_elf(tmp_path: Path) -> None:
    """libkdumpfile would allocate as much memory as the section headers claim."""
    inner = bytearray(elf([(0, PAGE, PAGE)]))
    struct.pack_into("<Q", inner, 40, 64)
    struct.pack_into("<HH", inner, 58, 64, 9)
    with pytest.raises(PageproofError, match="has 9 sections"):
        inspect_dump(written(tmp_path, flattened(inner)))


# Sizes that a file claims


def limited(path: Path) -> str:
    """Return the message of inspect_dump() in a process with 512 MiB of memory."""
    program = (
        "import resource, sys; from pathlib import Path\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 29, 1 << 29))\n"
        "from pageproof.errors import PageproofError\n"
        "from pageproof.attach.dumpfile import inspect_dump\n"
        "try: print(inspect_dump(Path(sys.argv[1])).format)\n"
        "except PageproofError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert not done.stderr
    return done.stdout


def sparse(directory: Path, head: bytes | bytearray, size: int) -> Path:
    path = written(directory, head)
    os.truncate(path, size)
    return path


def test_a_large_bitmap_in_a_sparse_file(tmp_path: Path) -> None:
    data = kdump()
    struct.pack_into("<I", data, 436, 32 << 20)
    assert "a bitmap of 68719476736 bytes" in limited(sparse(tmp_path, data, 1 << 40))


@pytest.mark.parametrize("number", [1 << 20, (1 << 32) - 1])
def test_many_program_headers_in_a_sparse_file(tmp_path: Path, number: int) -> None:
    head = bytearray(elf([]))
    struct.pack_into("<Q", head, 40, 128)  # section 0
    struct.pack_into("<HH", head, 56, 0xFFFF, 64)
    head = head.ljust(192, b"\0")
    struct.pack_into("<I", head, 128 + 44, number)
    told = limited(sparse(tmp_path, head, 1 << 40))
    assert f"it claims {number} program headers" in told


@pytest.mark.parametrize("shentsize", [0, 40])
def test_a_section_header_that_is_too_short(tmp_path: Path, shentsize: int) -> None:
    head = bytearray(elf([]))
    struct.pack_into("<Q", head, 40, 20)
    struct.pack_into("<HH", head, 56, 0xFFFF, shentsize)
    with pytest.raises(PageproofError, match="the dump is truncated"):
        inspect_dump(written(tmp_path, head))


def test_more_than_65535_segments(tmp_path: Path) -> None:
    count = 70_000
    table = struct.pack("<IIQQQQQQ", 1, 7, 0, 0, PAGE, 0, PAGE, 0) * count
    head = bytearray(elf([]))
    struct.pack_into("<QQ", head, 32, 192, 128)
    struct.pack_into("<HHH", head, 54, 56, 0xFFFF, 64)
    head = head.ljust(192, b"\0")
    struct.pack_into("<I", head, 128 + 44, count)
    got = inspect_dump(written(tmp_path, head + table))
    assert got.elf_map is not None
    assert got.elf_map.is_excluded(PAGE, 8)


# Paths that are not files


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/tty", "/dev/null"])
def test_a_device(path: str) -> None:
    with pytest.raises(PageproofError, match=r"a character device, not a dump|can't read"):
        inspect_dump(Path(path))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "vmcore")
    with pytest.raises(PageproofError, match="this is a pipe, not a dump"):
        inspect_dump(tmp_path / "vmcore")


# Memory that an ELF dump omits


def elf_map(*segments: tuple[int, int, int]) -> ElfMap:
    return ElfMap([Segment(*segment, order) for order, segment in enumerate(segments)])


@pytest.mark.parametrize(
    ("paddr", "excluded"),
    [
        (0x1000, False),
        (0x2000, True),  # in memory, not in the file
        (0x1FFC, True),  # starts in the file and ends after it
        (0x3FFF, True),
        (0x4000, False),  # in no segment: unreadable, but not excluded
        (0x0FFF, False),
    ],
)
def test_excluded_is_named_but_not_held(paddr: int, excluded: bool) -> None:
    assert elf_map((0x1000, 0x3000, 0x1000)).is_excluded(paddr, 8) is excluded


def test_where_segments_overlap_the_later_counts() -> None:
    """As in drgn: the kernel's text is in its own segment and in that of all memory."""
    assert not elf_map((0, 0x9000, 0), (0x4000, 0x1000, 0x1000)).is_excluded(0x4000, 8)
    assert elf_map((0x4000, 0x1000, 0x1000), (0, 0x9000, 0)).is_excluded(0x4000, 8)


def test_a_long_segment_far_below_is_still_seen() -> None:
    pieces = tuple((0x10000 + n * 0x1000, 0x1000, 0x1000) for n in range(50))
    assert elf_map((0, 0x100000, 0), *pieces).is_excluded(0x50000, 8)
    assert not elf_map((0, 0x100000, 0), *pieces).is_excluded(0x20000, 8)
