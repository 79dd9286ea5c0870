# SPDX-License-Identifier: GPL-2.0-or-later
"""The bulk reader in C.

Importing this module raises ImportError if the engine was not built.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

import drgn
import pageproof_pagewalk as engine
from pageproof_pagewalk import Structures

from pageproof.arch import Paging
from pageproof.arch.engine import (
    CompressedMemory,
    DirectMemory,
    FileMemory,
    MappedFiles,
    cores,
    engine_walker,
)
from pageproof.find.bulk.ahead import ahead
from pageproof.find.bulk.layout import mm_layout, xa_layout
from pageproof.find.bulk.losses import Loss, lost_entries, lost_vmas, unreadable
from pageproof.find.bulk.protocol import (
    VMA_WORDS,
    Field,
    Rows,
    Run,
    SpaceRecord,
    Vmas,
)
from pageproof.model import MemoryGap, Outcome

#: Reads physical memory: (paddr, length). Raises MemoryGap.
ReadPhysical = Callable[[int, int], bytes]


class EngineBulk:
    """Reads structures with the engine in C.

    Args:
        prog: the target, for its debug info.
        paging: the form of the kernel's tables.
        root: of the kernel's tables.
        direct_map: addresses of physical memory in the direct map, from physical address 0 on.
        still: the target cannot change.
        read: reads physical memory.
        direct: physical memory that needs no read.
        compressed: physical memory that the engine decompresses itself.
        file: physical memory that the engine reads itself.

    Raises:
        LookupError: debug info lacks a structure.
    """

    def __init__(
        self,
        prog: drgn.Program,
        paging: Paging,
        root: int,
        direct_map: range,
        read: ReadPhysical,
        direct: DirectMemory = (),
        compressed: CompressedMemory = (),
        file: FileMemory | None = None,
        *,
        still: bool,
    ) -> None:
        self._still, self._read = still, read
        span = (direct_map.start, direct_map.stop - 1, 0) if direct_map else (1, 0, 0)
        self._files = MappedFiles(direct, compressed)

        def structures(read: Callable[[int, int], bytes | int] | None) -> Structures:
            walker = engine_walker(paging, read, direct, compressed, file)
            return Structures(walker, root, span)

        self._structures = structures(self._read_or_gap)
        #: For threads: drgn must not read in one while the caller uses it. None if nothing can be
        #: read without drgn.
        self._alone = structures(None) if direct or compressed or file else None
        layout, xa = mm_layout(prog), xa_layout(prog)
        leads = layout.tree if layout.tree is not None else layout.vm_next
        assert leads is not None
        self._mm = layout.pgd, layout.map_count, layout.first, leads, layout.fields
        self._xa = xa.shift, xa.slots, xa.count

    def _read_or_gap(self, paddr: int, length: int) -> bytes | int:
        try:
            data = self._read(paddr, length)
        except MemoryGap as gap:
            return engine.KINDS.index(gap.outcome.value)
        return data if len(data) == length else engine.KINDS.index(Outcome.UNREADABLE.value)

    def gather(self, addresses: Sequence[int], fields: Sequence[Field]) -> Rows:
        """See :class:`pageproof.find.bulk.protocol.Bulk`."""
        rows, faults = self._structures.gather(array("Q", addresses), tuple(fields))
        return Rows(rows, len(fields), self._faults(faults))

    def _faults(self, words: memoryview) -> dict[int, str]:
        width = engine.FAULT_WORDS
        return {row: unreadable(at, reason) for row, at, reason in _rows(words, width)}

    def vmas(self, mms: Sequence[int], *, once: bool = False) -> Vmas:
        """See :class:`pageproof.find.bulk.protocol.Bulk`."""
        return self._vmas(self._structures, mms, once=once)

    def _vmas(self, structures: Structures, mms: Sequence[int], *, once: bool = False) -> Vmas:
        heads, words, faults, losses = structures.vmas(
            array("Q", mms), self._mm, still=self._still or once
        )
        messages = self._messages(losses, lost_vmas)
        spaces = [
            SpaceRecord(mm, pgd, first, count, _lost(messages.get(number, ()), lost))
            for number, (mm, pgd, _, _, first, count, lost, _) in enumerate(
                _rows(heads, engine.MM_WORDS)
            )
        ]
        assert engine.VMA_WORDS + len(self._mm[-1]) == VMA_WORDS
        if len(mms) > 1:
            self._files.trim()
        return Vmas(spaces, words, self._faults(faults))

    def vmas_in_parts(self, parts: Iterable[Sequence[int]]) -> Iterator[Vmas]:
        """See :class:`pageproof.find.bulk.protocol.Bulk`."""
        alone = self._alone
        if alone is None:
            yield from map(self.vmas, parts)
            return
        parts = tuple(parts)
        found = ahead(parts, lambda mms: self._vmas(alone, mms), cores())
        for mms, vmas in zip(parts, found, strict=True):
            whole = not vmas.faults and not any(space.lost for space in vmas.spaces)
            yield vmas if whole else self.vmas(mms)  # drgn may read more

    def xarray(self, head: int, step: int = 0, max_nodes: int = 0) -> tuple[list[Run], str]:
        """See :class:`pageproof.find.bulk.protocol.Bulk`."""
        words, losses, lost = self._structures.xarray(head, self._xa, step, max_nodes=max_nodes)
        kept = self._messages(losses, lost_entries).values()
        messages = [one for some in kept for one in some]
        return [Run(*row) for row in _rows(words, engine.RUN_WORDS)], _lost(messages, lost)

    def _messages(self, losses: memoryview, word: Callable[[Loss], str]) -> dict[int, list[str]]:
        """Return the messages about losses, by owner."""
        found: dict[int, list[str]] = defaultdict(list)
        for one in _rows(losses, engine.LOSS_WORDS):
            loss = Loss(*one)
            found[loss.owner].append(word(loss))
        return found


def _rows(words: memoryview, width: int) -> Iterable[tuple[int, ...]]:
    return zip(*(words[number::width].tolist() for number in range(width)), strict=True)


def _lost(messages: Sequence[str], count: int) -> str:
    more = f"; and {count - len(messages)} more" if count > len(messages) else ""
    return "; ".join(messages) + more
