# SPDX-License-Identifier: GPL-2.0-or-later
"""JSON that is written piece by piece: its form, and the memory that it takes."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from typing import Any

import pytest
from unit.facts import evidence, mapping, report
from unit.render.draw.test_verify import REPORTS

from pageproof.model import Finding, PageRun, ProvedUse, Report, Severity, Verdict
from pageproof.model.where import NOWHERE
from pageproof.render.jsonform import json_text, report_to_json, write_json

#: Longest piece: some thousand short strings.
PIECE_CHARACTERS = 1 << 17


def large(mappings: int) -> Report:
    """A region that many processes map."""
    one = report(evidence(), mappings=tuple(mapping(pid=pid + 1) for pid in range(mappings)))
    run = (PageRun(0, 1, Verdict.SAME, None),)
    uses = tuple(ProvedUse(number, 0, run) for number in range(mappings))
    return replace(one, regions=(replace(one.regions[0], uses=uses),))


@pytest.mark.parametrize("make", [*REPORTS, lambda: large(300)])
def test_the_form_is_that_of_the_json_module(make: Any) -> None:
    text = report_to_json(make())
    assert json_text(json.loads(text)) == text


@pytest.mark.parametrize(
    "sentence", ["größe 大小", '"\\\n\x1b', "\x7f\x9b\u202e\u2028", "\ud800", "\U000e0001"]
)
def test_strings_are_written_as_the_json_module_writes_them(sentence: str) -> None:
    finding = Finding("x", Severity.NOTE, NOWHERE, sentence, ((sentence, ""),))
    text = report_to_json(report(evidence(), findings=(finding,)))
    data = json.loads(text)
    assert data["findings"][0]["sentence"] == sentence
    assert json_text(data) == text


def test_pieces_are_bounded() -> None:
    one = large(3000)
    pieces: list[int] = []
    write_json(one, lambda text: pieces.append(len(text)))
    assert sum(pieces) == len(report_to_json(one)) > 20 * PIECE_CHARACTERS
    assert max(pieces) < PIECE_CHARACTERS


def test_memory_does_not_grow_with_the_report() -> None:
    peaks = []
    for mappings in (100, 3000):
        one = large(mappings)
        write_json(one, len)  # the writers of each type are made once
        tracemalloc.start()
        write_json(one, len)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + PIECE_CHARACTERS
