# SPDX-License-Identifier: GPL-2.0-or-later
"""Hits become events: values before and after, writes that were not seen, the sum."""

from dataclasses import replace
from typing import NamedTuple

import pytest

from pageproof.model.watch import Access, CodePlace, Context, Event, Mode, Place
from pageproof.watch.decode import Decoder, Words
from pageproof.watch.source import Hit

PFN = 0x1234


class At(NamedTuple):
    offset: int
    length: int


FIELDS = (At(0, 4), At(8, 8))
PLACES = (
    Place(0, 0, 0xFFFF888001234000, 4, PFN << 12, Mode.KERNEL, "physmap"),
    Place(1, 0, 0x7F0000000000, 4, PFN << 12, Mode.USER, pid=7, comm="helper", mm=0xFFFF8880000),
    Place(2, 1, 0x7F000000000C, 4, (PFN << 12) + 12, Mode.USER, pid=7, comm="helper"),
)
HIT = Hit(0, 0, 1, Access.WRITE, Mode.KERNEL, Context.TASK, 9, 10, "writer", 0x100, b"\1\0\0\0")


@pytest.fixture
def decoder() -> Decoder:
    def number(field: int, data: bytes) -> str:
        return str(int.from_bytes(data, "little"))

    words = Words(
        number,
        lambda pc: CodePlace(pc, f"post+{pc:#x}", "umh_shm"),
        lambda pid, pc: CodePlace(pc, "", f"program of {pid}"),
        lambda page: f"state {page[0]}",
    )
    return Decoder(FIELDS, PLACES, bytearray(4096), 1_000_000_000, words)


def see(decoder: Decoder, *values: tuple[Access, int]) -> list[Event]:
    return [
        decoder.event(replace(HIT, access=access, value=value.to_bytes(4, "little")))
        for access, value in values
    ]


def test_before_is_what_was_seen_last(decoder: Decoder) -> None:
    first, second = see(decoder, (Access.WRITE, 2), (Access.WRITE, 5))
    assert (first.number, first.before, first.after, first.state) == (1, "0", "2", "state 0")
    assert (second.number, second.before, second.after, second.state) == (2, "2", "5", "state 2")
    assert first.code == CodePlace(0x100, "post+0x100", "umh_shm")


def test_time_counts_from_the_start(decoder: Decoder) -> None:
    assert decoder.event(replace(HIT, ns=1_500_000_000)).seconds == 0.5
    assert decoder.event(replace(HIT, ns=0)).seconds == 0.0


def test_a_place_that_is_a_part_of_its_field(decoder: Decoder) -> None:
    event = decoder.event(replace(HIT, place=2, mode=Mode.USER, value=b"\1\0\0\0"))
    assert (event.before, event.after) == ("0", str(1 << 32))
    assert event.code.module == "program of 9"


def test_a_value_that_could_not_be_read(decoder: Decoder) -> None:
    event = decoder.event(replace(HIT, value=None))
    assert event.after == ""
    assert decoder.missed == 0


@pytest.mark.parametrize(
    ("seen", "missed"),
    [
        ([(Access.WRITE, 1), (Access.READ, 1)], 0),
        ([(Access.READ, 1)], 1),
        # Another CPU wrote after the read, before its value was taken.
        ([(Access.READ, 1), (Access.WRITE, 1)], 0),
        ([(Access.READ, 1), (Access.WRITE, 2)], 1),
        ([(Access.READ, 1), (Access.READ, 1)], 1),
        ([(Access.READ, 1), (Access.READ, 2)], 2),
        ([(Access.ACCESS, 1), (Access.ACCESS, 2)], 0),
    ],
)
def test_a_write_that_was_not_seen(
    decoder: Decoder, seen: list[tuple[Access, int]], missed: int
) -> None:
    see(decoder, *seen)
    assert decoder.missed == missed


def test_the_sum(decoder: Decoder) -> None:
    see(decoder, (Access.WRITE, 1), (Access.WRITE, 2), (Access.READ, 2))
    decoder.event(replace(HIT, place=1, access=Access.READ, mode=Mode.USER, value=b"\2\0\0\0"))
    assert decoder.events == 4
    assert [(one.side, one.access, one.function, one.count) for one in decoder.counts] == [
        (Mode.KERNEL, Access.READ, "post", 1),
        (Mode.KERNEL, Access.WRITE, "post", 2),
        (Mode.USER, Access.READ, "program of 9", 1),
    ]
