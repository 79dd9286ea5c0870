# SPDX-License-Identifier: GPL-2.0-or-later
"""The room that writes reports down: takes a report, gives text, computes nothing."""

from __future__ import annotations

from pageproof.render.aliastext import alias_to_text
from pageproof.render.drgncode import alias_to_drgn, maps_to_drgn, walk_to_drgn
from pageproof.render.jsonform import report_to_json
from pageproof.render.junit import report_to_junit
from pageproof.render.mapstext import maps_to_text
from pageproof.render.text import report_to_text
from pageproof.render.walktext import walk_to_text
from pageproof.render.whatis_drgn import whatis_to_drgn
from pageproof.render.whatistext import whatis_to_text

__all__ = [
    "alias_to_drgn",
    "alias_to_text",
    "maps_to_drgn",
    "maps_to_text",
    "report_to_json",
    "report_to_junit",
    "report_to_text",
    "walk_to_drgn",
    "walk_to_text",
    "whatis_to_drgn",
    "whatis_to_text",
]
