# SPDX-License-Identifier: GPL-2.0-or-later
"""A watch as JUnit XML: a test case for the rule of the protocol, and one for completeness."""

from __future__ import annotations

from pageproof.model.watch import Event, Place, WatchEnd, WatchStart
from pageproof.render import Write, phrases
from pageproof.render.junit.suites import Case, Suite, suites_to_xml
from pageproof.render.where import where_words

_NAME = "pageproof watch"


class JUnitTimeline:
    """Writes a watch as JUnit XML when it ends.

    Args:
        write: receives the text.
        rule: id of the protocol's rule.
    """

    def __init__(self, write: Write, rule: str) -> None:
        self._write, self._rule = write, rule
        self._facts: dict[str, str] = {}
        self._refused: list[str] = []

    def start(self, start: WatchStart) -> None:
        """Remember what is watched."""
        self._facts = {
            "target": phrases.target(start.target),
            "kernel": start.target.release,
            "frame": f"{start.pfn:#x}",
            "fields": ", ".join(one.name for one in start.fields),
        }
        for one in start.places:
            self.place(one)

    def place(self, place: Place) -> None:
        """Remember a place that could not be armed."""
        if place.refused:
            self._refused.append(f"{phrases.address(place.address)}: {place.refused}")

    def event(self, event: Event) -> None:
        """Leave an access to the sum."""

    def end(self, end: WatchEnd) -> None:
        """Write all of it."""
        suite = Suite(_NAME, self._facts, place="pageproof.watch")
        case = Case(self._rule)
        if end.findings:
            case.fails("failure", phrases.plural(len(end.findings), "finding"))
            case.text = [f"{where_words(one.where)}: {one.sentence}" for one in end.findings]
        suite.cases.append(case)
        whole = Case("every access was seen")
        lacking = [
            *self._refused,
            *([f"{end.lost} accesses were lost"] if end.lost else []),
            *([f"{phrases.plural(end.missed, 'write')} was not seen"] if end.missed else []),
            *([] if end.events else ["there was no access"]),
        ]
        if lacking:
            whole.fails("error", lacking[0])
            whole.text = lacking
        suite.cases.append(whole)
        self._write(suites_to_xml(_NAME, end.seconds, [suite]))
