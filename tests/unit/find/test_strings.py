# SPDX-License-Identifier: GPL-2.0-or-later
"""Strings that do not end: a limited part of them, read from a limited part of memory."""

import drgn
import pytest

from pageproof.find.strings import MOST_BYTES, bytes_of, text_of

START = 0xFFFF_8880_0000_0000


class Memory:
    """The same byte everywhere."""

    def __init__(self, byte: bytes) -> None:
        self.byte, self.bytes_read = byte, 0
        self.prog = drgn.Program(drgn.Platform(drgn.Architecture.X86_64))
        self.prog.add_memory_segment(START, 1 << 40, self._read)

    def _read(self, address: int, count: int, offset: int, physical: bool) -> bytes:
        self.bytes_read += count
        assert self.bytes_read < 1 << 20
        return self.byte * count

    def pointer(self) -> drgn.Object:
        char = self.prog.int_type("char", 1, True)
        return drgn.Object(self.prog, self.prog.pointer_type(char), START)

    def array(self) -> drgn.Object:
        """As ``char name[]`` of struct anon_vma_name."""
        char = self.prog.int_type("char", 1, True)
        return drgn.Object(self.prog, self.prog.array_type(char), address=START)


@pytest.mark.parametrize("kind", ["pointer", "array"])
def test_a_string_without_an_end(kind: str) -> None:
    memory = Memory(b"A")
    value = memory.pointer() if kind == "pointer" else memory.array()
    assert bytes_of(value) == b"A" * MOST_BYTES + b"..."
    assert memory.bytes_read <= 4 * MOST_BYTES


def test_without_the_limit() -> None:
    """What the limit is for."""
    with pytest.raises(AssertionError):
        Memory(b"A").pointer().string_()


def test_no_text() -> None:
    assert bytes_of(Memory(b"\0").pointer()) == b""
    assert text_of(Memory(b"\xff").pointer()).startswith("\ufffd")
