# SPDX-License-Identifier: GPL-2.0-or-later
"""--ram: what the user types, and how ranges fit each other and the file."""

from __future__ import annotations

import pytest

from pageproof.errors import Exit, PageproofError
from pageproof.space.ramranges import RamRange, check_ram, parse_ram

PAGE = 4096
LOW = RamRange(0, 0x8000_0000, 0)
HIGH = RamRange(0x1_0000_0000, 0x1_8000_0000, 0x8000_0000)


@pytest.mark.parametrize(
    "text",
    [
        "100000000-17fffffff@80000000",
        "0x100000000-0x17FFFFFFF@0x80000000",
        "100000000-180000000@80000000",
    ],
)
def test_the_end_is_the_last_byte_or_the_one_after_it(text: str) -> None:
    assert parse_ram(text) == HIGH
    assert str(parse_ram(text)) == "100000000-17fffffff@80000000"


def test_the_last_page_of_all() -> None:
    assert parse_ram(f"0-{'f' * 16}@0").end == 1 << 64


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a range of RAM"),
        ("0-fff", "not a range of RAM"),
        ("0-fff@", "not a range of RAM"),
        ("0-xyz@0", "not a range of RAM"),
        ("-1-fff@0", "not a range of RAM"),
        ("0-fff@0 ", "not a range of RAM"),
        (f"0-{'f' * 18}@0", "not a range of RAM"),
        ("1-fff@0", "START is not at a page's boundary"),
        ("0-ff0@0", "END is not at a page's boundary"),
        ("0-fff@20", "OFFSET is not at a page's boundary"),
        ("1000-fff@0", "END is not after START"),
        ("2000-1fff@0", "END is not after START"),
        (f"0-1{'0' * 12}1000@0", "END is not after START"),
    ],
)
def test_what_is_no_range(text: str, message: str) -> None:
    with pytest.raises(PageproofError, match=message) as caught:
        parse_ram(text)
    assert caught.value.exit_code is Exit.USAGE
    assert caught.value.where == f"--ram {text}"
    assert caught.value.remedy


def test_they_are_sorted() -> None:
    assert check_ram([HIGH, LOW], 1 << 32, "image") == [LOW, HIGH]


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        ([LOW, HIGH], "100000000-17fffffff@80000000 lies beyond the end of the file"),
        ([LOW, RamRange(0x7FFF_F000, 0x9000_0000, 0x8000_0000)], "overlap, image"),
        ([RamRange(0, PAGE, 0), RamRange(PAGE, 3 * PAGE, 0)], "overlap in the file"),
        ([RamRange(0, PAGE, 0), RamRange(0, PAGE, 0)], "overlap, image"),
        ([RamRange(0, 1 << 64, 0)], "lies beyond the end"),
        ([RamRange(0, PAGE, (1 << 64) - PAGE)], "lies beyond the end"),
    ],
)
def test_what_does_not_fit(ranges: list[RamRange], message: str) -> None:
    with pytest.raises(PageproofError) as caught:
        check_ram(ranges, (1 << 32) - PAGE, "image")
    assert message in str(caught.value)
    assert caught.value.remedy
