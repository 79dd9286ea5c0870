# SPDX-License-Identifier: GPL-2.0-or-later
"""Looking at what moves: walk, read, walk again, within bounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from unit.facts import LIVE, evidence, mapping, proof, user_walk

from pageproof.model import MappingFacts, PageEvidence, Reason, SecondOpinion, Verdict
from pageproof.observe import attempts, page

SOUND = evidence()
TORN = replace(SOUND, stable=False)
BUSY = replace(SOUND, content_stable=False)
DISPUTED = replace(SOUND, user_second=SecondOpinion(0x1000, 1))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "PAUSE_SECONDS", 0)


def in_turn(*looks: PageEvidence) -> Callable[[], PageEvidence]:
    """Each look in its turn, the last one for ever."""
    left = list(looks)
    return lambda: left.pop(0) if len(left) > 1 else left[0]


@pytest.mark.parametrize("first", [TORN, BUSY, DISPUTED], ids=["torn", "content", "disputed"])
def test_one_disturbed_look_is_followed_by_another(first: PageEvidence) -> None:
    got = page.settle(in_turn(first, SOUND), live=True)
    assert got == replace(SOUND, attempts=2)


def test_a_sound_look_is_enough() -> None:
    assert page.settle(in_turn(SOUND, TORN), live=True).attempts == 1


def test_what_never_settles_is_given_up() -> None:
    got = page.settle(in_turn(TORN), live=True)
    assert got.attempts == attempts.ATTEMPTS
    judged = proof(got, LIVE)
    assert (judged.verdict, judged.reason) == (Verdict.UNKNOWN, Reason.TORN)


def test_content_that_never_settles_leaves_the_verdict() -> None:
    got = page.settle(in_turn(BUSY), live=True)
    assert got.attempts == attempts.ATTEMPTS
    assert proof(got, LIVE).verdict is Verdict.SAME


def test_a_dump_is_looked_at_once() -> None:
    got = page.settle(in_turn(DISPUTED, SOUND), live=False)
    assert (got.attempts, got.user_second) == (1, DISPUTED.user_second)


# Mappings that go away


def test_a_mapping_that_is_still_there() -> None:
    (got,) = page.without_vanished([SOUND], [mapping()], [mapping(pid=7), mapping()])
    assert got.stable


@pytest.mark.parametrize(
    "after",
    [
        [],
        [replace(mapping(), mm=0xFFFF_8880_7777_0000)],
        [replace(mapping(), root=0x9999000)],
        [mapping(pid=200)],
        [mapping(first=1)],
    ],
    ids=[
        "ended",
        "another process in its place",
        "executed another program",
        "other tables",
        "mapped elsewhere",
    ],
)
def test_a_mapping_that_went_away_is_torn_whatever_was_seen(after: list[MappingFacts]) -> None:
    private = evidence(user=user_walk(frame=0x7654_3000))
    (got,) = page.without_vanished([private], [mapping()], after)
    assert proof(got, LIVE).reason is Reason.TORN
