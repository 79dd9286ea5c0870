# SPDX-License-Identifier: GPL-2.0-or-later
"""Sampling of accessed and dirty bits: which entries are used, without a gdb stub or root.

The bits are never cleared here, because nothing is written to a target. The kernel clears them now
and then (mm/vmscan.c: folio_referenced()), and a new mapping begins without them. So an entry that
was used before the watch tells nothing until then.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pageproof.arch import Paging
from pageproof.attach import Target
from pageproof.model import MemoryGap, Outcome
from pageproof.model.watch import Access, Context, Mode, Place
from pageproof.space.units import PAGE_BYTES
from pageproof.walk import Walker
from pageproof.watch.source import Hit

_INTERVAL_SECONDS: Final = 0.005


@dataclass
class _Sampled:
    """A place and the bits that were seen last: accessed, dirty."""

    place: Place
    root: int
    bits: tuple[bool, bool]


class SampleSource:
    """Bits of page-table entries that become set.

    Args:
        target: a live target.
        walker: of its page tables.
        form: of its page tables.
        kernel_root: of the kernel's own tables.
    """

    name = "sample"
    blind = True

    def __init__(self, target: Target, walker: Walker, form: Paging, kernel_root: int) -> None:
        self._target, self._walker, self._form = target, walker, form
        self._kernel_root = kernel_root
        self._places: dict[int, _Sampled] = {}
        self.notes: tuple[str, ...] = ()

    def now(self) -> int:
        return time.monotonic_ns()

    @property
    def lost(self) -> int:
        return 0

    @property
    def left(self) -> str:
        return ""

    def arm(self, place: Place) -> str:
        root = place.roots[-1] if place.roots else self._kernel_root
        bits, leaf_bytes = self._look(root, place.address)
        if bits is None:
            return "its entry is not present"
        self._places[place.number] = _Sampled(place, root, bits)
        where = place.row or f"pid {place.pid}"
        if leaf_bytes > PAGE_BYTES:
            self.notes += (
                f"{where}: its entry maps {leaf_bytes >> 10} KiB, and is used for other pages too",
            )
        if all(bits):
            self.notes += (
                f"{where}: its entry was accessed and is dirty already, so that no use of it shows "
                "until the kernel clears these bits",
            )
        return ""

    def disarm(self, number: int) -> None:
        self._places.pop(number, None)

    def hits(self, seconds: float) -> Iterator[Hit]:
        deadline = time.monotonic() + seconds
        while True:
            for one in tuple(self._places.values()):
                bits, _ = self._look(one.root, one.place.address)
                if bits is None:
                    continue
                before, one.bits = one.bits, bits
                fresh = tuple(now and not then for now, then in zip(bits, before, strict=True))
                if any(fresh):
                    yield self._hit(one.place, written=fresh[1])
                    deadline = time.monotonic() + seconds
            if time.monotonic() >= deadline:
                return
            time.sleep(_INTERVAL_SECONDS)

    def close(self) -> None:
        self._places.clear()

    def _look(self, root: int, address: int) -> tuple[tuple[bool, bool] | None, int]:
        walk = self._walker.walk(root, address)
        if walk.outcome is not Outcome.MAPPED:
            return None, 0
        return self._form.used(walk.steps[-1].entry), walk.leaf_bytes

    def _hit(self, place: Place, *, written: bool) -> Hit:
        try:
            value = self._target.reader.read_physical(place.paddr, place.length_bytes)
        except MemoryGap:
            value = None
        return Hit(
            place=place.number,
            ns=self.now(),
            cpu=-1,
            access=Access.WRITE if written else Access.ACCESS,
            mode=Mode.USER if place.pid else Mode.KERNEL,
            context=Context.TASK,
            pid=place.pid,
            tid=place.pid,
            comm=place.comm,
            ip=0,
            value=value,
        )
