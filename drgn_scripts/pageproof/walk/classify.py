# SPDX-License-Identifier: GPL-2.0-or-later
"""Sorting records in a row, such as struct page, into classes: by the engine, or slowly."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Test:
    """A record is of a class if eight bytes of it, little-endian, are so.

    Attributes:
        offset: of the eight bytes.
        mask, value: ``word & mask == value``.
        bit: of the class.
    """

    offset: int
    mask: int
    value: int
    bit: int


def classify(data: bytes, record_bytes: int, tests: tuple[Test, ...], follows: int) -> bytes:
    """Say of each record which classes it is of.

    Args:
        data: records, one after the other.
        record_bytes: length of each.
        tests: all of them are tried.
        follows: a record of one of these classes is also of those of the record before it.
    """
    try:
        import pageproof_pagewalk as engine
    except ImportError:
        return classify_slowly(data, record_bytes, tests, follows)
    numbers = tuple((test.offset, test.mask, test.value, test.bit) for test in tests)
    return engine.classify(data, record_bytes, numbers, follows)


def classify_slowly(data: bytes, record_bytes: int, tests: tuple[Test, ...], follows: int) -> bytes:
    """The slow and obvious way, for where the engine was not built."""
    found = bytearray()
    for start in range(0, len(data) - record_bytes + 1, record_bytes):
        bits = 0
        for test in tests:
            at = start + test.offset
            if int.from_bytes(data[at : at + 8], "little") & test.mask == test.value:
                bits |= test.bit
        if bits & follows and found:
            bits |= found[-1]
        found.append(bits)
    return bytes(found)
