# SPDX-License-Identifier: GPL-2.0-or-later
"""What the source perf makes of records: reads or writes, and the context."""

from __future__ import annotations

import pytest

from pageproof.model.watch import Access, Context, Mode, Place
from pageproof.watch.hits import Values, context_of
from pageproof.watch.perf import numbers_of

KERNEL = Place(0, 0, 0xFFFF888000001004, 4, 0x1004, Mode.KERNEL)
#: The same bytes for a process, and other ones.
USER = Place(1, 0, 0x7F0000001004, 4, 0x1004, Mode.USER, pid=1, mm=0xFFFF888000002000)
OTHER = Place(2, 0, 0xFFFF888000001008, 4, 0x1008, Mode.KERNEL)
ONE, TWO = bytes([1, 0, 0, 0]), bytes([2, 0, 0, 0])


def begun(emulated: bool = False) -> Values:
    values = Values(emulated)
    values.begin(KERNEL, ONE, ONE)
    return values


@pytest.mark.parametrize(
    ("emulated", "exact", "write", "value", "wanted"),
    [
        (False, True, True, ONE, Access.WRITE),
        (False, True, False, ONE, Access.READ),
        # Another CPU wrote since.
        (False, True, False, TWO, Access.READ),
        (False, False, False, ONE, Access.ACCESS),
        (False, False, False, TWO, Access.WRITE),
        (False, False, False, None, Access.ACCESS),
        (False, True, False, None, Access.READ),
        (True, True, True, ONE, Access.WRITE),
        (True, True, False, ONE, Access.READ),
        # addl on memory: QEMU hits the register for reads.
        (True, True, False, TWO, Access.ACCESS),
        (True, False, False, TWO, Access.WRITE),
    ],
)
def test_what_an_access_was(
    emulated: bool, exact: bool, write: bool, value: bytes | None, wanted: Access
) -> None:
    assert begun(emulated).access(USER, value, 0, write=write, exact=exact) is wanted


def test_the_last_value_counts() -> None:
    values = begun()

    def access(place: Place, value: bytes | None, dropped: int = 0) -> Access:
        return values.access(place, value, dropped, write=False, exact=False)

    assert access(USER, TWO) is Access.WRITE
    assert access(KERNEL, TWO) is Access.ACCESS
    assert access(OTHER, ONE) is Access.ACCESS  # never seen before
    assert access(OTHER, TWO) is Access.WRITE
    assert access(KERNEL, None) is Access.ACCESS
    assert access(KERNEL, ONE) is Access.ACCESS  # the one before is not known
    assert access(KERNEL, TWO, dropped=1) is Access.ACCESS  # nor what the lost one wrote
    assert access(KERNEL, ONE, dropped=1) is Access.WRITE


def test_a_value_that_moves_while_arming_is_not_known() -> None:
    values = Values(False)
    values.begin(KERNEL, ONE, TWO)
    assert values.access(KERNEL, ONE, 0, write=False, exact=False) is Access.ACCESS


@pytest.mark.parametrize(
    ("count", "wanted"),
    [
        (0x110000, Context.TASK),
        (0x110002, Context.TASK),
        (0x80110000, Context.TASK),
        (0x110200, Context.TASK),  # softirqs are off
        (0x110100, Context.SOFTIRQ),
        (0x120000, Context.HARDIRQ),
        (0x120100, Context.HARDIRQ),
        (0x220000, Context.NMI),
        (0, Context.TASK),  # could not be read
    ],
)
def test_contexts(count: int, wanted: Context) -> None:
    assert context_of(count) is wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("0\n", (0,)), ("0-3\n", (0, 1, 2, 3)), ("0-1,4,6-7\n", (0, 1, 4, 6, 7))],
)
def test_lists_of_cpus(text: str, wanted: tuple[int, ...]) -> None:
    assert numbers_of(text) == wanted
