# SPDX-License-Identifier: GPL-2.0-or-later
"""What a hit of a hardware breakpoint was: read or write, and in which context of the kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pageproof.model.watch import Access, Context, Place
from pageproof.watch import current

#: Bits of the preempt count for NMIs and hard interrupts (include/linux/preempt.h).
_INTERRUPTS: Final = 0xFF << 16
#: What the #DB handler adds in the kernel: __nmi_enter() in include/linux/hardirq.h.
_HANDLER: Final = (1 << 16) + (1 << 20)


@dataclass
class Values:
    """What is known of the memory, to tell writes from other accesses.

    Attributes:
        emulated: QEMU emulates the CPU; see ``watch_is_emulated()``.
    """

    emulated: bool

    def __post_init__(self) -> None:
        self._known: dict[tuple[int, int], bytes] = {}
        self._dropped = 0

    def begin(self, place: Place, before: bytes | None, after: bytes | None) -> None:
        """Note the value when a place was armed, unless it changed meanwhile."""
        key = place.paddr, place.length_bytes
        if before is not None and before == after:
            self._known.setdefault(key, before)

    def access(
        self, place: Place, value: bytes | None, dropped: int, *, write: bool, exact: bool
    ) -> Access:
        """Return what an access was, and remember the value after it.

        Args:
            place: where.
            value: after the access.
            dropped: how many records did not fit until then: what was known is out of date.
            write: the register for writes was hit.
            exact: there was such a register.
        """
        if dropped != self._dropped:
            self._known.clear()
            self._dropped = dropped
        key = place.paddr, place.length_bytes
        known = self._known.pop(key, None)
        if value is not None:
            self._known[key] = value
        changed = known is not None and value is not None and known != value
        if write:
            return Access.WRITE
        if exact:
            return Access.ACCESS if changed and self.emulated else Access.READ
        return Access.WRITE if changed else Access.ACCESS


def context_of(preempt_count: int) -> Context:
    """Return what the kernel did when a #DB came in.

    Args:
        preempt_count: in the handler; 0 if it could not be read.
    """
    if preempt_count & _INTERRUPTS >= _HANDLER:
        preempt_count -= _HANDLER
    return current.context_of(preempt_count)
