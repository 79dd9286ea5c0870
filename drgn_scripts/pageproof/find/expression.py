# SPDX-License-Identifier: GPL-2.0-or-later
"""Addresses as a user writes them: hex, symbols, and members of variables."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
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
    except drgn.ObjectAbsentError:
        raise PageproofError(
            "the compiler optimized this variable out", repr(text), "give an address"
        ) from None
    except drgn.OutOfBoundsError as error:
        raise PageproofError(f"there is no such element: {error}", repr(text)) from None
    except LookupError:
        if match["rest"]:
            raise _not_found(text) from None
    try:
        return int(prog.symbol(match["name"]).address)
    except LookupError:
        raise _not_found(text) from None


@dataclass(frozen=True)
class UserSide:
    """What an expression of the user's may name: addresses, 0 for what there is not.

    Attributes:
        vma: ``struct vm_area_struct *``.
        file: its ``struct file *``.
    """

    vma: int = 0
    file: int = 0


def kernel_address(prog: drgn.Program, text: str, user: UserSide) -> int:
    """The kernel address that a user compares with, which may hang on the user's side.

    As for :func:`find_address`, or else :func:`evaluate`'s.

    Raises:
        PageproofError: it gives no address.
    """
    path = _PATH.fullmatch(text)
    if parse_hex(text) is not None or (path and path["name"] not in ("vma", "file")):
        return find_address(prog, text)
    found = evaluate(prog, text, user)
    try:
        address = _address_of(found)
    except (drgn.FaultError, drgn.ObjectAbsentError) as error:
        raise PageproofError(f"the address can't be read: {error}", repr(text)) from None
    if address is None:
        raise PageproofError(f"this is a {type(found).__name__} and no address", repr(text))
    return address


def evaluate(prog: drgn.Program, text: str, user: UserSide) -> object:
    """The value of an expression as in drgn's shell, with all that is known there.

    ``vma`` and ``file`` are the user's: ``cast("struct my_ctx *", file.private_data).ring``.

    Raises:
        PageproofError: it can't be evaluated.
    """
    from drgn.cli import default_globals  # which is all of drgn's shell

    names = default_globals(prog)
    names["vma"] = drgn.Object(prog, "struct vm_area_struct *", user.vma)
    names["file"] = drgn.Object(prog, "struct file *", user.file)
    try:
        # The user's own words, in the user's own process, as drgn's shell takes them.
        return eval(text, names)
    except Exception as error:  # whatever an expression can raise
        raise PageproofError(
            f"this can't be evaluated: {type(error).__name__}: {error}",
            repr(text),
            "give hex, a symbol, a variable and its members, or an expression of drgn's over "
            "prog, vma and file",
        ) from None


def _address_of(found: object) -> int | None:
    """A pointer's value, another object's place, an integer; None for what is no address."""
    if isinstance(found, drgn.Object):
        if found.type_.kind is drgn.TypeKind.POINTER:
            return int(found.value_())
        return None if found.address_ is None else int(found.address_)
    return found if isinstance(found, int) and 0 <= found < 1 << 64 else None


def _not_found(text: str) -> PageproofError:
    return PageproofError(
        "the target knows no such symbol or variable",
        repr(text),
        "give hex, or debug info that has it with -s",
    )
