# SPDX-License-Identifier: GPL-2.0-or-later
"""``watch``: show every access to a frame, from both of its sides."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, Protocol

from pageproof import __version__
from pageproof.attach import Target
from pageproof.commands.watchfields import Fields, choose_fields
from pageproof.commands.watchwords import words_of
from pageproof.errors import Exit, PageproofError
from pageproof.find.frame.content import is_plain_ram
from pageproof.find.kernel.paging import read_paging
from pageproof.judge.rules.protocol import ProtocolCheck, judge_slot
from pageproof.model import Finding, PagingFacts, TargetKind
from pageproof.model.asked import WatchAsked, Watching
from pageproof.model.watch import WATCH_SCHEMA, Event, Mode, Place, WatchEnd, WatchStart
from pageproof.observe.chosen import choose_frame
from pageproof.observe.frameplaces import Spot, frame_spots
from pageproof.observe.walkers import paging_form, walker_of
from pageproof.space.units import PAGE_BYTES, PAGE_SHIFT
from pageproof.walk import Walker
from pageproof.watch.decode import Decoder
from pageproof.watch.sample import SampleSource
from pageproof.watch.source import Hit, Source

#: Places that are armed at most: every field at every address of the frame.
_MOST_PLACES: Final = 4096
#: Time between two sweeps for new mappings; ten times as long as a sweep if that is more.
_SWEEP_NS: Final = 1_000_000_000
_SWEEP_SHARE: Final = 10
#: A source returns this often when nothing happens.
_WAIT_SECONDS: Final = 0.2


class Sink(Protocol):
    """Where records go, one by one."""

    def start(self, start: WatchStart) -> None: ...
    def place(self, place: Place) -> None:
        """Take a place of a mapping that appeared later."""

    def event(self, event: Event) -> None: ...
    def end(self, end: WatchEnd) -> None: ...


def watch(target: Target, asked: WatchAsked, progress: Callable[[str], None], sink: Sink) -> int:
    """Watch a frame until the user, or what they asked for, ends it.

    Returns:
        The exit code.

    Raises:
        PageproofError: there is no such frame or field, or nothing could be armed.
    """
    _check_target(target, asked)
    paging = read_paging(target.prog)
    walker = walker_of(target, paging, progress=progress)
    progress("searching the frame")
    frame = choose_frame(target, paging, walker, asked.frame)
    if not is_plain_ram(target.prog, paging, frame.pfn):
        raise PageproofError(
            "this frame is not RAM: reading a device's memory may change the device",
            f"PFN {frame.pfn:#x}",
        )
    fields = choose_fields(target.prog, asked, frame)
    progress("searching every address of the frame")
    spots = frame_spots(target, paging, walker, frame.pfn)
    if spots.doubts:
        lost = "some page tables could not be read, so addresses of the frame may be missing"
        fields = replace(fields, notes=(*fields.notes, lost))
    one = _Watch(target, paging, walker, asked, frame.pfn, fields, sink)
    with _source(target, paging, walker, asked) as source:
        progress("arming")
        code = one.run(source, spots.found)
    return code


def _check_target(target: Target, asked: WatchAsked) -> None:
    kind = target.facts.kind
    if kind is TargetKind.CORE:
        raise PageproofError("a dump does not change, so there is nothing to watch", "", "")
    if kind is TargetKind.QEMU and asked.gdb is None and not asked.sample:
        raise PageproofError(
            "watching a guest needs QEMU's gdb stub",
            "",
            "run QEMU with -gdb unix:PATH,server=on,wait=off (or QMP: human-monitor-command "
            "gdbserver), and add --gdb PATH; or use --sample",
        )
    if kind is TargetKind.LIVE and asked.gdb is not None:
        raise PageproofError("--gdb goes with --qemu", "", "add --qemu SOCKET")


@contextmanager
def _source(
    target: Target, paging: PagingFacts, walker: Walker, asked: WatchAsked
) -> Iterator[Source]:
    source = _open(target, paging, walker, asked)
    try:
        yield source
    finally:
        with _undisturbed():
            source.close()


def _open(target: Target, paging: PagingFacts, walker: Walker, asked: WatchAsked) -> Source:
    if asked.sample:
        return SampleSource(target, walker, paging_form(target, paging), paging.kernel_root)
    writes = asked.watching is Watching.WRITES
    if asked.gdb is not None:
        from pageproof.watch.gdb import GdbSource

        return GdbSource(target, asked.gdb, writes_only=writes, stacks=asked.stacks)
    from pageproof.watch.perf import PerfSource

    return PerfSource(target, writes_only=writes, stacks=asked.stacks)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let signals wait while a target is left as it was."""
    signals = {signal.SIGINT, signal.SIGTERM}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Asked:
    """Notes SIGINT and SIGTERM, so that they interrupt no record; the second one raises.

    Attributes:
        to_end: there was one.
    """

    def __init__(self) -> None:
        self.to_end = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> _Asked:
        with suppress(ValueError):  # not in the main thread
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: object) -> None:
        if self.to_end:
            raise KeyboardInterrupt
        self.to_end = True


@dataclass
class _Watch:
    """One watch of a frame."""

    target: Target
    paging: PagingFacts
    walker: Walker
    asked: WatchAsked
    pfn: int
    fields: Fields
    sink: Sink
    places: list[Place] = field(default_factory=list)
    _spots: set[tuple[int, int]] = field(default_factory=set)

    def run(self, source: Source, spots: Iterable[Spot]) -> int:
        """Arm everything, and pass on events until the end."""
        start = source.now()
        self._arm(source, start, spots)
        armed = [one for one in self.places if not one.refused]
        if not armed:
            raise PageproofError(f"nothing could be armed: {self.places[0].refused}")
        decoder = Decoder(
            self.fields.members,
            self.places,
            bytearray(self._page()),
            start,
            words_of(self.target, self.paging, self.walker, self.fields, self.asked.programs),
        )
        if self.fields.state is not None:
            self.fields.state(bytes(decoder.page))  # an expression that is wrong ends it now
        check, why = self._check(blind=source.blind), "interrupted"
        self.sink.start(
            WatchStart(
                schema=WATCH_SCHEMA,
                version=__version__,
                target=self.target.facts,
                paging=self.paging,
                how=source.name,
                pfn=self.pfn,
                fields=self.fields.shown,
                places=tuple(self.places),
                notes=self.fields.notes + source.notes,
            )
        )
        with suppress(KeyboardInterrupt), _Asked() as asked:
            why = self._watch(source, start, decoder, check, asked)
        seconds = round((source.now() - start) / 1e9, 3)
        with _undisturbed():
            source.close()
        end = self._end(source, decoder, check, why, seconds)
        self.sink.end(end)
        return end.exit_code

    def _page(self) -> bytes:
        return self.target.reader.read_physical(self.pfn << PAGE_SHIFT, PAGE_BYTES)

    def _check(self, *, blind: bool) -> ProtocolCheck | None:
        judge = self.fields.judge
        if judge is None:
            return None
        if blind and judge is judge_slot:
            judge = partial(judge_slot, blind=True)
        names = [one.name for one in self.fields.members]
        members = [one.path[-1] if one.path else "" for one in self.fields.members]
        return ProtocolCheck(judge, members, names, self.places)

    def _arm(self, source: Source, start: int, spots: Iterable[Spot]) -> list[Place]:
        """Arm each field at addresses that are new; return the new places."""
        new = [one for one in spots if one.key not in self._spots]
        self._spots.update(one.key for one in new)
        added = []
        for number, member in enumerate(self.fields.members):
            for spot in new:
                place = Place(
                    number=len(self.places),
                    field=number,
                    address=spot.address + member.offset,
                    length_bytes=member.length,
                    paddr=(self.pfn << PAGE_SHIFT) + member.offset,
                    side=Mode.USER if spot.mm else Mode.KERNEL,
                    row=spot.row,
                    pid=spot.pid,
                    comm=spot.comm,
                    mm=spot.mm,
                    roots=spot.roots,
                    since_seconds=round(max(0, source.now() - start) / 1e9, 3),
                )
                if len(self.places) < _MOST_PLACES:
                    refused = source.arm(place)
                else:
                    refused = f"more than {_MOST_PLACES} places: choose fewer fields"
                added.append(replace(place, refused=refused))
                self.places.append(added[-1])
        return added

    def _watch(
        self,
        source: Source,
        start: int,
        decoder: Decoder,
        check: ProtocolCheck | None,
        asked: _Asked,
    ) -> str:
        """Pass on events until the end; return why it ended."""
        end = None if self.asked.seconds is None else start + round(self.asked.seconds * 1e9)
        next_sweep = source.now() + _SWEEP_NS
        while not asked.to_end:
            for hit in source.hits(_WAIT_SECONDS):
                if end is not None and hit.ns >= end:
                    break
                self._take(hit, decoder, check)
                if self.asked.count is not None and decoder.events >= self.asked.count:
                    return f"{self.asked.count} events"
                if hit.ns >= next_sweep or asked.to_end:
                    break
            now = source.now()
            if end is not None and now >= end:
                return f"{self.asked.seconds:g} seconds"
            if now >= next_sweep:
                self._look_for_more(source, start)
                took = source.now() - now
                next_sweep = source.now() + max(_SWEEP_NS, _SWEEP_SHARE * took)
        for place in self.places:
            source.disarm(place.number)
        for hit in source.hits(0):  # what happened until now
            self._take(hit, decoder, check)
        return "interrupted"

    def _take(self, hit: Hit, decoder: Decoder, check: ProtocolCheck | None) -> None:
        event = decoder.event(hit)
        if check is not None and (wrong := check.see(event)):
            event = replace(event, wrong=wrong)
        self.sink.event(event)

    def _look_for_more(self, source: Source, start: int) -> None:
        """Arm mappings that appeared, and disarm those that have gone."""
        spots = frame_spots(self.target, self.paging, self.walker, self.pfn)
        for place in self._arm(source, start, spots.found):
            self.sink.place(place)
        here = {one.key for one in spots.found}
        if spots.doubts:
            return
        for place in self.places:
            offset = self.fields.members[place.field].offset
            key = place.mm, place.address - offset
            if place.side is Mode.USER and key in self._spots and key not in here:
                source.disarm(place.number)
        self._spots &= here

    def _end(
        self,
        source: Source,
        decoder: Decoder,
        check: ProtocolCheck | None,
        why: str,
        seconds: float,
    ) -> WatchEnd:
        findings: tuple[Finding, ...] = () if check is None else check.findings
        refused = any(one.refused for one in self.places)
        lost = source.lost or decoder.missed or source.blind
        doubtful = refused or lost or not decoder.events
        code = Exit.WRONG if findings else Exit.UNDECIDED if doubtful else Exit.SOUND
        notes = tuple(filter(None, [source.left]))
        if check is not None and check.more:
            notes += (f"{check.more} more unsynchronized accesses of other kinds",)
        return WatchEnd(
            seconds=seconds,
            events=decoder.events,
            lost=source.lost,
            missed=decoder.missed,
            why=why,
            notes=notes,
            counts=decoder.counts,
            findings=findings,
            exit_code=code,
        )
