# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of the Makefiles: help lists the targets that exist."""

import re
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def make(*arguments: str) -> str:
    return subprocess.run(
        ["make", *arguments], cwd=REPOSITORY, check=True, capture_output=True, text=True
    ).stdout


def test_make_alone_prints_help() -> None:
    listed = re.findall(r"^  ([a-z-]+) +\S", make(), re.MULTILINE)
    for target in ("demo", "test", "build", "module", "helper", "lint", "bench", "clean"):
        assert target in listed


def test_every_target_in_help_exists() -> None:
    for target in re.findall(r"^  ([a-z-]+) +\S", make(), re.MULTILINE):
        assert make("--dry-run", target)


def test_every_target_is_in_help() -> None:
    text = (REPOSITORY / "Makefile").read_text()
    phony = set(re.findall(r"\S+", re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)[1]))  # type: ignore[index]
    assert phony == set(re.findall(r"^([a-z-]+):.*## ", text, re.MULTILINE))


def test_the_top_makefile_is_short() -> None:
    assert len((REPOSITORY / "Makefile").read_text().splitlines()) < 100
