# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbers in the kernel's own data: VMCOREINFO and variables."""

from __future__ import annotations

from typing import Final, cast

import drgn

from pageproof.errors import PageproofError

#: Where a program keeps the lines; to look the object up takes a millisecond.
_VMCOREINFO: Final = "pageproof.vmcoreinfo"


def vmcoreinfo(prog: drgn.Program) -> dict[str, str]:
    """Return the lines of VMCOREINFO, by the text before their first "=". They never change."""
    if _VMCOREINFO in prog.cache:
        return cast(dict[str, str], prog.cache[_VMCOREINFO])
    text = prog["VMCOREINFO"].string_().decode("utf-8", "replace")
    lines = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    prog.cache[_VMCOREINFO] = lines
    return lines


def number_in(info: dict[str, str], key: str, base: int = 10) -> int | None:
    """Return a NUMBER() of VMCOREINFO; None if the kernel does not export it.

    Raises:
        PageproofError: it is not a number of 64 bits.
    """
    if key not in info:
        return None
    try:
        number = int(info[key], base)
    except ValueError:
        number = 1 << 64
    if not -(1 << 63) <= number < 1 << 64:
        raise PageproofError(f"the target's VMCOREINFO is damaged: {key}={info[key]!r}")
    return number


def optional_number(prog: drgn.Program, name: str) -> int | None:
    """Return a variable's value; None if the kernel lacks the variable or it is optimized out."""
    try:
        return int(prog[name].value_())
    except (LookupError, drgn.ObjectAbsentError):
        return None


def has_symbol(prog: drgn.Program, name: str) -> bool:
    """Return whether the kernel has a symbol."""
    try:
        prog.symbol(name)
    except LookupError:
        return False
    return True
