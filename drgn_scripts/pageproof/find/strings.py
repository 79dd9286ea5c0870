# SPDX-License-Identifier: GPL-2.0-or-later
"""Strings of the kernel, of a limited length.

In a damaged dump a string may not end. ``Object.string_()`` of a pointer reads on until it finds a
null byte, or memory that cannot be read.
"""

from __future__ import annotations

from typing import Final

import drgn

#: Limit in bytes. The kernel's names are shorter; a path has at most PATH_MAX.
MOST_BYTES: Final = 4096
#: Shows that a string was longer.
_CUT: Final = b"..."


def bytes_of(value: drgn.Object) -> bytes:
    """Return a string; "..." replaces what is beyond the limit.

    Args:
        value: ``char *``, or an array of ``char`` without a length.

    Raises:
        drgn.FaultError: it cannot be read.
    """
    pointer = value.type_.kind == drgn.TypeKind.POINTER
    address = value.value_() if pointer else value.address_of_().value_()
    data: bytes = value.prog_.read_c_string(address, max_size=MOST_BYTES + 1)
    return data if len(data) <= MOST_BYTES else data[:MOST_BYTES] + _CUT


def text_of(value: drgn.Object) -> str:
    """Return a string as text; bytes that are not UTF-8 are replaced."""
    return bytes_of(value).decode("utf-8", "replace")
