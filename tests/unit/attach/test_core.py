# SPDX-License-Identifier: GPL-2.0-or-later
"""What drgn reads of a dump: not what the dump omits; and a libkdumpfile without a compression.

The message of the latter is that of libkdumpfile's diskdump.c.
"""

from __future__ import annotations

import struct
from pathlib import Path

import drgn
import pytest
from unit.attach.test_dumpfile import PAGE, elf, flattened

from pageproof.attach import core
from pageproof.attach.dumpfile import DumpFile, inspect_dump
from pageproof.attach.filebytes import PlainBytes
from pageproof.errors import Exit, PageproofError
from pageproof.files.elfnotes import vmcoreinfo_of

#: What drgn 0.3.0 makes of it.
MESSAGE = "could not read memory from kdump: Unsupported compression method: "
INFO = b"OSRELEASE=6.12.0\nPAGESIZE=4096\nSYMBOL(swapper_pg_dir)=ffffffff82a10000\n"


def attach(monkeypatch: pytest.MonkeyPatch, message: str) -> drgn.Program:
    def read(address: int, count: int, offset: int, physical: bool) -> bytes:
        raise drgn.FaultError(message, address)

    def assembled(dump: DumpFile, info: bytes) -> drgn.Program:
        prog = drgn.Program(drgn.Platform(drgn.Architecture.X86_64))
        prog.set_linux_kernel_custom(info, False)
        prog.add_memory_segment(0, 1 << 40, read, True)
        prog.add_memory_segment(0xFFFFFFFF82A10000, 4096, read, False)
        return prog

    monkeypatch.setattr(core, "_assembled", assembled)
    prog, _ = core.attach_core(Path("vmcore"), DumpFile("kdump", info=INFO))
    return prog


@pytest.mark.parametrize("method", ["lzo", "snappy", "zstd"])
def test_no_such_compression(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    with pytest.raises(PageproofError, match=f"method: {method}") as caught:
        attach(monkeypatch, MESSAGE + method)
    assert "makedumpfile -c" in caught.value.remedy
    assert caught.value.exit_code is Exit.USAGE


def test_another_error_is_reported_where_the_memory_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert attach(monkeypatch, "could not read memory from kdump: Excluded page")


@pytest.mark.parametrize("form", ["plain", "flattened"])
def test_what_an_elf_dump_omits_is_not_zeros(tmp_path: Path, form: str) -> None:
    """drgn itself reads zeros there, for dumps of a kernel."""
    data = elf([(16 * PAGE, 3 * PAGE, PAGE), (32 * PAGE, 2 * PAGE, 2 * PAGE)], info=INFO)
    path = tmp_path / "vmcore"
    path.write_bytes(data if form == "plain" else flattened(data))
    prog, _ = core.attach_core(path, inspect_dump(path))
    for physical in (True, False) if form == "plain" else (True,):
        assert prog.read(16 * PAGE, PAGE, physical) == b"\xaa" * PAGE
        assert prog.read(33 * PAGE, PAGE, physical) == b"\xaa" * PAGE
        for address in (17 * PAGE - 4, 17 * PAGE, 19 * PAGE - 8):
            with pytest.raises(drgn.FaultError, match="left out of the dump"):
                prog.read(address, 8, physical)


def test_other_notes_before_vmcoreinfo(tmp_path: Path) -> None:
    """A PRSTATUS for each CPU, and dumps of devices (NT_VMCOREDD, since Linux 4.18)."""
    notes = b"".join(
        struct.pack("<III", len(name), len(text), kind)
        + name.ljust(-(-len(name) // 4) * 4, b"\0")
        + text.ljust(-(-len(text) // 4) * 4, b"\0")
        for name, text, kind in (
            (b"CORE\0", b"x" * 336, 1),
            (b"LINUX\0", b"device" * 9, 0x700),
            (b"VMCOREINFO\0", INFO, 0),
        )
    )
    path = tmp_path / "notes"
    path.write_bytes(b"ab" + notes)
    with path.open("rb") as file:
        source = PlainBytes(file)
        assert vmcoreinfo_of(source.read, [(0, 0), (2, len(notes))]) == INFO
        assert vmcoreinfo_of(source.read, [(2, len(notes) - len(INFO) - 30)]) is None
        assert vmcoreinfo_of(source.read, [(1, len(notes)), (1 << 40, 1 << 50)]) is None
