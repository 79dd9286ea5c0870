# SPDX-License-Identifier: GPL-2.0-or-later
"""A slow and obvious walk by a form's data: the oracle of the engine's Form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

#: Numbers of the engine's rights.
RIGHTS = {"write": 1, "execute": 2, "user": 4, "user-execute": 16}
ACCESS = 8
FRAMES = ("leaf", "prot-none", "invalidated")


@dataclass(frozen=True)
class Found:
    """Where a walk ended; level is the last one that was reached, 1 for the last of all."""

    outcome: str
    level: int = 0
    paddr: int | None = None
    leaf_bytes: int = 0
    rights: int = 0
    memory_type: int = 0


def walk(
    form: dict[str, Any],
    roots: tuple[int, int],
    address: int,
    read: Callable[[int], int | None],
    memory_types: bytes,
) -> Found:
    """Walk for an address.

    Args:
        form: the arguments of Form, by name. Swap entries are all "swap".
        read: gives the entry at a physical address, None if there is no memory.
    """
    levels = form["levels"]
    span = form["page_shift"] + sum(level[1] for level in levels)
    half_bits = span if form.get("roots", 1) == 2 else span - 1
    sign = address >> half_bits
    if sign not in (0, (1 << 64 - half_bits) - 1):
        return Found("non-canonical")
    table = roots[1 if sign else 0] & form["root_mask"]
    named = {name for name, _, _ in (*form.get("table_rights", ()), *form["leaf_rights"])}
    rights = sum(RIGHTS[name] for name in {"write", "execute", "user"} | named)
    shift = span
    for depth, (_, index_bits, rules, _, _, type_bits) in enumerate(levels):
        number = len(levels) - depth
        shift -= index_bits
        index = address >> shift & (1 << index_bits) - 1
        raw = read(table + 8 * index)
        if raw is None:
            return Found("unreadable", number)
        kind, _, _, reserved, inverted = next(r for r in rules if raw & r[1] == r[2])
        if raw & reserved:
            return Found("reserved-bits", number)
        if kind == "swap" and sign:
            return Found("special", number)
        if kind == "table":
            rights = _left(rights, raw, form.get("table_rights", ()))
            table = _address(form, raw)
            continue
        if kind not in FRAMES:
            return Found(kind, number)
        bits = form["address_mask"] | form.get("high_mask", 0)
        base = _address(form, raw ^ bits if inverted else raw)
        index = sum(1 << i for i in range(3) if raw & type_bits[i])
        return Found(
            kind,
            number,
            base >> shift << shift | address & (1 << shift) - 1,
            1 << shift,
            _left(rights, raw, form["leaf_rights"]) | (ACCESS if kind == "leaf" else 0),
            memory_types[index],
        )
    raise AssertionError("the last level cannot point at tables")


def _address(form: dict[str, Any], raw: int) -> int:
    low: int = (raw & form["address_mask"]) << form.get("address_shift", 0)
    high: int = (raw & form.get("high_mask", 0)) << form.get("high_shift", 0)
    return low | high


def _left(rights: int, raw: int, conditions: tuple[tuple[str, int, int], ...]) -> int:
    for name, mask, value in conditions:
        if raw & mask != value:
            rights &= ~RIGHTS[name]
    return rights
