# SPDX-License-Identifier: GPL-2.0-or-later
"""From hits to events: names for code, words for values, and what the value was before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pageproof.model.watch import Access, AccessCount, CodePlace, Event, Mode, Place
from pageproof.watch.source import Hit


class Field(Protocol):
    """A watched field, as :class:`pageproof.find.kernel.members.Member` is."""

    @property
    def offset(self) -> int: ...
    @property
    def length(self) -> int: ...


@dataclass(frozen=True)
class Words:
    """How hits are put into words.

    Attributes:
        value: the bytes of a field, by its number.
        kernel_code: the names of kernel code before an address.
        user_code: the same of a process: pid and address.
        state: what the protocol says of the page's content; "" if that is not known.
    """

    value: Callable[[int, bytes], str]
    kernel_code: Callable[[int], CodePlace]
    user_code: Callable[[int, int], CodePlace]
    state: Callable[[bytes], str] = lambda page: ""


@dataclass
class Decoder:
    """Makes events of hits, and remembers the page as the events left it.

    Attributes:
        fields: the watched fields, by number.
        places: the watched places, by number.
        page: the content of the frame when the watch began.
        start_ns: when that was, on the clock of the source.
        words: how hits are put into words.
    """

    fields: Sequence[Field]
    places: Sequence[Place]
    page: bytearray
    start_ns: int
    words: Words
    _number: int = 0
    _missed: int = 0
    _unseen: dict[int, bytes] = field(default_factory=dict)
    _counts: dict[tuple[int, Mode, Access, str], int] = field(default_factory=dict)
    _codes: dict[tuple[Mode, int, int], CodePlace] = field(default_factory=dict)

    def event(self, hit: Hit) -> Event:
        """Return the event of a hit; hits are given in their order."""
        place = self.places[hit.place]
        start = place.paddr % len(self.page)
        if hit.page is not None:
            self._note_others(place.field, hit.page)
        state = self.words.state(bytes(self.page))
        before = self._value(place.field)
        if hit.value is not None:
            self._note(place.field, hit.access, start, hit.value)
            self.page[start : start + len(hit.value)] = hit.value
        after = self._value(place.field) if hit.value is not None else ""
        code = self._code(hit.mode, hit.pid, hit.ip)
        self._number += 1
        function = code.symbol.partition("+")[0] or code.module
        key = place.field, place.side, hit.access, function
        self._counts[key] = self._counts.get(key, 0) + 1
        return Event(
            number=self._number,
            seconds=max(0.0, round((hit.ns - self.start_ns) / 1e9, 6)),
            cpu=hit.cpu,
            place=hit.place,
            access=hit.access,
            mode=hit.mode,
            context=hit.context,
            pid=hit.pid,
            tid=hit.tid,
            comm=hit.comm,
            before=before,
            after=after,
            state=state,
            code=code,
            stack=tuple(self._code(Mode.KERNEL, hit.pid, pc) for pc in hit.stack),
        )

    @property
    def events(self) -> int:
        """The number of events so far."""
        return self._number

    @property
    def missed(self) -> int:
        """How many reads saw a value that no event wrote."""
        return self._missed + len(self._unseen)

    @property
    def counts(self) -> tuple[AccessCount, ...]:
        """The sum of all events."""
        every = sorted(self._counts.items(), key=lambda one: (*one[0][:3], -one[1]))
        return tuple(AccessCount(*key, count) for key, count in every)

    def _value(self, number: int) -> str:
        at = self.fields[number]
        return self.words.value(number, bytes(self.page[at.offset : at.offset + at.length]))

    def _note(self, number: int, access: Access, start: int, value: bytes) -> None:
        """Note whether the value is explained by the events.

        Another CPU may have written between a read and the moment when its value was taken; then
        that write is among the next events.
        """
        unseen = self._unseen.pop(number, None)
        if access is Access.READ:
            if unseen is not None:
                self._missed += 1
            if self.page[start : start + len(value)] != value:
                self._unseen[number] = value
        elif unseen is not None and unseen != value:
            self._missed += 1

    def _note_others(self, number: int, page: bytes) -> None:
        """Take over what else is in the frame now; fields that changed were written unseen."""
        changed = bytearray(page)
        own = self.fields[number]
        span = slice(own.offset, own.offset + own.length)
        changed[span] = self.page[span]
        for other, at in enumerate(self.fields):
            if other != number:
                part = slice(at.offset, at.offset + at.length)
                self._missed += changed[part] != self.page[part]
        self.page[:] = changed

    def _code(self, mode: Mode, pid: int, pc: int) -> CodePlace:
        # A program's code may be at the same address as another's.
        if not pc:
            return CodePlace(0)
        key = mode, pid if mode is Mode.USER else 0, pc
        if key not in self._codes:
            if mode is Mode.KERNEL:
                self._codes[key] = self.words.kernel_code(pc)
            else:
                self._codes[key] = self.words.user_code(pid, pc)
        return self._codes[key]
