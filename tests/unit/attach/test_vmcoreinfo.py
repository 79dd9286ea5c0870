# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernels that are looked for in memory, and texts that are none."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

import pytest
from mappedmemory import MappedMemory
from unit.attach.kernelmemory import IMAGE, Made, Memory

from pageproof.attach.vmcoreinfo import find_kernels
from pageproof.attach.vmcoreinfo.kernels import runs_on
from pageproof.space.units import PAGE_BYTES

KERNEL = Made(paddr=0x200000, page=0x5000)
OTHER = Made(paddr=0x400000, page=0x9000, virtual=IMAGE + 0x3000000)


def note(text: bytes) -> bytes:
    return struct.pack("<III", 11, len(text), 0) + b"VMCOREINFO\0\0" + text


def test_a_kernel() -> None:
    memory = Memory()
    memory.add(KERNEL)
    found = find_kernels(memory.mapped)
    (kernel,) = found.kernels
    assert (kernel.paddr, kernel.root, kernel.release) == (0x5000, KERNEL.root, KERNEL.release)
    assert kernel.text == KERNEL.text()
    assert not kernel.crashed and not kernel.contradicted
    assert (found.candidates, found.rejected, found.ended_early) == (1, (), False)
    assert found.searched_bytes == len(memory.bytes)


def test_the_note_is_a_copy() -> None:
    memory = Memory()
    memory.add(KERNEL)
    memory.put(0x7000, note(KERNEL.text()))
    (kernel,) = find_kernels(memory.mapped).kernels
    assert kernel.copies == 2 and not kernel.contradicted


def test_the_note_alone_and_longer_than_its_page() -> None:
    memory = Memory()
    text = KERNEL.text() + b"X" * (PAGE_BYTES - len(KERNEL.text()) - 1)
    memory.add(KERNEL, b"")
    memory.put(0x7000, note(text))
    (kernel,) = find_kernels(memory.mapped).kernels
    assert kernel.text == text


def test_a_panic_adds_a_line() -> None:
    memory = Memory()
    memory.add(KERNEL)
    memory.put(0x3000, KERNEL.text() + b"CRASHTIME=1700000000\n")
    (kernel,) = find_kernels(memory.mapped).kernels
    assert kernel.crashed and kernel.copies == 2 and not kernel.contradicted


def test_another_text_that_names_the_same_tables() -> None:
    memory = Memory()
    memory.add(KERNEL)
    memory.put(0x7000, KERNEL.text() + b"SYMBOL(kallsyms_names)=ffffffff81000000\n")
    (kernel,) = find_kernels(memory.mapped).kernels
    assert kernel.contradicted


def test_two_kernels_and_who_runs() -> None:
    memory = Memory()
    memory.add(KERNEL)
    memory.add(OTHER)
    memory.space(OTHER, 0x6000)
    first, second = find_kernels(memory.mapped).kernels
    for root, runs in ((KERNEL.root, (True, False)), (0x6000, (False, True))):
        assert (
            runs_on(memory.mapped.read, first, root),
            runs_on(memory.mapped.read, second, root),
        ) == runs
    for root in (0x8000, 0, 1 << 40, (1 << 52) - PAGE_BYTES):
        assert not runs_on(memory.mapped.read, first, root)


@pytest.mark.parametrize("release", ["6.12.0-other", "6.12.0-test2"])
def test_another_release_than_in_memory(release: str) -> None:
    memory = Memory()
    memory.add(KERNEL, KERNEL.text(OSRELEASE=release))
    found = find_kernels(memory.mapped)
    assert found.kernels == ()
    assert "release" in found.rejected[0].why


def test_moved_tables() -> None:
    memory = Memory()
    memory.add(KERNEL, KERNEL.text(**{"NUMBER(phys_base)": "4096"}))
    (rejected,) = find_kernels(memory.mapped).rejected
    assert "page tables" in rejected.why and rejected.place is not None


def test_a_32_bit_kernel() -> None:
    memory = Memory()
    text = KERNEL.text(**{"SYMBOL(_stext)": "c1000000", "SYMBOL(swapper_pg_dir)": "c1a2b000"})
    memory.put(0x5000, text)
    (rejected,) = find_kernels(memory.mapped).rejected
    assert rejected.word_size


def damaged() -> Iterator[tuple[str, bytes]]:
    """Texts in which one line is missing or wrong, with the line's name."""
    good = KERNEL.text()
    for line in good.decode().splitlines():
        name = line.partition("=")[0]
        yield name, good.replace(f"{line}\n".encode(), b"")
        for value in ("", "-1", "x" * 70, "\x1b[2J", str(1 << 64), str(-(1 << 63)), "f" * 17, "\n"):
            yield name, good.replace(f"{line}\n".encode(), f"{name}={value}\n".encode())


def test_damaged_texts() -> None:
    refused = 0
    for name, text in damaged():
        memory = Memory(0x280000)
        memory.add(KERNEL, text)
        kernels = find_kernels(memory.mapped).kernels
        # Older kernels lack these two lines, and a number can be a build ID.
        assert not kernels or name in ("NUMBER(pgtable_l5_enabled)", "BUILD-ID"), text
        refused += not kernels
    assert refused > 70


def test_tables_that_point_at_themselves() -> None:
    memory = Memory()
    memory.add(KERNEL)
    for index in range(512):
        memory.entry(KERNEL.root, index, KERNEL.root | 0x23)
    assert find_kernels(memory.mapped).kernels == ()


def test_random_flips_never_raise() -> None:
    rng = random.Random(5)
    for _ in range(300):
        memory = Memory(0x280000)
        memory.add(KERNEL)
        for _ in range(rng.randint(1, 40)):
            places = (rng.randrange(0x5000, 0x5300), KERNEL.root + rng.randrange(0x4000))
            memory.bytes[rng.choice(places)] = rng.randrange(256)
        for kernel in find_kernels(memory.mapped).kernels:
            assert kernel.release == KERNEL.release


def test_memory_full_of_pretenders() -> None:
    memory = Memory(128 << 20)
    for page in range(0, len(memory.bytes), PAGE_BYTES):
        memory.bytes[page : page + 10] = b"OSRELEASE="
    found = find_kernels(memory.mapped)
    assert found.ended_early and found.kernels == ()
    assert len(found.rejected) < 100


def test_holes_and_pieces() -> None:
    memory = Memory()
    memory.add(KERNEL)
    view = memoryview(memory.bytes)
    parts = [(0x1000, view[0x1000:0x6000]), (0x200000, view[0x200000:0x2F0800])]
    (kernel,) = find_kernels(MappedMemory(parts)).kernels
    assert kernel.paddr == KERNEL.page
    # Without its tables, or cut in the text's page.
    assert find_kernels(MappedMemory(parts[:1])).kernels == ()
    assert find_kernels(MappedMemory([(0, view[:0x5800]), parts[1]])).candidates == 0
