# SPDX-License-Identifier: GPL-2.0-or-later
"""Paging forms as data: toy64, a made-up architecture, and x86_64 with 4 levels.

toy64 differs from x86_64 in everything that a form describes. Pages are 16 KiB. There are three
levels, and the topmost table has 8 entries, so it is 64 bytes long. Each half of the address space
has a root of its own::

    63         39 38   36 35        25 24        14 13         0
    +------------+-------+------------+------------+-----------+
    | all alike  |  DIR  |    MID     |    PAGE    |  in page  |
    +------------+-------+------------+------------+-----------+
"""

from __future__ import annotations

from typing import Any, Final

V: Final = 1 << 63
"""Valid."""
BIG: Final = 1 << 62
"""In a MID entry: maps 32 MiB."""
BLOCKED: Final = 1 << 61
"""Not valid, but names a frame, inverted."""
HIGH: Final = 0b1100
"""Bits 49:48 of the physical address."""
W: Final = 1 << 4
"""Of a leaf: writable."""
SUPER: Final = 1 << 5
"""Of a leaf: not for user mode."""
PXN: Final = 1 << 6
UXN: Final = 1 << 7
NO_WRITE: Final = 1 << 4
"""Of a table entry: nothing below is writable. The next three likewise."""
NO_USER: Final = 1 << 5
PXN_BELOW: Final = 1 << 6
UXN_BELOW: Final = 1 << 7
TYPE_0: Final = 1 << 8
TYPE_1: Final = 1 << 9
ACCESSED: Final = 1 << 10
DIRTY: Final = 1 << 11
ADDRESS: Final = 0x0000_FFFF_FFFF_C000
ALL: Final = (1 << 64) - 1

#: By the index that TYPE_1 and TYPE_0 make.
TYPES: Final = ("Cached", "Buffered", "Device")
MEMORY_TYPES: Final = bytes([0, 1, 2, 0, 0, 0, 0, 0])
#: hwpoison, migration, device memory, markers.
SWAP: Final = ((28, 1), (29, 2), (0, 0), (31, 1))

_EMPTY: Final = ("none", ALL, 0, 0, False)
_REST: Final = ("special", 0, 0, 0, False)
_TABLE_BITS: Final = (("V", V, V, 0), ("RO", NO_WRITE, NO_WRITE, 0), ("PXN", PXN, PXN, 0))
_BITS: Final = (
    ("V", V, V, 0),
    ("W", W, W, 0),
    ("SUPER", SUPER, SUPER, 0),
    ("TYPE", TYPE_0 | TYPE_1, 0, 8),
    ("D", DIRTY, DIRTY, 0),
)
_TYPE_BITS: Final = (TYPE_0, TYPE_1, 0)

TOY64: Final[dict[str, Any]] = {
    "name": "toy64",
    "page_shift": 14,
    "levels": (
        (
            "DIR",
            3,
            (("table", V | BIG, V, 0, False), ("reserved-bits", V, V, 0, False), _EMPTY, _REST),
            _TABLE_BITS,
            _BITS,
            (0, 0, 0),
        ),
        (
            "MID",
            11,
            (
                ("table", V | BIG, V, 0, False),
                # Address bits below 32 MiB must be zero.
                ("leaf", V | BIG, V | BIG, 0x01FF_C000, False),
                _EMPTY,
                _REST,
            ),
            _TABLE_BITS,
            _BITS,
            _TYPE_BITS,
        ),
        (
            "PAGE",
            11,
            (
                ("leaf", V, V, 0, False),
                _EMPTY,
                ("prot-none", BLOCKED, BLOCKED, 0, True),
                ("swap", 0, 0, 0, False),
            ),
            (),
            _BITS,
            _TYPE_BITS,
        ),
    ),
    "address_mask": ADDRESS,
    "root_mask": 0x0000_FFFF_FFFF_FFC0,
    "high_mask": HIGH,
    "high_shift": 46,
    "leaf_rights": (
        ("write", W, W),
        ("user", SUPER, 0),
        ("execute", PXN, 0),
        ("user-execute", UXN, 0),
    ),
    "table_rights": (
        ("write", NO_WRITE, 0),
        ("user", NO_USER, 0),
        ("execute", PXN_BELOW, 0),
        ("user-execute", UXN_BELOW, 0),
    ),
    "memory_types": TYPES,
    "roots": 2,
    "ignorable": ACCESSED | DIRTY,
    "swap": (56, 5, 16, 40, False),
}


def _x86_names(*, leaf: bool, large: bool, pte: bool) -> tuple[tuple[str, int, int, int], ...]:
    """The same names in the same order as arch_x86_64.c."""
    names = [(name, 1 << bit) for bit, name in enumerate(("P", "RW", "US", "PWT", "PCD", "A"))]
    if leaf:
        names.append(("D", 1 << 6))
    names.append(("PAT" if pte else "PSE", 1 << 7))
    bits = [(name, mask, mask, 0) for name, mask in names]
    if leaf:
        bits += [("G", 1 | 1 << 8, 1 | 1 << 8, 0), ("PROTNONE", 1 | 1 << 8, 1 << 8, 0)]
        if large:
            bits.append(("PAT", 1 << 12, 1 << 12, 0))
    bits += [(f"SW{bit}", 1 << bit, 1 << bit, 0) for bit in (9, 10, 11, *range(52, 59))]
    bits += [("PKEY", 0xF << 59, 0, 59), ("NX", 1 << 63, 1 << 63, 0)]
    return tuple(bits)


def _x86_huge(name: str, reserved: int) -> tuple[Any, ...]:
    p, pse, protnone = 1 << 0, 1 << 7, 1 << 8
    rules = (
        ("table", p | pse, p, 0, False),
        ("leaf", p | pse, p | pse, reserved, False),
        _EMPTY,
        ("prot-none", pse | protnone, pse | protnone, 0, True),
        ("invalidated", pse, pse, 0, True),
        ("swap", protnone, 0, 0, False),
        _REST,
    )
    table = _x86_names(leaf=False, large=False, pte=False)
    other = _x86_names(leaf=True, large=True, pte=False)
    return (name, 9, rules, table, other, (1 << 3, 1 << 4, 1 << 12))


_X86_TOP: Final = (
    "PGD",
    9,
    (("table", 1 | 1 << 7, 1, 0, False), ("reserved-bits", 1, 1, 0, False), _EMPTY, _REST),
    _x86_names(leaf=False, large=False, pte=False),
    _x86_names(leaf=True, large=False, pte=False),
    (0, 0, 0),
)
_X86_LAST: Final = (
    "PTE",
    9,
    (
        ("leaf", 1, 1, 0, False),
        _EMPTY,
        ("prot-none", 1 << 8, 1 << 8, 0, True),
        ("swap", 0, 0, 0, False),
    ),
    (),
    _x86_names(leaf=True, large=False, pte=True),
    (1 << 3, 1 << 4, 1 << 7),
)
_X86_RIGHTS: Final = (("write", 2, 2), ("user", 4, 4), ("execute", 1 << 63, 0))

X86_64_4: Final[dict[str, Any]] = {
    "name": "x86_64-4-by-data",
    "page_shift": 12,
    "levels": (_X86_TOP, _x86_huge("PUD", 0x3FFF_E000), _x86_huge("PMD", 0x1F_E000), _X86_LAST),
    "address_mask": 0x000F_FFFF_FFFF_F000,
    "root_mask": 0x000F_FFFF_FFFF_F000,
    "leaf_rights": _X86_RIGHTS,
    "table_rights": _X86_RIGHTS,
    "memory_types": ("WB", "WC", "UC-", "UC", "WT", "WP"),
    "ignorable": 1 << 5 | 1 << 6 | 0b111 << 9 | 0x7F << 52,
    "swap": (59, 5, 9, 50, True),
}
