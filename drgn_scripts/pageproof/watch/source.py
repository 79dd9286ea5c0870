# SPDX-License-Identifier: GPL-2.0-or-later
"""Where hits come from: the contract of a way to watch a target."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from pageproof.model.watch import Access, Context, Mode, Place


@dataclass(frozen=True, slots=True)
class Hit:
    """One access to a place, as the source saw it.

    Attributes:
        place: number of the place.
        ns: when, on a clock of the source that never goes back.
        ip: address of the instruction after the access.
        value: the bytes of the place right after the access; None if they could not be read.
        page: the whole frame at that time, if the source reads it: what else changed was not seen.
        stack: return addresses, the innermost first; empty unless the source was told to read it.
    """

    place: int
    ns: int
    cpu: int
    access: Access
    mode: Mode
    context: Context
    pid: int
    tid: int
    comm: str
    ip: int
    value: bytes | None
    stack: tuple[int, ...] = ()
    page: bytes | None = None


class Source(Protocol):
    """A way to watch a target. It changes nothing but watchpoints, and removes them.

    Attributes:
        name: "gdb", "perf" or "sample".
        notes: for the user.
        blind: some accesses are not seen, and not counted as lost; a note says which.
    """

    name: str
    notes: tuple[str, ...]
    blind: bool

    def now(self) -> int:
        """Return the time on the clock of the hits, in nanoseconds."""

    def arm(self, place: Place) -> str:
        """Watch a place from now on.

        Returns:
            "" if it is armed, otherwise the reason why not, in words for the user.
        """

    def disarm(self, number: int) -> None:
        """Stop watching a place; its hits until now are still passed on.

        Nothing happens if it is not armed.
        """

    def hits(self, seconds: float) -> Iterator[Hit]:
        """Yield hits in their order; return after that many seconds without a hit."""

    @property
    def lost(self) -> int:
        """How many hits could not be delivered so far."""

    def close(self) -> None:
        """Remove everything and leave the target as it was; calling it again does nothing.

        Raises nothing: what could not be undone is in :attr:`left`.
        """

    @property
    def left(self) -> str:
        """What close() could not undo, and how to do it by hand; "" if nothing."""
