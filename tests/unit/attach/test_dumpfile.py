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
from pageproof.model import MemoryGap

PAGE = 4096
#: Offset of the bitmap in kdump(), after the header and the sub header.
BITMAP_AT = 2 * PAGE


def elf(
    segments: list[tuple[int, int, int]], *, kind: int = 4, machine: int = 62, info: bytes = b""
) -> bytes:
    """Return an ELF core of (physical address, bytes in memory, bytes in the file).

    Args:
        segments: they are also mapped, at the same addresses.
        kind, machine: of the header.
        info: text of a note with VMCOREINFO, if not empty.
    """
    count = len(segments) + bool(info)
    table_at, data_at = 64, 64 + 56 * count
    note = (
        struct.pack("<III", 11, len(info), 0) + b"VMCOREINFO\0\0" + info + b"\0" * (-len(info) % 4)
    )
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    head = ident + struct.pack(
        "<HHIQQQIHHHHHH", kind, machine, 1, 0, table_at, 0, 0, 64, 56, count, 0, 0, 0
    )
    table, at = b"", data_at
    if info:
        table = struct.pack("<IIQQQQQQ", 4, 0, at, 0, 0, len(note), 0, 0)
        at += len(note)
    for paddr, memory, file in segments:
        table += struct.pack("<IIQQQQQQ", 1, 7, at, paddr, paddr, file, memory, 0)
        at += file
    held = sum(file for _, _, file in segments)
    return head + table + (note if info else b"") + b"\xaa" * held


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
    # A part has room for the descriptors of all pages.
    data_at = BITMAP_AT + 2 * PAGE + pages * 24
    table, data = b"", bytes(PAGE) if zeros else b""
    for page in range(first, end):
        if zeros and page in (0, pages - 1):
            table += struct.pack("<QIIQ", data_at, PAGE, 0, 0)
        else:
            table += struct.pack("<QIIQ", data_at + len(data), 100, 2, 0)
            data += b"\xbb" * 100
    start = head + (sub + notes).ljust(PAGE, b"\0") + bitmap + bitmap + table
    return bytearray(start.ljust(data_at, b"\0") + data)


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
    ("data", "form"),
    [
        (elf([(0, PAGE, PAGE)]), "elf"),
        (kdump(), "kdump"),
        (kdump(5, zeros=True), "kdump"),
        (kdump(3, status=2), "kdump"),
        (flattened(kdump()), "flattened"),
        (flattened(elf([(0, PAGE, PAGE)], info=b"OSRELEASE=x\n")), "flattened"),
    ],
    ids=["elf", "kdump", "zeros", "lzo", "flattened kdump", "flattened elf"],
)
def test_a_whole_dump(tmp_path: Path, data: bytes, form: str) -> None:
    assert inspect_dump(written(tmp_path, data)).format == form


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


@pytest.mark.parametrize(
    ("data", "message", "remedy"),
    [
        (b"", "an empty file", "dump again"),
        (b"hello, world" * 9, "neither ELF nor makedumpfile's formats", "give a vmcore"),
        (elf([], kind=2), "an ELF executable or object", "with -s"),
        (elf([], kind=1), "an ELF executable or object", "with -s"),
        (elf([], machine=183), "not of an x86_64 machine", "only x86_64"),
        (elf([])[:60] + b"\5\0" + elf([])[62:], "a Xen domain core", "set up kdump"),
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


def test_a_compressed_dump_of_another_machine(tmp_path: Path) -> None:
    for machine, good in ((b"x86_64", True), (b"", True), (b"aarch64", False), (b"i686", False)):
        data = kdump(9)
        data[272 : 272 + len(machine)] = machine
        if good:
            assert inspect_dump(written(tmp_path, data)).kdump
            continue
        with pytest.raises(PageproofError, match="not of an x86_64 machine"):
            inspect_dump(written(tmp_path, data))


@pytest.mark.parametrize("method", [3, 8, 0x40])
def test_an_unknown_compression(tmp_path: Path, method: int) -> None:
    """libkdumpfile returns the data of such a page as it is."""
    data = kdump(9)
    words(BITMAP_AT + 2 * PAGE + 24 + 12, "<I", method)(data)
    with pytest.raises(PageproofError, match=f"an unknown method, {method:#x}"):
        inspect_dump(written(tmp_path, data))


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


def test_a_flattened_elf_without_vmcoreinfo(tmp_path: Path) -> None:
    with pytest.raises(PageproofError, match="the dump has no vmcoreinfo"):
        inspect_dump(written(tmp_path, flattened(elf([(0, PAGE, PAGE)]))))


def test_what_a_flattened_elf_omits(tmp_path: Path) -> None:
    inner = elf([(0, 4 * PAGE, 2 * PAGE), (16 * PAGE, PAGE, PAGE)], info=b"OSRELEASE=x\n")
    dump = inspect_dump(written(tmp_path, flattened(inner)))
    assert dump.info == b"OSRELEASE=x\n"
    assert dump.elf_map is not None
    assert dump.elf_map.read(16 * PAGE, PAGE) == dump.elf_map.read(0, PAGE) == b"\xaa" * PAGE
    assert dump.elf_map.read(PAGE - 8, 16) == b"\xaa" * 16
    omitted = {page for page in range(20) if dump.elf_map.is_excluded(page * PAGE, PAGE)}
    assert omitted == {2, 3}
    for paddr in (2 * PAGE - 4, 2 * PAGE, 4 * PAGE - 8):
        with pytest.raises(MemoryGap, match="left out of the dump"):
            dump.elf_map.read(paddr, 8)
    for paddr in (17 * PAGE, 1 << 63):
        with pytest.raises(MemoryGap, match="in no segment"):
            dump.elf_map.read(paddr, 8)


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
