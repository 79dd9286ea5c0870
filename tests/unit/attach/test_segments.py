# SPDX-License-Identifier: GPL-2.0-or-later
"""Program headers that do not agree. The sound ones are those of dumps that programs wrote."""

from dataclasses import replace

import pytest

from pageproof.attach.elfmap import Segment
from pageproof.attach.segments import disagreement

IMAGE, DIRECT = 0xFFFF_FFFF_BAE0_0000 - 0x540_0000, 0xFF1C_5EE0_4000_0000
#: makedumpfile -E of Linux 6.12 with 512 MiB: (distance, physical address, bytes, in the file).
MAKEDUMPFILE = (
    (IMAGE, 0x540_0000, 0x1C0_0000, 0x1AC_2000),
    (IMAGE, 0x700_0000, 0xAD_F000, 0x6F_6000),
    (DIRECT, 0x10_0000, 0xF0_0000, 0),
    (DIRECT, 0x100_0000, 0x440_0000, 0xF0_0000),
    (DIRECT, 0x540_0000, 0x1C0_0000, 0x1AC_2000),
    (DIRECT, 0x700_0000, 0xAD_F000, 0x6F_6000),
    (DIRECT, 0x1D00_0000, 0xB2_C000, 0xA0_0000),
    (DIRECT, 0x1FF0_F000, 0xC_8000, 0xC_8000),
)


def loads() -> list[Segment]:
    found, at = [], 0x12BC
    for order, (distance, paddr, memory, in_file) in enumerate(MAKEDUMPFILE, 1):
        offset = at if in_file else 0
        found.append(Segment(paddr, memory, in_file, order, offset, distance + paddr))
        at += in_file
    return found


def qemu() -> list[Segment]:
    """QEMU's dump-guest-memory without paging, of 512 MiB."""
    return [
        Segment(0, 0x2000_0000, 0x2000_0000, 1, 0x1174, 0),
        Segment(0xFFFC_0000, 0x4_0000, 0x4_0000, 2, 0x2000_1174, 0xFFFC_0000),
    ]


def test_sound() -> None:
    assert disagreement(loads()) == ""
    assert disagreement(qemu()) == ""
    assert disagreement([]) == ""


@pytest.mark.parametrize("number", [2, 3, 6, 7])
@pytest.mark.parametrize("bit", [12, 15, 20, 24, 28, 33])
def test_a_flipped_bit_of_an_address(number: int, bit: int) -> None:
    whole = loads()
    for name in ("paddr", "vaddr"):
        there = getattr(whole[number], name)
        bad = [*whole]
        bad[number] = replace(whole[number], **{name: there ^ 1 << bit})
        if name == "vaddr" and bit > 30:
            continue  # it is far away, as the kernel's image is; only drgn's own reads use it
        assert disagreement(bad) != "", name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"file_offset": 0x12BC}, "share bytes of the file"),
        ({"file_bytes": 0x1000_0000}, "more bytes in the file than in memory"),
    ],
)
def test_a_field(changes: dict[str, int], message: str) -> None:
    bad = loads()
    bad[4] = replace(bad[4], **changes)
    assert message in disagreement(bad)


def test_no_physical_address() -> None:
    whole = loads()
    whole[0] = replace(whole[0], paddr=(1 << 64) - 1)
    assert disagreement(whole) == ""


def test_many_headers() -> None:
    """Hostile ones: the work is bounded."""
    many = [Segment(n << 12, 4096, 0, n, 0, n * 7 // 3 << 13) for n in range(1 << 17)]
    disagreement(many)
