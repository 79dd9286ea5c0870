# SPDX-License-Identifier: GPL-2.0-or-later
"""A watch as text: what is watched, a timeline with a column for each side, and the sum."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Final

from pageproof.model.watch import (
    Access,
    CodePlace,
    Context,
    Event,
    Mode,
    Place,
    WatchEnd,
    WatchStart,
)
from pageproof.render import Options, Write, phrases, styles
from pageproof.render.draw.common import draw_head
from pageproof.render.printable import printable
from pageproof.render.sheet import Column, Fact, Sheet

#: Columns before the sides: seconds and CPU.
_MARGIN: Final = 17
#: Places that are listed one by one.
_PLACES: Final = 12
_VERBS: Final = {Access.READ: "reads", Access.WRITE: "writes", Access.ACCESS: "uses"}
_HOW: Final = {
    "gdb": "every access, by QEMU's gdb stub",
    "perf": "every access, by hardware breakpoints",
    "sample": "accessed and dirty bits, read again and again: which entries were used, not when or "
    "how often",
}


class TextTimeline:
    """Writes a watch as text.

    Args:
        write: receives the text.
        options: width, and whether to show stacks and every place.
    """

    def __init__(self, write: Write, options: Options) -> None:
        self._write, self._options = write, options
        self._fields: tuple[str, ...] = ()
        self._places: list[Place] = []
        self._half = max(30, (options.width - _MARGIN) // 2)
        self._offsets: tuple[int, ...] = ()
        self._later: set[tuple[int, int]] = set()
        self._last: tuple[object, ...] = ()
        self._more = 0

    def start(self, start: WatchStart) -> None:
        """Write what is watched, and the heading of the timeline."""
        self._fields = tuple(one.name for one in start.fields)
        self._offsets = tuple(one.offset_bytes for one in start.fields)
        self._places = list(start.places)
        sheet = Sheet(verbose=self._options.verbose)
        draw_head(start, sheet, self._head(start))
        self._sheet(sheet)
        left = "kernel".ljust(self._half)
        self._write(f"\n{'seconds':>11}  CPU  {left}user\n")

    def place(self, place: Place) -> None:
        """Write a line about a mapping that appeared later."""
        self._write_more()
        self._places.append(place)
        where = f"pid {place.pid} ({place.comm})" if place.pid else place.row
        first = place.address - self._offsets[place.field]
        if place.refused:
            name = self._fields[place.field]
            text = f"{where}: {name} at {phrases.address(place.address)}: {place.refused}"
        elif (place.mm, first) in self._later:
            return
        else:
            self._later.add((place.mm, first))
            text = f"{where}: a new mapping at {phrases.address(first)}, watched from now on"
        self._line(f"{place.since_seconds:>11.6f}       {printable(text)}")

    def event(self, event: Event) -> None:
        """Write an access in the column of its side; count it if the line above says the same."""
        place = self._places[event.place]
        if _is_news(event) or self._options.verbose:
            alike: tuple[object, ...] = ()
        else:
            alike = event.place, event.access, event.code.address, event.pid, event.after
        if alike and alike == self._last:
            self._more += 1
            return
        self._write_more()
        self._last = alike
        lines = list(self._lines(event, place))
        indent = " " * (self._half if place.side is Mode.USER else 0)
        cpu = "" if event.cpu < 0 else event.cpu
        head = f"{event.seconds:>11.6f}  {cpu:>3}  "
        for text in lines:
            width = max(30, self._options.width - _MARGIN - len(indent) + 1)
            for part in textwrap.wrap(printable(text), width, subsequent_indent="  "):
                self._line(f"{head}{indent}{part}")
                head = " " * len(head)

    def _write_more(self) -> None:
        if self._more:
            self._line(f"{' ' * _MARGIN}… {self._more} more of these")
        self._last, self._more = (), 0

    def _lines(self, event: Event, place: Place) -> Iterator[str]:
        name = self._fields[place.field]
        before, after = (phrases.clip(text, 60) for text in (event.before, event.after))
        value = (
            f": {after}"
            if event.access is Access.READ or before == after
            else (f": {before} -> {after}")
        )
        if not event.after:
            value = ""
        mark = "! " if event.wrong else ""
        yield f"{mark}{_VERBS[event.access]} {name}{value}"
        if event.code.address:
            yield f"  {_code(event.code)}, {_who(event, place)}"
        if event.wrong:
            yield f"  state {event.state}: {event.wrong}"
        if self._options.verbose:
            for one in event.stack:
                yield f"    {_code(one)}"

    def end(self, end: WatchEnd) -> None:
        """Write the sum, the findings and the last line."""
        self._write_more()
        sheet = Sheet(verbose=self._options.verbose)
        sheet.gap()
        sheet.table(
            (
                Column("accesses", right=True),
                Column("side"),
                Column("access"),
                Column("member"),
                Column("function", fold=True),
            ),
            [
                (
                    str(one.count),
                    one.side.value,
                    one.access.value,
                    self._fields[one.field],
                    one.function or "?",
                )
                for one in end.counts
            ],
        )
        if end.counts:
            sheet.gap()
        sheet.findings(end.findings)
        sheet.facts(("note", note) for note in end.notes)
        sheet.line(_sum(end), style=styles.of_exit(end.exit_code))
        self._sheet(sheet)

    def _head(self, start: WatchStart) -> Iterator[Fact]:
        yield "frame", f"PFN {start.pfn:#x}"
        yield "watched", ", ".join(self._fields)
        yield "by", _HOW[start.how]
        armed = [one for one in start.places if not one.refused]
        label = "at"
        seen = dict.fromkeys(
            (one.address - start.fields[one.field].offset_bytes, one.pid, one.comm, one.row)
            for one in armed
        )
        shown = list(seen) if self._options.verbose else list(seen)[:_PLACES]
        for address, pid, comm, row in shown:
            who = f"pid {pid} ({comm})" if pid else row
            yield label, f"{phrases.address(address)}, {who}"
            label = ""
        if len(seen) > len(shown):
            yield "", f"{len(seen) - len(shown)} more, -v lists each"
        for one in [one for one in start.places if one.refused][:_PLACES]:
            who = f"pid {one.pid}" if one.pid else one.row
            name = start.fields[one.field].name
            yield "refused", f"{name} at {phrases.address(one.address)} ({who}): {one.refused}"
        yield from (("note", note) for note in start.notes)

    def _line(self, text: str) -> None:
        self._write(f"{text.rstrip()}\n")

    def _sheet(self, sheet: Sheet) -> None:
        from pageproof.render.textform import write_sheet

        write_sheet(sheet, self._write, color=self._options.color, width=self._options.width)


def _is_news(event: Event) -> bool:
    """Return whether an access must not be summed up: it changed the value, or is wrong."""
    return bool(event.wrong) or (event.access is not Access.READ and event.before != event.after)


def _code(code: CodePlace) -> str:
    words = [code.symbol or phrases.address(code.address)]
    if code.module:
        words.append(f"[{code.module}]")
    if code.source:
        words.append(code.source)
    return " ".join(words)


def _who(event: Event, place: Place) -> str:
    task = f"{event.comm} (pid {event.pid})"
    if event.context is not Context.TASK:
        task = f"{event.context.value}, over {task}"
    if place.side is Mode.USER and event.mode is Mode.KERNEL:
        return f"the kernel for {task}"
    return task


def _sum(end: WatchEnd) -> str:
    parts = [f"{phrases.plural(end.events, 'access').replace('accesss', 'accesses')}"]
    if end.lost:
        parts.append(f"{end.lost} lost")
    if end.missed:
        parts.append(f"{phrases.plural(end.missed, 'write')} not seen")
    if end.findings:
        parts.append(phrases.plural(len(end.findings), "finding"))
    return f"{', '.join(parts)} in {end.seconds:.1f} s ({end.why})"
