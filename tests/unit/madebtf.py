# SPDX-License-Identifier: GPL-2.0-or-later
"""BTF and kallsyms made by hand, and damage to them."""

import random
import resource
import struct
import time
from collections.abc import Callable, Sequence

from pageproof.attach.btf.format import Kind
from pageproof.errors import PageproofError

CASE_SECONDS = 5
MEMORY_BYTES = 512 << 20

Row = tuple[str, Kind, int, bool, int, tuple[int | str, ...]]
_INT, _SIGNED, _BOOL = 32, 1 << 24 | 32, 4 << 24 | 8


#: (name, kind, elements, flag, size or type, words; text is the offset of a name).
KERNEL: tuple[Row, ...] = (
    ("int", Kind.INT, 0, False, 4, (_SIGNED,)),  # 1
    ("unsigned int", Kind.INT, 0, False, 4, (_INT,)),  # 2
    ("_Bool", Kind.INT, 0, False, 1, (_BOOL,)),  # 3
    (
        "node",
        Kind.STRUCT,
        4,
        True,
        24,
        ("next", 5, 0, "", 6, 64, "low", 2, 3 << 24 | 128, "high", 2, 29 << 24 | 131),
    ),
    ("", Kind.PTR, 0, False, 4, ()),  # 5: struct node *
    ("", Kind.UNION, 2, False, 8, ("value", 1, 0, "flag", 3, 0)),  # 6
    ("node_t", Kind.TYPEDEF, 0, False, 8, ()),  # 7
    ("", Kind.CONST, 0, False, 9, ()),  # 8
    ("", Kind.VOLATILE, 0, False, 4, ()),  # 9
    ("", Kind.ARRAY, 0, False, 0, (5, 2, 7)),  # 10: struct node *[7]
    ("colour", Kind.ENUM, 2, True, 4, ("RED", 0xFFFFFFFF, "BLUE", 3)),  # 11
    ("wide", Kind.ENUM64, 1, False, 8, ("HUGE", 1, 2)),  # 12
    ("hidden", Kind.FWD, 0, False, 0, ()),  # 13
    ("", Kind.FUNC_PROTO, 3, False, 1, ("first", 5, "second", 10, "", 0)),  # 14
    ("call", Kind.FUNC, 1, False, 14, ()),  # 15
    ("copy", Kind.VAR, 0, False, 4, (1,)),  # 16
    (".data..percpu", Kind.DATASEC, 1, False, 24, (16, 0, 24)),  # 17
    ("double", Kind.FLOAT, 0, False, 8, ()),  # 18
    ("tag", Kind.DECL_TAG, 0, False, 4, (0,)),  # 19
    ("user", Kind.TYPE_TAG, 0, False, 2, ()),  # 20
    ("", Kind.RESTRICT, 0, False, 5, ()),  # 21
    ("tail", Kind.STRUCT, 2, False, 8, ("length", 1, 0, "data", 23, 64)),  # 22
    ("", Kind.ARRAY, 0, False, 0, (5, 2, 0)),  # 23
    ("tagged", Kind.TYPEDEF, 0, False, 20, ()),  # 24
)
MODULE: tuple[Row, ...] = (
    ("own", Kind.STRUCT, 2, False, 32, ("head", 4, 0, "far", 26, 192)),  # 25
    ("", Kind.PTR, 0, False, 27, ()),  # 26
    ("node", Kind.FWD, 0, False, 0, ()),  # 27: declared here, known in the kernel
)


def write(rows: Sequence[Row], first: str = "\0", start: int = 0) -> bytes:
    """Return BTF; a module's names begin at ``start``."""
    strings = bytearray(first.encode())

    def offset(name: int | str) -> int:
        if isinstance(name, int):
            return name
        if not name:
            return 0
        at = strings.find(f"\0{name}\0".encode()) + 1
        if not at:
            at = len(strings)
            strings.extend(f"{name}\0".encode())
        return start + at

    types = b"".join(
        struct.pack(
            f"<III{len(words)}I",
            offset(name),
            flag << 31 | kind << 24 | count,
            size,
            *map(offset, words),
        )
        for name, kind, count, flag, size, words in rows
    )
    header = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings))
    return header + types + bytes(strings)


def damaged(data: bytes, chance: random.Random) -> bytes:
    spoiled = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(spoiled))
        if chance.random() < 0.5:
            spoiled[at] ^= 1 << chance.randrange(8)
        else:
            value = chance.choice((0, 1, 0x7FFFFFFF, 0xFFFFFFFF, chance.getrandbits(32), 25))
            struct.pack_into("<I", spoiled, at & ~3 if at & ~3 <= len(spoiled) - 4 else 0, value)
    return bytes(spoiled[: chance.randrange(len(spoiled))] if chance.random() < 0.1 else spoiled)


def packed_symbols() -> tuple[dict[str, int], dict[int, bytes]]:
    """Return the places of a table of four symbols, and its memory."""
    tokens, starts = b"", []
    for number in range(256):
        starts.append(len(tokens))
        tokens += (
            bytes([number]) if 32 < number < 127 else b"_stext" if number == 1 else b"?"
        ) + b"\0"
    base, text = 0xFFFF_FFFF_8100_0000, (b"Afirst", b"T\1", b"tsame", b"dlast")
    names = b"".join(bytes([len(name)]) + name for name in text)
    offsets = struct.pack("<4i", 16, -1, -1 - 0x100, -1 - 0x180)
    parts = {
        "kallsyms_num_syms": struct.pack("<I", 4),
        "kallsyms_names": names,
        "kallsyms_token_table": tokens,
        "kallsyms_token_index": struct.pack("<256H", *starts),
        "kallsyms_offsets": offsets,
        "kallsyms_relative_base": struct.pack("<Q", base),
    }
    places, memory, at = {"_stext": base}, {}, 0x1000
    for name, data in parts.items():
        places[name], memory[at] = at, data
        at += len(data)
    return places, memory


def within_bounds(cases: int, use: Callable[[int], None]) -> int:
    """Run all cases, by seed; return how many were errors. Any other exception fails the test.

    Acceptance: each takes less than 5 s, all together 512 MiB.
    """
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    errors = 0
    for seed in range(cases):
        start = time.monotonic()
        try:
            use(seed)
        except PageproofError as error:
            assert error.what and error.where, seed
            errors += 1
        assert time.monotonic() - start < CASE_SECONDS, seed
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEMORY_BYTES >> 10
    return errors
