# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's structures in bulk, from hand-made memory. The engine's C tests have the cases."""

import gc
import threading
from array import array
from collections.abc import Callable
from typing import Any

import pageproof_pagewalk as engine
import pytest

DIRECT = 0xFFFF888000000000
DIRECT_MAP = (DIRECT, DIRECT + (1 << 46) - 1, 0)
MEMORY_BYTES = 0x8000
ZERO_TYPES = bytes(8)
#: A list of VMAs: pgd, map_count and mmap of the mm; vm_next and the fields of a VMA.
LIST = (0x20, 0x28, 0x10, 0x18, ((0, 8), (8, 4)))
MAPLE_NODES = (8, 15, 128, 248), (8, 9, 80, 240)
MAPLE = (0x20, 0x28, 0x10, MAPLE_NODES, ((0, 8), (8, 4)))
XA = (0, 8, 4)
MM, VMAS, NODE = 0x1000, 0x2000, 0x3000


class Memory(bytearray):
    """Physical memory made of words."""

    def __init__(self) -> None:
        super().__init__(MEMORY_BYTES)

    def put(self, address: int, *words: int) -> None:
        for number, word in enumerate(words):
            at = address + 8 * number
            self[at : at + 8] = word.to_bytes(8, "little")

    def read(self, paddr: int, length: int) -> bytes | int:
        data = bytes(self[paddr : paddr + length])
        return data if len(data) == length else engine.KINDS.index("unreadable")


def structures(
    memory: Memory, read: Callable[[int, int], bytes | int] | None = None
) -> engine.Structures:
    """Return Structures of direct memory, or of memory that `read` reads."""
    if read is None:
        walker = engine.Walker("x86_64-4", ZERO_TYPES, direct=[(0, bytes(memory))])
    else:
        walker = engine.Walker("x86_64-4", ZERO_TYPES, read=read)
    return engine.Structures(walker, 0, DIRECT_MAP)


@pytest.fixture
def memory() -> Memory:
    """Three VMAs, in a list and in a leaf of a maple tree."""
    memory = Memory()
    memory.put(MM + 0x10, DIRECT + VMAS, 0, 0x1234000, 3)
    for number in range(3):
        following = DIRECT + VMAS + (number + 1) * 0x100 if number < 2 else 0
        memory.put(VMAS + number * 0x100, 0x10000 + number, 0x700000005, 0, following)
    memory.put(NODE + 8, 10, 20)
    memory.put(NODE + 128, *(DIRECT + VMAS + number * 0x100 for number in range(3)))
    memory[NODE + 248] = 2
    return memory


def rows(words: memoryview, width: int) -> list[tuple[int, ...]]:
    assert len(words) % width == 0
    return [tuple(words[at : at + width]) for at in range(0, len(words), width)]


FOUND = [(0, DIRECT + VMAS + n * 0x100, 0x10000 + n, 5) for n in range(3)]


@pytest.mark.parametrize("still", [False, True])
@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("layout", [LIST, MAPLE], ids=["list", "maple"])
def test_vmas(memory: Memory, layout: Any, direct: bool, still: bool) -> None:
    if layout is MAPLE:
        memory.put(MM + 0x10, DIRECT + NODE | 1 << 3 | 6)
    reader = structures(memory, None if direct else memory.read)
    mms, vmas, faults, losses = reader.vmas(array("Q", [DIRECT + MM]), layout, still=still)
    assert rows(mms, engine.MM_WORDS) == [
        (DIRECT + MM, 0x1234000, 3, 3, 0, 3, 0, 1 if still else 2)
    ]
    assert rows(vmas, engine.VMA_WORDS + 2) == FOUND
    assert list(faults) == list(losses) == []


def test_losses_and_faults_are_rows(memory: Memory) -> None:
    memory.put(VMAS + 0x18, 0x10)
    mms, vmas, faults, losses = structures(memory).vmas(array("Q", [DIRECT + MM]), LIST)
    unreadable = engine.KINDS.index("none")
    assert mms[6] == 2
    assert rows(vmas, 4) == [FOUND[0], (0, 0x10, 0, 0)]
    assert list(faults) == [1, 0x10, unreadable]
    assert rows(losses, engine.LOSS_WORDS) == [
        (0, engine.LOSS_LINK, 0x10, 0x28, unreadable),
        (0, engine.LOSS_MAP_COUNT, 2, 3, 0),
    ]


def test_a_page_is_read_once_for_each_look(memory: Memory) -> None:
    reads: list[tuple[int, int]] = []

    def read(paddr: int, length: int) -> bytes | int:
        reads.append((paddr, length))
        return memory.read(paddr, length)

    structures(memory, read).vmas(array("Q", [DIRECT + MM] * 2), LIST, still=True)
    # The mm and the list, the fields, and map_count again.
    assert reads == [(MM, 4096), (VMAS, 4096), (VMAS, 4096), (MM, 4096)]


def test_adjoining_pages_are_read_at_once(memory: Memory) -> None:
    reads: list[tuple[int, int]] = []

    def read(paddr: int, length: int) -> bytes | int:
        reads.append((paddr, length))
        return memory.read(paddr, length)

    addresses = [DIRECT + page * 4096 for page in (1, 2, 4, 7)]
    rows, faults = structures(memory, read).gather(array("Q", addresses), ((0, 8),))
    assert list(rows) == [int.from_bytes(memory[at : at + 8], "little") for at in (4096, 8192)] + [
        0,
        0,
    ]
    assert list(faults) == []
    assert reads == [(0x1000, 4 * 4096), (0x7000, 4096)]


def test_what_cannot_be_read_at_once_is_read_page_by_page(memory: Memory) -> None:
    addresses = [DIRECT + page * 4096 for page in (6, 7, 8)]
    rows, faults = structures(memory, memory.read).gather(array("Q", addresses), ((0, 8),))
    assert list(rows) == [0, 0, 0]
    assert list(faults) == [2, DIRECT + MEMORY_BYTES, engine.KINDS.index("unreadable")]


def test_scattered_structures_are_read_in_order_of_address(memory: Memory) -> None:
    pages: list[int] = []

    def read(paddr: int, length: int) -> bytes | int:
        pages.append(paddr // 4096)
        return (
            bytes(4088) + paddr.to_bytes(8, "little")
            if paddr % 3
            else engine.KINDS.index("excluded")
        )

    scattered = [DIRECT + number * 7919 % 2000 * 4 * 4096 + 4088 for number in range(2000)]
    rows, faults = structures(memory, read).gather(array("Q", scattered), ((0, 8),))
    assert pages == sorted(pages)
    wanted = [(at - DIRECT) & -4096 for at in scattered]
    assert list(rows) == [at if at % 3 else 0 for at in wanted]
    assert list(faults[0::3]) == [row for row, at in enumerate(wanted) if not at % 3]


def test_a_column_of_a_result_is_an_argument(memory: Memory) -> None:
    reader = structures(memory)
    _, vmas, _, _ = reader.vmas(array("Q", [DIRECT + MM]), LIST)
    fields = ((4, 4), (8, 8), (0, 1))
    found, faults = reader.gather(vmas[1::4], fields)
    assert rows(found, 3) == [(0, 0x700000005, n) for n in range(3)]
    backwards, _ = reader.gather(vmas[1::4][::-1], fields)
    assert rows(backwards, 3) == rows(found, 3)[::-1]
    packed, _ = reader.gather(b"".join(one.to_bytes(8, "little") for one in vmas[1::4]), fields)
    assert packed == found
    assert list(faults) == []


def test_gathered_faults(memory: Memory) -> None:
    found, faults = structures(memory).gather(
        array("Q", [0, DIRECT + MEMORY_BYTES - 4, DIRECT + MM + 0x28, 1 << 63]), ((0, 4), (4, 4))
    )
    assert list(found) == [0, 0, 0, 0, 3, 0, 0, 0]
    assert rows(faults, engine.FAULT_WORDS) == [
        (1, DIRECT + MEMORY_BYTES, engine.KINDS.index("unreadable")),
        (3, 1 << 63, engine.KINDS.index("non-canonical")),
    ]


def test_xarray(memory: Memory) -> None:
    head, node = DIRECT + 0x4000, 0x5000
    memory.put(0x4000, DIRECT + node | 2)
    memory.put(node, 0, 0x1000, 0x1040, 5, DIRECT | 2)
    runs, losses, lost = structures(memory).xarray(head, XA, 0x40)
    assert rows(runs, engine.RUN_WORDS) == [(0, 2, 0x1000), (2, 1, 5)]
    assert list(losses) == [3, engine.LOSS_ENTRY, 0, DIRECT | 2, 0]
    assert lost == 1
    runs, _, lost = structures(memory).xarray(head, XA, max_runs=1)
    assert (list(runs), lost) == ([0, 1, 0x1000], 1)


def test_views_are_read_only_and_outlive_everything(memory: Memory) -> None:
    found, faults = structures(memory).gather(array("Q", [DIRECT + MM]), ((0x28, 4),))
    gc.collect()
    assert (found.format, found.readonly, found.ndim) == ("Q", True, 1)
    assert (list(found), found.tobytes()) == ([3], bytes([3, *bytes(7)]))
    assert (len(faults), faults.tobytes()) == (0, b"")
    with pytest.raises(TypeError):
        found[0] = 1


@pytest.mark.parametrize(
    "call",
    [
        lambda it: it.gather(b"1234567", ((0, 8),)),
        lambda it: it.gather(array("I", [1, 2]), ((0, 8),)),
        lambda it: it.gather(array("Q"), ()),
        lambda it: it.gather(array("Q"), ((0, 8),) * 17),
        lambda it: it.gather(array("Q"), ((0, 3),)),
        lambda it: it.gather(array("Q"), ((1 << 32, 8),)),
        lambda it: it.vmas(array("Q"), (0, 0, 0, ((0, 0, 0, 0), (8, 9, 80, 240)), ((0, 8),))),
        lambda it: it.vmas(array("Q"), (0, 0, -1, 0, ((0, 8),))),
        lambda it: it.xarray(0, (0, 8, 65)),
        lambda it: it.xarray(0, (0, 8, 3)),
        lambda it: engine.Structures(engine.Walker("x86_64-4", ZERO_TYPES), 0, (DIRECT, -1, 0)),
        lambda it: (
            engine.Structures(engine.Walker("x86_64-4", ZERO_TYPES), 0, (DIRECT + 8, 0, 0))
            and engine.Structures(
                engine.Walker("x86_64-4", ZERO_TYPES), 0, (DIRECT + 8, DIRECT + 4096, 0)
            )
        ),
    ],
)
def test_values_that_are_refused(memory: Memory, call: Callable[[Any], object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        call(structures(memory))


@pytest.mark.parametrize(
    "call",
    [
        lambda it: it.gather([1, 2], ((0, 8),)),
        lambda it: it.gather(array("Q"), (8,)),
        lambda it: it.vmas(array("Q"), [0]),
        lambda it: it.vmas(array("Q"), (0, 0, 0, (1, 2), ((0, 8),))),
        lambda it: it.vmas(array("Q"), (0, 0, 0, "8", ((0, 8),))),
        lambda it: it.xarray(0, [0, 8, 64]),
        lambda it: engine.Structures(None, 0, DIRECT_MAP),  # type: ignore[arg-type]
    ],
)
def test_types_that_are_refused(memory: Memory, call: Callable[[Any], object]) -> None:
    with pytest.raises(TypeError):
        call(structures(memory))


def test_an_exception_of_the_callback_ends_the_call(memory: Memory) -> None:
    def read(paddr: int, length: int) -> bytes | int:
        if paddr == VMAS:
            raise RuntimeError("gone")
        return memory.read(paddr, length)

    reader = structures(memory, read)
    for call in (
        lambda: reader.gather(array("Q", [DIRECT + VMAS]), ((0, 8),)),
        lambda: reader.vmas(array("Q", [DIRECT + MM]), LIST),
        lambda: reader.xarray(DIRECT + VMAS, XA),
    ):
        with pytest.raises(RuntimeError, match="gone"):
            call()


def test_threads_share_it(memory: Memory) -> None:
    reader = structures(memory, memory.read)
    found: list[bool] = []

    def work() -> None:
        for _ in range(50):
            _, vmas, _, _ = reader.vmas(array("Q", [DIRECT + MM] * 70), LIST)
            found.append(len(vmas) == 70 * 3 * 4 and vmas[-4] == 69)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 200
    assert all(found)
