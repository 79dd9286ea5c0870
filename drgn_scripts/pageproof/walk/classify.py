# SPDX-License-Identifier: GPL-2.0-or-later
"""Classes of an array of records, such as struct page: by the engine in C, or slowly."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Test:
    """Eight bytes, little-endian, that put a record into a class.

    Attributes:
        offset: of the eight bytes in the record.
        mask, value: the record is of the class if ``word & mask == value``.
        bit: of the class.
    """

    offset: int
    mask: int
    value: int
    bit: int


def classify(data: bytes, record_bytes: int, tests: tuple[Test, ...], follows: int) -> bytes:
    """Return one byte for each record, the bits of its classes.

    Args:
        data: records, one after the other.
        record_bytes: length of each.
        tests: for the classes; a record may be of several.
        follows: a record of one of these classes also gets the classes of the record before it.
    """
    try:
        import pageproof_pagewalk as engine
    except ImportError:
        return classify_slowly(data, record_bytes, tests, follows)
    numbers = tuple((test.offset, test.mask, test.value, test.bit) for test in tests)
    return engine.classify(data, record_bytes, numbers, follows)


def classify_slowly(data: bytes, record_bytes: int, tests: tuple[Test, ...], follows: int) -> bytes:
    """Do the same in Python, if the engine was not built."""
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
