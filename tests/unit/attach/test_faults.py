# SPDX-License-Identifier: GPL-2.0-or-later
"""Errors of drgn on a damaged target become messages. Errors that only a bug raises do not."""

from __future__ import annotations

from collections.abc import Callable

import drgn
import pytest

from pageproof.attach.faults import faults_as_errors
from pageproof.attach.target import release_of
from pageproof.errors import Exit, PageproofError, ReaderGoneError
from pageproof.find.kernel.expression import UserSide, find_address, kernel_address
from pageproof.find.kernel.paging import number_in, optional_number

PLATFORM = drgn.Platform(drgn.Architecture.X86_64)


def program(**more: bytes) -> drgn.Program:
    """Return a program whose variable ``gone`` was optimized out and ``there`` is unreadable."""
    prog = drgn.Program(PLATFORM)
    int_type = prog.int_type("int", 4, True)
    struct = prog.struct_type("pair", 8, (drgn.TypeMember(int_type, "first"),))

    def find(
        prog: drgn.Program, name: str, flags: drgn.FindObjectFlags, filename: str | None
    ) -> drgn.Object | None:
        if name == "gone":
            return drgn.Object(prog, struct)
        if name == "there":
            return drgn.Object(prog, prog.pointer_type(struct), address=0x1000)
        if name == "UTS_RELEASE":
            return drgn.Object(prog, prog.array_type(int8, 65), b"6.1\xff".ljust(65, b"\0"))
        return None

    int8 = prog.int_type("char", 1, True)
    prog.register_object_finder("test", find, enable_index=0)
    return prog


@pytest.mark.parametrize(
    ("raises", "message"),
    [
        (lambda prog: prog.read(0x1000, 8), "memory that the command needs can't be read"),
        (lambda prog: prog["no_such"], "drgn failed: could not find 'no_such'"),
        (lambda prog: prog.type("struct no_such"), "could not find 'struct no_such'"),
        (lambda prog: prog["gone"].first.value_(), "object absent"),
    ],
)
def test_drgns_errors(raises: Callable[[drgn.Program], object], message: str) -> None:
    with (
        pytest.raises(PageproofError, match=message) as caught,
        faults_as_errors("vmcore"),
    ):
        raises(program())
    assert caught.value.exit_code is Exit.USAGE
    assert caught.value.where == "vmcore"


def test_debug_info_that_is_damaged() -> None:
    """The error of drgn 0.3.0 for a vmlinux with zeros in .debug_abbrev."""
    with pytest.raises(PageproofError, match="drgn failed"), faults_as_errors("vmcore"):
        raise drgn.BadDataError(".debug_abbrev+0: ULEB128 number overflows")


def test_a_message_that_is_no_text() -> None:
    """drgn 0.3.0 on a VMCOREINFO whose release is not UTF-8 (case 2357 of tests/hostile)."""
    with pytest.raises(PageproofError, match="odd"), faults_as_errors("vmcore"):
        b"odd\xff".decode()


def test_a_module_of_another_machine() -> None:
    """drgn 0.3.0 on a module with another e_machine (case 5432 of tests/hostile)."""
    with pytest.raises(PageproofError, match="drgn failed"), faults_as_errors("vmcore"):
        raise NotImplementedError("relocation support is not implemented")


@pytest.mark.parametrize("error", [KeyError("x"), ValueError("x"), AssertionError(), IndexError()])
def test_others_are_bugs(error: Exception) -> None:
    with pytest.raises(type(error)), faults_as_errors("vmcore"):
        raise error


def test_a_guest_that_is_gone() -> None:
    """drgn reads QEMU's memory with process_vm_readv() and passes on its error."""

    def read(address: int, count: int, offset: int, physical: bool) -> bytes:
        raise ProcessLookupError(3, "No such process")

    prog = program()
    prog.add_memory_segment(0, 1 << 40, read, False)
    with pytest.raises(PageproofError, match="any more: No such"), faults_as_errors("guest"):
        prog.read(0x1000, 8)


def test_whoever_reads_the_output_is_no_target() -> None:
    with pytest.raises(ReaderGoneError), faults_as_errors("guest"):
        raise ReaderGoneError(32, "Broken pipe")


def test_a_variable_that_was_optimized_out() -> None:
    with pytest.raises(PageproofError, match="optimized this variable out"):
        find_address(program(), "gone.first")
    assert optional_number(program(), "gone") is None


def test_a_pointer_that_can_not_be_read() -> None:
    for text in ("there", "there->first"):
        with pytest.raises(PageproofError, match="can't be read"):
            find_address(program(), text)
        with pytest.raises(PageproofError, match=r"can't be (read|evaluated)"):
            kernel_address(program(), text, UserSide())


def test_a_release_that_is_no_text() -> None:
    assert release_of(program()) == "6.1\\xff"


@pytest.mark.parametrize("value", ["", "x", "12\0", "0x12", "9" * 30, "-" + "9" * 30])
def test_a_damaged_number_of_vmcoreinfo(value: str) -> None:
    with pytest.raises(PageproofError, match="VMCOREINFO is damaged"):
        number_in({"NUMBER(phys_base)": value}, "NUMBER(phys_base)")


def test_numbers_of_vmcoreinfo() -> None:
    assert number_in({"a": "-1207959552"}, "a") == -1207959552
    assert number_in({"a": "1b000000"}, "a", 16) == 0x1B000000
    assert number_in({}, "a") is None
