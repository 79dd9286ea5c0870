# SPDX-License-Identifier: GPL-2.0-or-later
"""Page size and the bounds of addresses, in bytes."""

from __future__ import annotations

from typing import Final

PAGE_SHIFT: Final = 12
PAGE_BYTES: Final = 1 << PAGE_SHIFT

#: The first number that is not a 64-bit address.
ADDRESS_END: Final = 1 << 64
#: The last byte of the address space; as a mask it keeps a sum within 64 bits.
ADDRESS_LAST: Final = ADDRESS_END - 1
