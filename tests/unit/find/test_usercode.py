# SPDX-License-Identifier: GPL-2.0-or-later
"""Names of user code, tried on this very process; drgn and the linker say what is right."""

import ctypes
import os
import struct
from pathlib import Path

import drgn
import pytest

from pageproof.find.process.usercode import Programs, build_id, opened_file
from pageproof.model import FileFacts, VmaFacts

FUNCTION = "PyLong_AsLong"
ADDRESS = ctypes.cast(getattr(ctypes.pythonapi, FUNCTION), ctypes.c_void_p).value or 0


def read(address: int, length: int) -> bytes | None:
    with Path("/proc/self/mem").open("rb", buffering=0) as memory:
        memory.seek(address)
        try:
            return memory.read(length)
        except OSError:
            return None


def own_vmas() -> list[VmaFacts]:
    found = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, _, offset, _, inode, *path = line.split(maxsplit=5)
        start, end = (int(word, 16) for word in span.split("-"))
        file = None
        if int(inode):
            name = Path(path[0]).name
            file = FileFacts(0, 0, "", name, int(inode), int(inode), 0, "", 0)
        found.append(VmaFacts(0, start, end, int(offset, 16) >> 12, 0, "", 0, "", "", file))
    return found


def the_file(vmas: list[VmaFacts]) -> tuple[VmaFacts, int]:
    """Return the VMA of the function, and where the first page of its file is mapped."""
    vma = next(one for one in vmas if one.start <= ADDRESS < one.end)
    assert vma.file is not None
    return vma, min(one.start for one in vmas if one.file and one.file.inode == vma.file.inode)


@pytest.fixture
def programs() -> Programs:
    return Programs(drgn.host_platform, (), opened_file)


def test_a_function_of_this_process(programs: Programs) -> None:
    vmas = own_vmas()
    code = programs.code(os.getpid(), 1, ADDRESS + 4, vmas, read)
    assert code.symbol == f"{FUNCTION}+0x4"
    vma, _ = the_file(vmas)
    assert vma.file is not None
    assert code.module == vma.file.dentry_name


def test_without_a_file_it_is_an_offset() -> None:
    vmas = own_vmas()
    vma, _ = the_file(vmas)
    code = Programs(drgn.host_platform, (), lambda *_: None).code(1, 1, ADDRESS + 4, vmas, read)
    assert code.symbol == f"file offset {ADDRESS + 4 - vma.start + vma.pgoff_pages * 4096:#x}"


def test_a_given_file_is_used_for_its_build_id_only() -> None:
    vmas = own_vmas()
    vma, _ = the_file(vmas)
    path = opened_file(os.getpid(), vma)
    assert path is not None
    other = Path("/bin/sh").resolve()
    given = Programs(drgn.host_platform, (other, path.resolve()), lambda *_: None)
    assert given.code(1, 1, ADDRESS + 4, vmas, read).symbol == f"{FUNCTION}+0x4"
    wrong = Programs(drgn.host_platform, (other,), lambda *_: None)
    assert wrong.code(1, 1, ADDRESS + 4, vmas, read).symbol.startswith("file offset")


def test_code_outside_any_file(programs: Programs) -> None:
    assert programs.code(os.getpid(), 1, 0x1000, own_vmas(), read).symbol == ""


def test_the_build_id_is_that_which_drgn_finds() -> None:
    prog = drgn.Program()
    prog.set_pid(os.getpid())
    _, base = the_file(own_vmas())
    (expected,) = (
        one.build_id
        for one, _ in prog.loaded_modules()
        if any(start <= ADDRESS < end for start, end in one.address_ranges or ())
    )
    assert build_id(read, base) == expected
    assert expected


@pytest.mark.parametrize("at", [0, 4, 32, 54, 56])
def test_a_damaged_header_has_none(at: int) -> None:
    _, base = the_file(own_vmas())
    header = bytearray(read(base, 4096) or b"")
    header[at : at + 2] = b"\xff\xff"

    def damaged(address: int, length: int) -> bytes | None:
        offset = address - base
        return bytes(header[offset : offset + length]) if 0 <= offset < 4096 else None

    assert build_id(damaged, base) is None


def test_notes_that_lie_about_their_size() -> None:
    header = bytearray(read(the_file(own_vmas())[1], 64) or b"")
    struct.pack_into("<Q", header, 32, 64)
    struct.pack_into("<H", header, 56, 1)
    segment = struct.pack("<II6Q", 4, 0, 256, 0, 0, 512, 0, 0)
    notes = struct.pack("<III", 0xFFFFFFF0, 0xFFFFFFF0, 3) + bytes(500)
    page = bytes(header).ljust(64, b"\0") + segment
    page = page.ljust(256, b"\0") + notes
    assert build_id(lambda address, length: page[address : address + length], 0) is None
