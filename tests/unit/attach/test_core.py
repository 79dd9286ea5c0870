# SPDX-License-Identifier: GPL-2.0-or-later
"""A libkdumpfile that lacks the dump's compression. The message is that of its diskdump.c."""

from __future__ import annotations

from pathlib import Path

import drgn
import pytest

from pageproof.attach import core
from pageproof.attach.dumpfile import DumpFile
from pageproof.errors import Exit, PageproofError

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
