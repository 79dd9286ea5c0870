# SPDX-License-Identifier: GPL-2.0-or-later
"""The rule about makedumpfile's filter, and its twin in the capture environment."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from unit.kdump.machines import RECORDED

from pageproof_kdump import filter as rule
from pageproof_kdump.makedumpfile import Wanted, parse_arguments, program_of

PACKAGE = Path(rule.__file__).parent
PROGRAMS = json.loads((RECORDED / "makedumpfile.json").read_text())
INFO = "OSRELEASE=7.2\nOFFSET(page.compound_info)=8\nNUMBER(PAGE_SLAB_MAPCOUNT_VALUE)=1\n"


@pytest.mark.parametrize("version", PROGRAMS)
def test_what_real_programs_are(version: str) -> None:
    """Recorded strings of Debian's programs, and what each of them prints with -v."""
    one = PROGRAMS[version]
    program = program_of("/usr/bin/makedumpfile", one["strings"].encode())
    assert program.version == version
    said = dict(line.split("\t") for line in one["prints"].splitlines() if "\t" in line)
    enabled = {name for name, word in said.items() if word == "enabled"}
    assert program.compressions == frozenset({*enabled, "zlib"})


def test_keys_that_real_programs_read() -> None:
    unread = {
        version: [key.text for key in rule.unread_keys(INFO, one["strings"].encode())]
        for version, one in PROGRAMS.items()
    }
    assert unread == {
        "1.7.2": ["OFFSET(page.compound_info)", "NUMBER(PAGE_SLAB_MAPCOUNT_VALUE)"],
        "1.7.6": ["OFFSET(page.compound_info)"],
    }


def test_a_key_is_a_whole_line() -> None:
    assert rule.unread_keys("X_OFFSET(page.compound_info)=8\n", b"") == ()
    assert rule.unread_keys("OFFSET(page.compound_info)_X=8\n", b"") == ()


def test_the_capture_environment_has_the_same_keys() -> None:
    """It is a shell script, which cannot import them."""
    places = (PACKAGE / "capture" / "init", PACKAGE.parent / "capture-init")
    script = next(path for path in places if path.is_file()).read_text()
    body = script[script.index("drops_slab() {") :].partition("\n}\n")[0]
    keys = set(re.findall(r"(?:OFFSET|NUMBER)\([\w.]+\)", body))
    assert keys == {key.text for key in rule.KEYS}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("-F -c -d 31", Wanted("-F -c -d 31", (31,), "zlib")),
        ("-l --message-level=7 -d 1,31", Wanted("-l --message-level=7 -d 1,31", (1, 31), "lzo")),
        ("", Wanted("")),
        ("-E -d 31", Wanted("-E -d 31", (31,))),
        ("-zd23", Wanted("-zd23", (23,), "zstd")),
        ("-d 32", None),
        ("-d x", None),
        ("--no-such", None),
        ("-c 'open", None),
    ],
)
def test_arguments(text: str, wanted: Wanted | None) -> None:
    assert parse_arguments(text) == wanted


def test_a_program_that_is_something_else() -> None:
    assert program_of("/bin/sh", b"#!/bin/sh\n").compressions is None


@pytest.mark.parametrize(
    ("release", "numbers"),
    [("7.2.12+deb13-amd64", (7, 2)), ("6.10-rc1", (6, 10)), ("x", None), ("6", None), ("", None)],
)
def test_numbers_of_releases(release: str, numbers: tuple[int, int] | None) -> None:
    assert rule.release_numbers(release) == numbers


def test_words_of_levels() -> None:
    assert rule.level_words(0) == "nothing"
    assert rule.level_words(24) == "data of processes, free pages"
    assert rule.sound_level(31) == 23


@pytest.mark.parametrize(
    ("release", "version", "kept"),
    [
        ("6.12.1", "1.7.6", True),
        ("6.12.1", "1.7.7", False),
        ("7.2.12", "1.7.9", False),
        ("7.2.12", "", True),
        ("6.1.0", "1.7.2", False),
        ("strange", "1.7.2", True),
    ],
)
def test_free_pages(release: str, version: str, kept: bool) -> None:
    assert rule.keeps_free_pages(release, version) is kept
