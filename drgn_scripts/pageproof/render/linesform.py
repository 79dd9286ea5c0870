# SPDX-License-Identifier: GPL-2.0-or-later
"""A watch as JSON lines: one record a line, each with its kind in ``record``."""

from __future__ import annotations

import json
from typing import Any

from pageproof.model.watch import Event, Place, WatchEnd, WatchStart
from pageproof.render import Write
from pageproof.render.jsonform import report_to_json
from pageproof.render.printable import printable_json


class JsonTimeline:
    """Writes a watch as JSON lines.

    Args:
        write: receives the text.
    """

    def __init__(self, write: Write) -> None:
        self._write = write

    def start(self, start: WatchStart) -> None:
        """Write what is watched."""
        self._record("start", start)

    def place(self, place: Place) -> None:
        """Write a place of a mapping that appeared later."""
        self._record("place", place)

    def event(self, event: Event) -> None:
        """Write an access."""
        self._record("event", event)

    def end(self, end: WatchEnd) -> None:
        """Write the sum."""
        self._record("end", end)

    def _record(self, name: str, value: Any) -> None:
        data = {"record": name, **json.loads(report_to_json(value))}
        self._write(printable_json(json.dumps(data, ensure_ascii=False)) + "\n")
