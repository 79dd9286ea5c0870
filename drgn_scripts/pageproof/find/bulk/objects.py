# SPDX-License-Identifier: GPL-2.0-or-later
"""The bulk reader in Python: slow, obvious, on drgn's objects. The tests compare both."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence

import drgn
from drgn import offsetof

from pageproof.find.bounded import DamagedError, xa_spans
from pageproof.find.bulk.layout import mm_layout
from pageproof.find.bulk.protocol import Field, Rows, Run, SpaceRecord, VmaRecord, Vmas
from pageproof.find.bulk.vmawalk import for_each_vma

_BROKEN = (drgn.FaultError, ValueError)


class ObjectBulk:
    """Reads structures one by one."""

    def __init__(self, prog: drgn.Program) -> None:
        self._prog = prog

    def gather(self, addresses: Sequence[int], fields: Sequence[Field]) -> Rows:
        """See :class:`pageproof.find.bulk.protocol.Bulk`."""
        words = array("Q")
        faults: dict[int, str] = {}
        first = min(offset for offset, _ in fields)
        length = max(offset + size for offset, size in fields) - first
        for number, address in enumerate(addresses):
            try:
                data = self._prog.read(address + first, length) if address else bytes(length)
            except drgn.FaultError as error:
                faults[number] = str(error)
                words.extend(self._one_by_one(address, fields))
                continue
            for offset, size in fields:
                at = offset - first
                words.append(int.from_bytes(data[at : at + size], "little"))
        return Rows(memoryview(words), len(fields), faults)

    def _one_by_one(self, address: int, fields: Sequence[Field]) -> Iterator[int]:
        """Yield the fields that can be read, and 0 for others."""
        for offset, size in fields:
            try:
                yield int.from_bytes(self._prog.read(address + offset, size), "little")
            except drgn.FaultError:
                yield 0

    def vmas(self, mms: Sequence[int], *, once: bool = False) -> Vmas:
        """See :class:`pageproof.find.bulk.protocol.Bulk`."""
        layout = mm_layout(self._prog)
        spaces: list[SpaceRecord] = []
        words = array("Q")
        faults: dict[int, str] = {}
        for number, mm in enumerate(mms):
            pgd, lost = 0, ""
            addresses: list[int] = []
            try:
                pgd = self._prog.read_u64(mm + layout.pgd)
                for vma in for_each_vma(drgn.Object(self._prog, "struct mm_struct *", mm)):
                    addresses.append(vma.value_())
            except _BROKEN as error:
                lost = str(error)
            first = len(words) // len(VmaRecord._fields)
            rows = self.gather(addresses, layout.fields)
            faults |= {first + row: fault for row, fault in rows.faults.items()}
            for address, row in zip(addresses, rows, strict=True):
                words.extend((number, address, *row))
            spaces.append(SpaceRecord(mm, pgd, first, len(addresses), lost))
        return Vmas(spaces, memoryview(words), faults)

    def vmas_in_parts(self, parts: Iterable[Sequence[int]]) -> Iterator[Vmas]:
        """See :class:`pageproof.find.bulk.protocol.Bulk`."""
        return map(self.vmas, parts)

    def xarray(self, head: int, step: int = 0, max_nodes: int = 0) -> tuple[list[Run], str]:
        """See :class:`pageproof.find.bulk.protocol.Bulk`."""
        kind = self._prog.type("struct xarray")
        xa = drgn.Object(self._prog, kind, address=head - offsetof(kind, "xa_head")).address_of_()
        found: list[Run] = []
        lost = ""
        spans = xa_spans(xa, max_nodes) if max_nodes else xa_spans(xa)
        try:
            for index, count, entry in spans:
                found.append(Run(index, count, entry.value_()))
        except DamagedError as error:
            lost = str(error)
        return list(_merged(found, step)) if step else found, lost


def _merged(runs: Iterable[Run], step: int) -> Iterator[Run]:
    """Merge runs whose entries continue. Only pointers do; their two low bits are clear."""
    last: Run | None = None
    for one in runs:
        if last is not None:
            follows = one.first == last.first + last.length
            if follows and one.entry == last.entry + last.length * step and not one.entry & 3:
                last = last._replace(length=last.length + one.length)
                continue
            yield last
        last = one
    if last is not None:
        yield last
