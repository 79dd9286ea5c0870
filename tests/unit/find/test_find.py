# SPDX-License-Identifier: GPL-2.0-or-later
"""Swap layouts, addresses that users write, the reader, and debug info, without a target."""

from __future__ import annotations

import struct
from pathlib import Path

import drgn
import pytest

from pageproof.arch.swaplayout import swap_layout
from pageproof.attach.debuginfo import load_debug_info
from pageproof.attach.elfmap import ElfMap, Segment
from pageproof.attach.reader import Reader
from pageproof.errors import PageproofError
from pageproof.find.kernel.expression import find_address, parse_hex
from pageproof.model import MemoryGap, Outcome, SwapLayout

# Swap layouts of the lab's four kernels and of others


@pytest.mark.parametrize(
    ("files", "poison", "exclusive", "expected"),
    [
        (30, False, False, SwapLayout((30, 0), (30, 2), (32, 0), (32, 0))),  # 5.10 cloud
        (27, True, False, SwapLayout((27, 1), (28, 2), (30, 2), (32, 0))),  # 5.10 with all
        (27, False, True, SwapLayout((27, 0), (27, 3), (30, 0), (30, 2))),  # 6.1 cloud
        (22, True, True, SwapLayout((22, 1), (23, 3), (26, 4), (30, 2))),  # 6.1 with all
        (23, True, True, SwapLayout((23, 1), (24, 3), (27, 4), (31, 1))),  # 6.12 with all
        (24, True, True, SwapLayout((24, 1), (25, 3), (28, 3), (31, 1))),  # 7.2 cloud
        (28, False, True, SwapLayout((28, 0), (28, 3), (31, 0), (31, 1))),
    ],
)
def test_swap_layout(files: int, poison: bool, exclusive: bool, expected: SwapLayout) -> None:
    assert swap_layout(files, poison, exclusive) == expected


@pytest.mark.parametrize(("files", "exclusive"), [(3, True), (26, True), (31, True), (29, False)])
def test_a_swap_layout_that_is_not_known_is_not_guessed(files: int, exclusive: bool) -> None:
    assert swap_layout(files, False, exclusive) is None


# Addresses


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("ffff888003400000", 0xFFFF_8880_0340_0000),
        ("0xffff888003400000", 0xFFFF_8880_0340_0000),
        ("0XFFFF_8880_0340_0000", 0xFFFF_8880_0340_0000),
        ("0", 0),
        ("add", 0xADD),
        ("1" * 17, None),
        ("-1", None),
        ("0x", None),
        ("jiffies", None),
        ("", None),
    ],
)
def test_parse_hex(text: str, value: int | None) -> None:
    assert parse_hex(text) == value


POINTER_AT, POINTS_TO = 0x1000, 0xFFFF_C900_0015_9000


@pytest.fixture
def prog() -> drgn.Program:
    """A variable: struct region { void *kaddr; int list[2]; } umh_shm_region."""
    made = drgn.Program(drgn.Platform(drgn.Architecture.X86_64))
    integer = made.int_type("int", 4, True)
    kind = made.struct_type(
        "region",
        16,
        (
            drgn.TypeMember(made.pointer_type(made.void_type()), "kaddr", 0),
            drgn.TypeMember(made.array_type(integer, 2), "list", 64),
        ),
    )
    memory = struct.pack("<Qii", POINTS_TO, 7, 8)

    def read(address: int, count: int, offset: int, physical: bool) -> bytes:
        return memory[offset : offset + count]

    def find(
        prog: drgn.Program, name: str, flags: drgn.FindObjectFlags, file: str | None
    ) -> drgn.Object | None:
        if name != "umh_shm_region":
            return None
        return drgn.Object(prog, kind, address=POINTER_AT)

    made.add_memory_segment(POINTER_AT, len(memory), read)
    made.add_memory_segment(POINTER_AT, len(memory), read, physical=True)
    made.register_object_finder("test", find, enable_index=0)
    symbol = drgn.Symbol(
        "linux_banner", 0x2000, 16, drgn.SymbolBinding.GLOBAL, drgn.SymbolKind.OBJECT
    )
    made.register_symbol_finder(
        "test",
        lambda prog, name, address, one: [symbol] if name == "linux_banner" else [],
        enable_index=0,
    )
    return made


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0x1234000", 0x1234000),
        ("umh_shm_region", POINTER_AT),
        ("umh_shm_region.kaddr", POINTS_TO),
        ("&umh_shm_region.kaddr", POINTER_AT),
        ("umh_shm_region.list[1]", POINTER_AT + 12),
        ("linux_banner", 0x2000),
    ],
)
def test_find_address(prog: drgn.Program, text: str, address: int) -> None:
    assert find_address(prog, text) == address


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nothing", "no such symbol or variable"),
        ("nothing.member", "no such symbol or variable"),
        ("umh_shm_region.nothing", "no such symbol or variable|not an address"),
        ("__import__('os')", "this is not an address"),
        ("a b", "this is not an address"),
        ("", "this is not an address"),
    ],
)
def test_what_is_no_address(prog: drgn.Program, text: str, message: str) -> None:
    with pytest.raises(PageproofError, match=message):
        find_address(prog, text)


# The reader


def test_the_reader_reads_and_says_what_it_can_not() -> None:
    made = drgn.Program(drgn.Platform(drgn.Architecture.X86_64))
    made.add_memory_segment(
        0x1000, 0x2000, lambda address, count, offset, physical: b"\0" * count, physical=True
    )
    reader = Reader(made, ElfMap([Segment(0x1000, 0x2000, 0x1000, 0)]))
    assert reader.read_physical(0x1000, 8) == bytes(8)
    for address, outcome in ((0x2000, Outcome.EXCLUDED), (0x9000, Outcome.UNREADABLE)):
        try:
            reader.read_physical(address, 8)
        except Exception as gap:
            assert getattr(gap, "outcome", None) is outcome
        else:
            pytest.fail(f"{address:#x} was read")


def test_the_reader_has_no_way_to_write() -> None:
    public = {name for name in dir(Reader) if not name.startswith("_")}
    memory = {"direct_memory", "compressed_memory", "file_memory"}
    assert public == {"read_physical", "read_kernel_virtual", *memory}


@pytest.mark.parametrize(
    ("message", "outcome"),
    [
        ("could not read memory from kdump: Excluded page: 0x1000", Outcome.EXCLUDED),
        ("could not find memory segment: 0x1000", Outcome.UNREADABLE),
    ],
)
def test_gaps_of_kdump(message: str, outcome: Outcome) -> None:
    assert MemoryGap.from_fault(drgn.FaultError(message, 0x1000)).outcome is outcome


# Debug info that can't be used


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"MZ a vmlinuz", "this is not an ELF file"),
        (b"", "this is not an ELF file"),
        (b"\x7fELF and rubbish", "can't use the debug info|no debug info"),
    ],
)
def test_useless_debug_info(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "vmlinux"
    path.write_bytes(data)
    with pytest.raises(PageproofError, match=message) as caught:
        load_debug_info(drgn.Program(), "6.1", [path], [])
    assert caught.value.where == f"-s {path}"


def test_debug_info_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PageproofError, match="can't read the debug info: No such file"):
        load_debug_info(drgn.Program(), "6.1", [tmp_path / "vmlinux"], [])
