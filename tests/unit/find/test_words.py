# SPDX-License-Identifier: GPL-2.0-or-later
"""Text for integers of the kernel. Some values are from the article behind the project."""

from __future__ import annotations

import pytest

from pageproof.arch.x86_64.words import page_prot_words
from pageproof.find.words import i_mode_words, text_words, vm_flags_words


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (0xD1, "READ|MAYREAD|MAYEXEC|MAYSHARE"),  # the article's
        (0x0C06_44BB & 0xFF, "READ|WRITE|SHARED|MAYREAD|MAYWRITE|MAYSHARE"),
        (0, "none"),
        (1 << 11 | 1 << 40, "bit 11|bit 40"),
    ],
)
def test_vm_flags(flags: int, expected: str) -> None:
    assert vm_flags_words(flags) == expected


def test_vm_flags_take_names_from_the_target() -> None:
    assert vm_flags_words(1 << 11 | 1, {0: "READ", 11: "MAYBE_GUARD"}) == "READ|MAYBE_GUARD"


@pytest.mark.parametrize(
    ("prot", "expected"),
    [
        (0x8000_0000_0000_0025, "PRESENT|USER|ACCESSED|NX"),  # the article's
        (0x8000_0000_0000_0027, "PRESENT|RW|USER|ACCESSED|NX"),
        (0x3F, "PRESENT|RW|USER|PWT|PCD|ACCESSED"),
        (5 << 59 | 1 << 51, "PKEY5|bit 51"),
        (0, "none"),
    ],
)
def test_vm_page_prot(prot: int, expected: str) -> None:
    assert page_prot_words(prot) == expected


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (0x2180, "character device, rw-------"),  # the article's
        (0o100644, "regular file, rw-r--r--"),
        (0o104755, "regular file, rwsr-xr-x"),
        (0o060660, "block device, rw-rw----"),
        (0o140777, "socket, rwxrwxrwx"),
        (0o600, "no type, rw-------"),
    ],
)
def test_i_mode(mode: int, expected: str) -> None:
    assert i_mode_words(mode) == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"hello\0world", "hello"),
        (b"", ""),
        (b"a\x1b[31m\xff\\", "a\\x1b[31m\\xff\\x5c"),
    ],
)
def test_text_is_harmless(data: bytes, expected: str) -> None:
    assert text_words(data) == expected
