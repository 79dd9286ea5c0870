# SPDX-License-Identifier: GPL-2.0-or-later
"""Integer types that select their form in output.

All of them are plain ``int`` to Python and to mypy. The annotation makes
:mod:`pageproof.render` write a field as ``"0x…"`` and not as a count.
"""

from __future__ import annotations

from typing import Annotated, Final

HEX: Final = "hex"

#: A virtual address, canonical or not, 0 to 2**64 - 1.
Address = Annotated[int, HEX]
#: A physical address in bytes.
Paddr = Annotated[int, HEX]
#: A page frame number: physical address divided by 4096.
Pfn = Annotated[int, HEX]
#: A raw word whose bits have names: a page-table entry, vm_flags, i_mode.
Bits = Annotated[int, HEX]
