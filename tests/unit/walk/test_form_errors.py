# SPDX-License-Identifier: GPL-2.0-or-later
"""Data that is not a paging form: refused with ValueError or TypeError, never a crash."""

from __future__ import annotations

import random
from typing import Any

import pageproof_pagewalk as engine
import pytest
from unit.walk import slowform
from unit.walk.test_forms import (
    NO_SWAP_LAYOUT,
    PAGE,
    UPPER,
    check_sweep,
    compared,
    reader,
    toy_random,
)
from unit.walk.toy64 import ADDRESS, ALL, MEMORY_TYPES, TOY64, X86_64_4, V, W


def changed(**changes: Any) -> dict[str, Any]:
    return TOY64 | changes


def with_last(position: int, value: Any) -> dict[str, Any]:
    """TOY64 with another value in its last level."""
    levels = list(TOY64["levels"])
    last = list(levels[-1])
    last[position] = value
    levels[-1] = tuple(last)
    return changed(levels=tuple(levels))


REST = ("none", 0, 0, 0, False)


@pytest.mark.parametrize(
    ("form", "words"),
    [
        (changed(name=""), "not a name"),
        (changed(name="two words"), "not a name"),
        (changed(name="x" * 32), "not a name"),
        (changed(name="esc\x1b[2J"), "not a name"),
        (changed(name="ä"), "not a name"),
        (changed(page_shift=9), "page_shift"),
        (changed(page_shift=25), "page_shift"),
        (changed(page_shift=256), "8-bit"),
        (changed(page_shift=-1), "64-bit"),
        (changed(levels=()), "1 to 5 levels"),
        (changed(levels=TOY64["levels"] * 2), "at most 5"),
        (changed(levels=TOY64["levels"][:2]), "last level"),
        (changed(roots=0), "roots"),
        (changed(roots=3), "roots"),
        (changed(address_mask=0), "adjoin"),
        (changed(address_mask=0x5_0000), "adjoin"),
        (changed(address_mask=1 << 64), "64-bit"),
        (changed(address_mask=-PAGE & ALL), "overlap|40 bits"),
        (changed(address_mask=ALL << 56 & ALL, high_mask=0), "40 bits"),
        (changed(address_mask=ADDRESS << 1 & ADDRESS), "each page"),
        (changed(address_shift=64), "below 64"),
        (changed(address_shift=17), "shifted out"),
        (changed(high_shift=45), "overlap"),
        (changed(high_shift=63), "shifted out"),
        (changed(root_mask=ALL), "40 bits"),
        (changed(ignorable=W), "ignorable"),
        (changed(ignorable=PAGE), "ignorable"),
        (changed(ignorable=V), "ignorable"),
        (changed(memory_types=()), "1 to 6"),
        (changed(memory_types=("a",) * 7), "at most 6"),
        (changed(memory_types=("a b",)), "not a name"),
        (changed(leaf_rights=(("read", 1, 1),)), "unknown right"),
        (changed(leaf_rights=(("access", 1, 1),)), "unknown right"),
        (changed(leaf_rights=(("write", W, V),)), "value in its mask"),
        (changed(leaf_rights=(("write", PAGE, PAGE),)), "address"),
        (changed(leaf_rights=(("write", W, W),) * 17), "at most 16"),
        (changed(swap=(64, 5, 16, 40, False)), "swap"),
        (changed(swap=(56, 9, 16, 40, False)), "swap"),
        (changed(swap=(56, 5, 16, 64, False)), "swap"),
        (with_last(0, "no\0name"), "not a name"),
        (with_last(1, 0), "index_bits"),
        (with_last(1, 17), "index_bits"),
        (with_last(2, ()), "mask 0"),
        (with_last(2, (("leaf", V, V, 0, False),)), "mask 0"),
        (with_last(2, (REST, REST)), "mask 0"),
        (with_last(2, (("table", V, V, 0, False), REST)), "last level"),
        (with_last(2, (("leaf", V, 0, 0, False), REST)), "set bit"),
        (with_last(2, (("leaf", V, V | 1, 0, False), REST)), "value in its mask"),
        (with_last(2, (("leaf", V | PAGE, V, 0, False), REST)), "address"),
        (with_last(2, (("leaf", V, V, PAGE, False), REST)), "address"),
        (with_last(2, (("excluded", V, V, 0, False), REST)), "not a kind"),
        (with_last(2, (("leaf", V, V, 0, False),) * 16 + (REST,)), "at most 16"),
        (with_last(4, (("", V, V, 0),)), "not a name"),
        (with_last(4, (("V", V, 1, 0),)), "value in its mask"),
        (with_last(4, (("V", V, 0, 64),)), "below 64"),
        (with_last(4, (("V", V, V, 0),) * 65), "at most 64"),
        (with_last(5, (PAGE, 0, 0)), "memory type"),
    ],
)
def test_what_is_not_a_form(form: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        engine.Form(**form)


@pytest.mark.parametrize("wrong", [None, 1.5, [], b"text", object()])
def test_wrong_types_in_a_form(wrong: Any) -> None:
    for key in TOY64:
        with pytest.raises(TypeError):
            engine.Form(**changed(**{key: wrong}))
    for position in range(6):
        with pytest.raises(TypeError):
            engine.Form(**with_last(position, wrong))
        with pytest.raises(TypeError):
            engine.Form(**with_last(position, (wrong, wrong, wrong)))


def test_the_error_names_the_level() -> None:
    with pytest.raises(ValueError, match="form toy64, level PAGE: the last level cannot point"):
        engine.Form(**with_last(2, (("table", V, V, 0, False), REST)))
    with pytest.raises(ValueError, match="form toy64: page_shift must be 10 to 24"):
        engine.Form(**changed(page_shift=9))


def test_a_walker_needs_a_form() -> None:
    with pytest.raises(ValueError, match="unknown form 'arm64'; choose from x86_64-4, x86_64-5"):
        engine.Walker("arm64", bytes(8))
    with pytest.raises(TypeError, match="Form"):
        engine.Walker(4, bytes(8))  # type: ignore[arg-type]
    form = engine.Form(**TOY64)
    with pytest.raises(ValueError, match="below 3"):
        engine.Walker(form, bytes([3] * 8))
    walker = engine.Walker(form, MEMORY_TYPES)
    del form  # the walker keeps it
    assert engine.KINDS[walker.walk(0, 0)[0]] == "unreadable"


#: Values that replace one that is somewhere inside a form.
NASTY: tuple[Any, ...] = (
    *(0, 1, 2, 5, 8, 63, 64, 255, 256, -1, 1 << 14, 1 << 62, V, ALL, 1 << 64),
    *("", "leaf", "table", "none", "write", "V", "x" * 40, None, True, 1.5, (), (0,), ("a",) * 9),
)


def mutated(rng: random.Random, value: Any) -> Any:
    if rng.random() < 0.3 or not isinstance(value, tuple) or not value:
        if isinstance(value, int) and rng.random() < 0.6:
            return value ^ 1 << rng.randrange(64)
        return rng.choice(NASTY)
    items = list(value)
    at = rng.randrange(len(items))
    if rng.random() < 0.1:
        items.insert(at, items[at])
    elif rng.random() < 0.1:
        del items[at]
    else:
        items[at] = mutated(rng, items[at])
    return tuple(items)


@pytest.mark.parametrize("seed", range(8))
def test_mutated_forms_are_refused_or_right(seed: int) -> None:
    """A form that is accepted gives what the slow walk by the same data gives."""
    rng = random.Random(9900 + seed)
    accepted = 0
    for _ in range(400):
        data = dict(rng.choice((TOY64, X86_64_4)))
        for _ in range(rng.choice([1, 1, 2])):
            key = rng.choice([*data, "levels", "levels"])
            data[key] = mutated(rng, data[key])
        try:
            form = engine.Form(**data)
        except (ValueError, TypeError):
            continue
        accepted += 1
        memory = toy_random(rng)
        types = bytes(8)
        walker = engine.Walker(form, types, swap=NO_SWAP_LAYOUT, direct=[(0, memory)])
        for _ in range(20):
            roots = rng.randrange(16) * PAGE + 64, rng.randrange(16) * PAGE
            address = rng.getrandbits(40) | rng.choice([0, UPPER])
            slow = slowform.walk(data, roots, address, reader(memory), types)
            compared(walker.walk(roots, address), slow)
            last = min(ALL, address + 40 * PAGE)
            check_sweep(walker, data, memory, roots, address, last, rng)
        index = engine.Index()
        index.add(walker, 0, roots, 0, ALL, max_entries=5000)
        index.finish()
        index.lookup(3)
    assert accepted > 20
