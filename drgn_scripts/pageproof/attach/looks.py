# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory that is kept during one look at a live target, and never from one look to the next.

A command of QEMU's monitor takes as long for 64 KiB as for 8 bytes, and drgn reads the same tables
again for each object. So drgn's reads get blocks that are kept. What two looks agree on proves
something only if the second one reads memory again. Blocks are therefore forgotten

- when a look begins (:func:`new_look`, which ``look_until()`` calls),
- at each read by pageproof's walkers and engine, which is never answered from a block: "walk, read,
  walk again" reads the tables twice, and what drgn read before the second walk is forgotten,
- after MOST_SECONDS, for loops that do neither.

Within a look, a block may be older than the moment of a read, but not older than the look. A look
without blocks reads its facts at different moments as well.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final
from weakref import WeakSet

from pageproof.model import MemoryGap

BLOCK_BYTES: Final = 1 << 16
#: 64 MiB.
_MOST_BLOCKS: Final = 1 << 10
MOST_SECONDS: Final = 0.25

_ALL: Final[WeakSet[Blocks]] = WeakSet()


class Blocks:
    """Blocks of physical memory.

    Args:
        read: reads memory: (paddr, length).
        clock: as time.monotonic().
    """

    def __init__(
        self, read: Callable[[int, int], bytes], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._read, self._clock = read, clock
        self._blocks: dict[int, bytes] = {}
        self._since = 0.0
        _ALL.add(self)

    def read(self, paddr: int, length: int) -> bytes:
        """Read memory of the current look.

        Raises:
            MemoryGap: as ``read``.
        """
        number, at = divmod(paddr, BLOCK_BYTES)
        if at + length > BLOCK_BYTES:
            return self._read(paddr, length)
        now = self._clock()
        if now - self._since > MOST_SECONDS or len(self._blocks) == _MOST_BLOCKS:
            self.forget()
        if not self._blocks:
            self._since = now
        if number not in self._blocks:
            try:
                self._blocks[number] = self._read(number * BLOCK_BYTES, BLOCK_BYTES)
            except MemoryGap:  # a part of the block is no memory
                return self._read(paddr, length)
        return self._blocks[number][at : at + length]

    def forget(self) -> None:
        """Begin a new look."""
        self._blocks.clear()


def new_look() -> None:
    """Forget all blocks: what is read from now on is read again."""
    for each in _ALL:
        each.forget()
