# SPDX-License-Identifier: GPL-2.0-or-later
"""Images of memory: what they hold, and what is wrong with them."""

from __future__ import annotations

import base64
import ctypes
import mmap
import os
import random
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from unit.attach.images import Part, avml, header, lime

from pageproof.attach import avml as avml_module
from pageproof.attach.dumpfile import DumpFile, inspect_dump
from pageproof.attach.image import Image, check_end
from pageproof.errors import Exit, PageproofError
from pageproof.model import MemoryGap, Outcome
from pageproof.space.ramranges import RamRange, parse_ram

PAGE = 4096
MIB = 1 << 20
#: The headers of an image that LiME 1.9.1 wrote of a guest with 512 MiB, Linux 6.12.
REAL_HEADERS = (
    "454d694c010000000010000000000000fffb0900000000000000000000000000",
    "454d694c010000000000100000000000ff6ffd1f000000000000000000000000",
)
#: What avml 0.21.0 (avml convert) made of 20 pages of the bytes 1 to 20 and 3 pages of zeros.
REAL_AVML = (
    "eNpzDPP1YWJAgP/5jAzI4D8bA0OxX2JAQSSDOg9DTX2RXUMDCwPjP0aGoYt+Ab3INOR9wDzkfcAy5H3AOuR9wDbkfcA+"
    "5H3AMeR9wDnkfcA15H3APeR9wDPkfcA75H3AN+R9wD/kfSAw5H0QyMrweouGTMMDRgbBIe8ZoSHvA+Eh7wORIe8DhiHt"
    "g1E04CmoSxAyIgMA7jrIAg=="
)


def pages(*numbers: int) -> bytes:
    return b"".join(bytes([number]) * PAGE for number in numbers)


def noise(count: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(count * PAGE)


PARTS: Sequence[Part] = (
    (0x1000, pages(1, 2) + bytes(range(256)) * 4),  # ends inside a page, as RAM below 640 KiB does
    (0x100000, pages(*range(20)) + noise(17) + pages(7)),
    (0x1_0000_0000, pages(9)),
)
WRITERS = {"lime": lime, "avml": avml}


def written(directory: Path, data: bytes) -> Path:
    path = directory / "image"
    path.write_bytes(data)
    return path


def opened(path: Path, ram: Sequence[RamRange] = ()) -> tuple[DumpFile, Image]:
    dump = inspect_dump(path, ram)
    assert dump.image is not None
    return dump, dump.image


def refused(path: Path, ram: Sequence[RamRange] = ()) -> PageproofError:
    with pytest.raises(PageproofError) as caught:
        inspect_dump(path, ram)
    assert caught.value.exit_code is Exit.USAGE
    assert caught.value.where == str(path)
    assert caught.value.remedy
    return caught.value


def holds(image: Image, parts: Sequence[Part]) -> None:
    """Check that an image has these parts and nothing else."""
    memory = image.memory
    assert list(image.parts) == [(start, start + len(data)) for start, data in parts]
    for start, data in parts:
        assert memory.read(start, len(data)) == data
        for at in range(0, len(data) - 16, 1001):
            assert memory.read(start + at, 16) == data[at : at + 16]
        for paddr, length in ((start - 1, 2), (start + len(data) - 1, 2), (start - 8, 8)):
            with pytest.raises(MemoryGap):
                memory.read(paddr, length)
    found = {
        one.first + page * PAGE: bytes(one.data[page * one.stride :][:16])
        for first, length in memory.ranges
        for one in memory.heads(first, length)
        for page in range(-(-len(one.data) // one.stride))
    }
    assert found == {
        start + at: data[at : at + 16]
        for start, data in parts
        for at in range(0, len(data) & -PAGE, PAGE)
    }


@pytest.mark.parametrize("form", WRITERS)
def test_memory(tmp_path: Path, form: str) -> None:
    dump, image = opened(written(tmp_path, WRITERS[form](PARTS)))
    assert (dump.format, image.guest) == (form, None)
    assert any("torn" in note for note in image.notes)
    holds(image, PARTS)


def test_a_file_that_cannot_be_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on some file systems, or with a limit of address space: it is read in pieces."""
    monkeypatch.setattr("pageproof.attach.image.map_file", lambda file: None)
    monkeypatch.setattr("pageproof.attach.image._READ_BYTES", 3 * PAGE)
    dump, image = opened(written(tmp_path, lime(PARTS)))
    holds(image, PARTS)
    assert dump.elf_map is not None
    assert not dump.elf_map.direct()


def test_a_file_that_becomes_shorter(tmp_path: Path) -> None:
    path = written(tmp_path, noise(256))
    _, image = opened(path)
    os.truncate(path, PAGE)
    with pytest.raises(MemoryGap, match="the file has become shorter"):
        image.memory.read(PAGE - 4, 8)


def test_headers_that_lime_wrote(tmp_path: Path) -> None:
    sizes = 0x9FC00 - 0x1000, 0x1FFD7000 - 0x100000
    path = tmp_path / "image"
    with path.open("wb") as file:
        for text, size in zip(REAL_HEADERS, sizes, strict=True):
            file.write(bytes.fromhex(text))
            file.write(b"first")
            file.seek(size - 9, os.SEEK_CUR)
            file.write(b"last")
    _, image = opened(path)
    assert list(image.parts) == [(0x1000, 0x9FC00), (0x100000, 0x1FFD7000)]
    for start, end in image.parts:
        assert image.memory.read(start, 5) == b"first"
        assert image.memory.read(end - 4, 4) == b"last"


def test_an_image_that_avml_wrote(tmp_path: Path) -> None:
    _, image = opened(written(tmp_path, zlib.decompress(base64.b64decode(REAL_AVML))))
    holds(image, [(0, pages(*range(1, 21)) + bytes(3 * PAGE))])


def test_adjoining_records_are_one_part(tmp_path: Path) -> None:
    """AVML splits memory into records of 16 MiB."""
    data = noise(40)
    parts = [(at, data[at : at + 8 * PAGE]) for at in range(0, len(data), 8 * PAGE)]
    _, image = opened(written(tmp_path, avml(parts)))
    holds(image, [(0, data)])


def test_zeros_at_the_end_of_a_lime_record_may_be_made_up(tmp_path: Path) -> None:
    """LiME pads a range whose pages come too slowly: `timeout`, a second a page by default."""
    parts = [(0, pages(1, 0, 2, 0, 0)), (0x10000, pages(0, 3)), (0x20000, pages(0, 0))]
    dump, image = opened(written(tmp_path, lime(parts)))
    holds(image, parts)
    assert dump.elf_map is not None
    doubtful = {page * PAGE for page in range(0x22) if dump.elf_map.is_excluded(page * PAGE, PAGE)}
    assert doubtful == {0x3000, 0x4000, 0x20000, 0x21000}


# Raw images


def test_a_raw_image_is_memory_from_0_on(tmp_path: Path) -> None:
    data = noise(256)
    dump, image = opened(written(tmp_path, data))
    assert (dump.format, image.assumed) == ("raw", True)
    holds(image, [(0, data)])


def test_a_raw_image_with_a_hole(tmp_path: Path) -> None:
    data = noise(4)
    ram = [parse_ram("100000000-100001fff@2000"), parse_ram("1000-2fff@0")]
    _, image = opened(written(tmp_path, data), ram)
    assert not image.assumed
    holds(image, [(0x1000, data[: 2 * PAGE]), (0x1_0000_0000, data[2 * PAGE :])])


def test_holes_of_a_sparse_file_are_not_searched(tmp_path: Path) -> None:
    path = written(tmp_path, pages(1))
    os.truncate(path, 1 << 40)
    with path.open("r+b") as file:
        file.seek(1 << 39)
        file.write(pages(2))
    _, image = opened(path)
    assert sum(length for _, length in image.memory.ranges) < MIB
    assert {first & -MIB for first, _ in image.memory.ranges} == {0, 1 << 39}
    assert image.memory.read(1 << 38, PAGE) == bytes(PAGE)


def test_a_file_that_a_process_may_write_to_changes(tmp_path: Path) -> None:
    """As QEMU maps its memory-backend-file, with share=on."""
    path = written(tmp_path, pages(1) * 256)
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as shared:
        dump, image = opened(path)
        assert image.guest is not None
        assert dump.elf_map is None
        assert f"process {os.getpid()} maps the file" in image.notes[0]
        shared[:4] = b"new!"
        assert image.memory.read(0, 4) == b"new!"
    assert opened(path)[1].guest is None


@pytest.mark.parametrize("size", [1, PAGE, MIB - PAGE, MIB + 1, MIB + 2048])
def test_a_size_that_no_memory_has(tmp_path: Path, size: int) -> None:
    error = refused(written(tmp_path, b"x" * size))
    assert "neither ELF nor makedumpfile's formats, nor an image of memory" in error.what


def test_ranges_are_for_raw_images_only(tmp_path: Path) -> None:
    error = refused(written(tmp_path, lime(PARTS)), [parse_ram("0-fff@0")])
    assert error.what == "--ram is for raw images, and this is a LiME image"


def test_ranges_outside_the_file(tmp_path: Path) -> None:
    error = refused(written(tmp_path, noise(2)), [parse_ram("0-2fff@0")])
    assert "--ram 0-2fff@0 lies beyond the end of the file, which has 0x2000 bytes" in error.what


def test_an_image_that_ends_before_its_kernels_memory(tmp_path: Path) -> None:
    _, image = opened(written(tmp_path, noise(256)))
    check_end(image, MIB, "image")
    with pytest.raises(PageproofError, match="the kernel has memory up to 0x101000") as caught:
        check_end(image, MIB + PAGE, "image")
    assert caught.value.remedy == "copy it again; --ram 0-fffff@0 reads it without the rest"
    with pytest.raises(PageproofError) as caught:
        check_end(image, (4 << 30) + PAGE, "image")
    assert "--ram 0-fefff@0 --ram 100000000-100000fff@ff000" in caught.value.remedy
    chosen = opened(written(tmp_path, noise(256)), [parse_ram("0-fffff@0")])[1]
    check_end(chosen, MIB + PAGE, "image")


# Truncated and damaged images


@pytest.mark.parametrize("form", WRITERS)
def test_a_cut_image(tmp_path: Path, form: str) -> None:
    data = WRITERS[form](PARTS)
    ends = {len(WRITERS[form](PARTS[:count])) for count in range(1, 4)}
    for length in (*range(32, 64), *range(100, len(data), 499), len(data) - 1):
        if length not in ends:
            error = refused(written(tmp_path, data[:length]))
            assert "the dump is truncated" in error.what, length


def changed(at: int, form: str, *values: int) -> Callable[[bytearray], None]:
    return lambda data: struct.pack_into(form, data, at, *values)


#: Of the second record of each form.
SECOND = {form: len(write(PARTS[:1])) for form, write in WRITERS.items()}


@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize(
    ("at", "layout", "value", "message"),
    [
        (0, "<I", 7, "there is no record at byte"),
        (4, "<I", 3, "has version 3"),
        (24, "<Q", 1, "has version"),
        (8, "<Q", 1 << 63, "ends before it begins"),
        (8, "<Q", 0x2000, "before the end of the one before"),
        (16, "<Q", (1 << 64) - 1, "ends before it begins"),
    ],
)
def test_a_damaged_header(
    tmp_path: Path, form: str, at: int, layout: str, value: int, message: str
) -> None:
    data = bytearray(WRITERS[form](PARTS))
    changed(SECOND[form] + at, layout, value)(data)
    error = refused(written(tmp_path, bytes(data)))
    assert "the dump is damaged" in error.what
    assert message in error.what


@pytest.mark.parametrize("form", WRITERS)
def test_records_out_of_order(tmp_path: Path, form: str) -> None:
    parts = [PARTS[1], PARTS[0]]
    assert (
        "before the end of the one before" in refused(written(tmp_path, WRITERS[form](parts))).what
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed(32, "<B", 0xFE), "no snappy chunk at byte 32"),
        (changed(42, "<B", 2), "no snappy chunk at byte 42"),
        (changed(42, "<I", 0x300), "no snappy chunk at byte 42"),  # shorter than its CRC
        (changed(50, "<I", 0xFFFFFF), "no snappy chunk at byte 42"),  # more than 64 KiB
        (changed(50, "<B", 5), "no snappy chunk at byte 42"),  # too short to be many
        (changed(42, "<I", 0xFFFFFF00), "truncated"),
        (changed(-8, "<Q", 7), "is not that of the record"),
    ],
)
def test_damaged_chunks(tmp_path: Path, change: Callable[[bytearray], None], message: str) -> None:
    data = bytearray(avml([(0, pages(*range(20)))]))
    change(data)
    assert message in refused(written(tmp_path, bytes(data))).what


def test_a_chunk_that_does_not_decompress(tmp_path: Path) -> None:
    data = bytearray(avml([(0, pages(*range(20)))]))
    data[53:57] = b"\xff\xff\xff\xff"
    _, image = opened(written(tmp_path, bytes(data)))
    with pytest.raises(MemoryGap, match="its snappy chunk at byte 50 is damaged") as caught:
        image.memory.read(0, 8)
    assert caught.value.outcome is Outcome.UNREADABLE
    assert image.memory.read(17 * PAGE, 4) == bytes([17] * 4)


def test_a_search_leaves_out_damaged_chunks(tmp_path: Path) -> None:
    data = bytearray(avml([(0, pages(*range(40)))]))
    data[53:57] = b"\xff\xff\xff\xff"
    memory = opened(written(tmp_path, bytes(data)))[1].memory
    found = [one.first for first, length in memory.ranges for one in memory.heads(first, length)]
    assert found == [page * PAGE for page in range(16, 40)]


def test_without_libsnappy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(name)

    avml_module._snappy.cache_clear()
    monkeypatch.setattr(ctypes, "CDLL", missing)
    error = refused(written(tmp_path, header(b"AVML", 2, 0, 1)))
    assert "needs libsnappy.so.1" in error.what
    assert "libsnappy1v5" in error.remedy


def test_only_some_chunks_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(avml_module, "_KEPT", 2)
    data = pages(*range(80))
    _, image = opened(written(tmp_path, avml([(0, data)])))
    holds(image, [(0, data)])
    assert isinstance(image.memory, avml_module.AvmlMemory)
    assert len(image.memory._kept) == 2


DAMAGE = """
import random, resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_AS, (1 << 29, 1 << 29))
from pageproof.attach.dumpfile import inspect_dump
from pageproof.attach.vmcoreinfo import find_kernels
from pageproof.errors import PageproofError
from pageproof.model import MemoryGap

image, scratch = Path(sys.argv[1]), Path(sys.argv[2])
whole = image.read_bytes()
told = {}
for seed in range(int(sys.argv[3])):
    rng = random.Random(seed)
    data = bytearray(whole)
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.choice((rng.randrange(len(data)), rng.randrange(min(64, len(data)))))
        how = rng.randrange(4)
        if how == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif how == 1:
            data[at : at + 8] = rng.choice((bytes(8), b"\\xff" * 8, rng.randbytes(8)))
        elif how == 2:
            del data[at : at + rng.randrange(1, 5000)]
        else:
            data = data[: max(at, 1)]
        if not data:
            data = bytearray(1)
    scratch.write_bytes(data)
    try:
        memory = inspect_dump(scratch).image.memory
        find_kernels(memory)
        for first, length in memory.ranges:
            try:
                memory.read(first, min(length, 1 << 20))
            except MemoryGap:
                pass
        outcome = "read"
    except PageproofError as error:
        assert error.exit_code == 2 and error.remedy, error
        outcome = error.what.partition(":")[0]
    told[outcome] = told.get(outcome, 0) + 1
print(told)
"""


@pytest.mark.parametrize(("form", "runs"), [("lime", 1000), ("avml", 1000), ("raw", 200)])
def test_seeded_damage(tmp_path: Path, form: str, runs: int) -> None:
    """In 512 MiB of address space; a crash, a hang or another exception fails."""
    whole = (WRITERS[form] if form in WRITERS else lambda parts: noise(256))(PARTS)
    path = written(tmp_path, whole)
    done = subprocess.run(
        [sys.executable, "-c", DAMAGE, path, tmp_path / "scratch", str(runs)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "read" in done.stdout
    assert ("dump is" in done.stdout) or ("not a dump" in done.stdout)
