# SPDX-License-Identifier: GPL-2.0-or-later
"""Addresses as a user writes them: hex, symbols, and members of variables."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import drgn

from pageproof.errors import PageproofError

_HEX: Final = re.compile(r"(0[xX])?[0-9a-fA-F]+(_[0-9a-fA-F]+)*")
_PATH: Final = re.compile(
    r"(?P<amp>&?)(?P<name>[A-Za-z_]\w*)(?P<rest>((\.|->)[A-Za-z_]\w*|\[\d+\])*)"
)
_STEP: Final = re.compile(r"(?:\.|->)(?P<member>\w+)|\[(?P<index>\d+)\]")


def parse_hex(text: str) -> int | None:
    """A 64-bit number in hex, with or without 0x; None if it is none."""
    if not _HEX.fullmatch(text):
        return None
    value = int(text, 16)
    return value if value < 1 << 64 else None


def _as_it_is(variable: drgn.Object) -> drgn.Object:
    return variable


def find_address(
    prog: drgn.Program,
    text: str,
    choose: Callable[[drgn.Object], drgn.Object] = _as_it_is,
) -> int:
    """The address that a text names.

    Hex goes first: ``add`` is 0xadd. Else it is a variable with members
    (``umh_shm_region.kaddr``) or a symbol. A pointer stands for what it points
    at; anything else, and everything after ``&``, for where it is.

    Args:
        prog: the target.
        text: as the user wrote it.
        choose: makes of a variable the one that is meant, before its members are looked at: a
            CPU's copy of it.

    Raises:
        PageproofError: it names nothing.
    """
    value = parse_hex(text)
    if value is not None:
        return value
    match = _PATH.fullmatch(text)
    if match is None:
        raise PageproofError(
            "this is no address", repr(text), "give hex, a symbol, or a variable and its members"
        )
    try:
        found = choose(prog[match["name"]])
        for step in _STEP.finditer(match["rest"]):
            found = found.member_(step["member"]) if step["member"] else found[int(step["index"])]
        if not match["amp"] and found.type_.kind is drgn.TypeKind.POINTER:
            return int(found.value_())
        if found.address_ is None:
            raise PageproofError("this is a value and no address", repr(text))
        return int(found.address_)
    except (AttributeError, TypeError) as error:
        raise PageproofError(f"this is no address: {error}", repr(text)) from None
    except drgn.FaultError as error:
        raise PageproofError(f"the address can't be read: {error}", repr(text)) from None
    except LookupError:
        if match["rest"]:
            raise _not_found(text) from None
    try:
        return int(prog.symbol(match["name"]).address)
    except LookupError:
        raise _not_found(text) from None


def _not_found(text: str) -> PageproofError:
    return PageproofError(
        "the target knows no such symbol or variable",
        repr(text),
        "give hex, or debug info that has it with -s",
    )
