# SPDX-License-Identifier: GPL-2.0-or-later
"""How often what moves is looked at."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pageproof.errors import PageproofError, TornError
from pageproof.observe import attempts
from pageproof.observe.attempts import ATTEMPTS, look_again, look_until, nothing_new


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "PAUSE_SECONDS", 0)


def looks(*seen: int | Exception) -> Callable[[], int]:
    """One after the other; an error is raised."""
    left = list(seen)

    def look() -> int:
        one = left.pop(0)
        if isinstance(one, Exception):
            raise one
        return one

    return look


def test_until_it_has_settled() -> None:
    assert look_until(lambda seen: seen > 2, looks(1, 2, 3, 4), live=True) == (3, 3)
    assert look_until(lambda seen: False, looks(*range(9)), live=True) == (ATTEMPTS - 1, ATTEMPTS)


def test_once_where_nothing_moves() -> None:
    assert look_until(lambda seen: False, looks(1, 2), live=False) == (1, 1)


def test_what_was_torn_is_looked_at_again() -> None:
    assert look_until(lambda _: True, looks(TornError("a"), TornError("b"), 3), live=True) == (3, 3)
    assert look_again(looks(TornError("a"), 2), live=True) == 2


def test_what_stays_torn_is_an_error() -> None:
    torn = [TornError(str(number)) for number in range(9)]
    with pytest.raises(TornError, match=f"^{ATTEMPTS - 1}$"):
        look_again(looks(*torn), live=True)
    with pytest.raises(TornError, match=r"^0$"):
        look_again(looks(*torn), live=False)


def test_another_error_is_one_at_once() -> None:
    with pytest.raises(PageproofError, match=r"^no process$"):
        look_again(looks(PageproofError("no process"), 2), live=True)


@pytest.mark.parametrize(
    ("losses", "looked"),
    [
        (["", "b"], 1),
        (["a", "a", "b"], 2),
        (["ab", "a", "b"], 2),  # one of them can be read now
        (["a", "ab", "abc", "b", "b"], 4),
        (["a", "b", "a", "b", "a"], 5),
        (["a", "", "b"], 2),
    ],
)
def test_what_is_lost_twice_is_not_in_motion(losses: list[str], looked: int) -> None:
    left = list(losses)
    found = look_until(nothing_new(lambda seen: seen), lambda: left.pop(0), live=True)
    assert found == (losses[looked - 1], looked)
