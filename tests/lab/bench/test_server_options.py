# SPDX-License-Identifier: GPL-2.0-or-later
"""The options of `lab bench --part server`."""

import argparse

import pytest

from pageproof_lab import LabError
from pageproof_lab.bench.bench_server import LIMITS, Wishes
from pageproof_lab.bench.scenario import SCENARIOS
from pageproof_lab.bench.server_options import add_server_options, wishes_of
from pageproof_lab.bench.timed import Limits


def parse(*words: str, asked: bool = True) -> Wishes:
    parser = argparse.ArgumentParser()
    add_server_options(parser)
    return wishes_of(parser.parse_args(words), asked=asked)


def test_defaults() -> None:
    assert parse() == Wishes()
    assert Wishes().scenarios == tuple(SCENARIOS.values())
    assert Wishes().limits == LIMITS
    assert parse(asked=False) == Wishes()


def test_selected() -> None:
    found = parse(
        *("--scenario", "vmas", "--target", "elf", "--processes", "8", "--vmas", "12"),
        *("--deadline", "60", "--most-memory", "500", "--no-growth"),
    )
    (scenario,) = found.scenarios
    assert (scenario.processes, scenario.vmas) == (8, 12)
    assert (found.targets, found.limits, found.growth) == (("elf",), Limits(60, 500), False)


def test_one_number_for_several_scenarios() -> None:
    """Each scenario uses what it has."""
    pages = [(one.vmas, one.memfd_pages) for one in parse("--vmas", "8", "--mib", "1").scenarios]
    assert pages == [(8, 8), (0, 256), (0, 256), (0, 256)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--processes", "0"), "--processes 0: must be 1 to 30000"),
        (("--vmas", "-1"), "--vmas -1: must be 1 to 60000"),
        (("--mib", "65537"), "--mib 65537: must be 1 to 65536"),
        (("--deadline", "0"), "--deadline 0: must be 1 to 3600 seconds"),
        (("--deadline", "nan"), "--deadline nan: must be 1 to 3600 seconds"),
        (("--most-memory", "3"), "--most-memory 3: must be at least 64 MiB"),
        (("--scenario", "buffer", "--vmas", "3"), "--vmas: only for --scenario vmas"),
        (("--keep", "a", "--kept", "b"), "--keep: not with --kept, which makes no dumps"),
        (("--scenario", "vmas", "--mib", "3"), "--mib: not for --scenario vmas; use --vmas"),
    ],
)
def test_mistakes(words: tuple[str, ...], said: str) -> None:
    with pytest.raises(LabError) as failed:
        parse(*words)
    assert str(failed.value) == said


@pytest.mark.parametrize(
    "words", [("--no-growth",), ("--deadline", "5"), ("--target", "elf"), ("--kept", "a")]
)
def test_without_the_part(words: tuple[str, ...]) -> None:
    with pytest.raises(LabError, match=f"^{words[0]}: only for --part server$"):
        parse(*words, asked=False)
