# SPDX-License-Identifier: GPL-2.0-or-later
"""The index of symbols and types in C gives what the one in Python gives, or an error as well."""

import random
from collections.abc import Callable
from types import ModuleType

import pageproof_pagewalk
from unit.madebtf import KERNEL, damaged, write

from pageproof.attach.btf import plain
from pageproof.attach.btf.format import Btf

CASES = 500
TEXT = b"0 A first\nffffffff81000000 T _stext\nffffffff81000000 t a\n10 d a\nf t m\t[m]\n"
PACKED = b"\x03abc\x02de\x81\x00f\x04ghij"
TOKENS = (*(bytes([number]) * (1 + number % 3) for number in range(1, 256)), b"")


def sections(data: bytes) -> tuple[bytes, bytes]:
    """Return types and strings of well-formed BTF."""
    btf = Btf(data, "here")
    return bytes(btf._words), btf._strings


def outcome(call: Callable[[], object]) -> object:
    try:
        return call()
    except ValueError as error:
        assert str(error)
        return "an error"


def names_of(names: pageproof_pagewalk.SymbolNames) -> object:
    found = [names.name(number) for number in range(len(names))]
    return found, [names.find(name[1:]) for name in found]


def parsed(engine: ModuleType, text: bytes, shift: int) -> object:
    addresses, names = engine.parse_symbols(text, shift)
    return list(addresses), names_of(names)


def places(engine: ModuleType, types: bytes, strings: bytes) -> object:
    index = engine.TypeIndex(types, strings, b"")
    return [index.place(number) for number in range(len(index))]


def addresses(engine: ModuleType, offsets: bytes, form: int) -> object:
    found = engine.symbol_addresses(offsets, form, 0xFFFF_FFFF_8100_0000)
    return None if found is None else list(found)


def results(engine: ModuleType, seed: int) -> list[object]:
    kernel, strings = sections(write(KERNEL))
    types, text, packed = (damaged(one, random.Random(seed)) for one in (kernel, TEXT, PACKED))
    types = types[: len(types) & ~3]
    return [
        outcome(lambda: places(engine, types, strings)),
        outcome(lambda: parsed(engine, text, seed << 12)),
        outcome(lambda: names_of(engine.unpack_symbols(packed, seed % 5, TOKENS))),
        *(addresses(engine, packed[: len(packed) & ~3], form) for form in range(3)),
    ]


def test_damaged() -> None:
    kinds = [set[bool]() for _ in range(6)]
    for seed in range(CASES):
        ours, other = results(pageproof_pagewalk, seed), results(plain, seed)
        assert ours == other, seed
        for kind, one in zip(kinds, ours, strict=True):
            kind.add(one in ("an error", None))
    assert all(kind == {True, False} for kind in kinds[:4])


def test_names_of_types() -> None:
    kernel, strings = sections(write(KERNEL))
    ours, other = (one.TypeIndex(kernel, strings, b"") for one in (pageproof_pagewalk, plain))
    for name in strings.split(b"\0"):
        assert ours.find(name) == other.find(name)
        assert ours.enumerations(name) == other.enumerations(name)
    assert ours.has_signed() and other.has_signed()
