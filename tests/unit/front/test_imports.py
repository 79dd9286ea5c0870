# SPDX-License-Identifier: GPL-2.0-or-later
"""What a command loads, and when: most of its start would be imports otherwise."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import pageproof
from pageproof.front import COMMANDS
from pageproof.front.command import load_parts

PACKAGE_ROOT = str(Path(pageproof.__file__).parent.parent)
#: What no command needs before it has read debug info.
LATE = (
    "pageproof.commands",
    "pageproof.find.bulk",
    "pageproof.find.shared",
    "pageproof.judge",
    "pageproof.model.commands",
    "pageproof.model.kmap",
    "pageproof.model.report",
    "pageproof.model.whatis",
    "pageproof.observe",
    "pageproof.render.table",
    "pageproof.walk",
    "rich",
)
RUN = """
import sys
from pageproof import cli
try:
    cli.main(sys.argv[1:])
except SystemExit:
    pass
print("loaded", *sys.modules)
"""


def loaded(program: str, *words: str) -> set[str]:
    """Return the modules that a program has loaded at its end."""
    got = subprocess.run(
        [sys.executable, "-c", program, *words],
        env={**os.environ, "PYTHONPATH": PACKAGE_ROOT},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return set(got.stdout.rpartition("loaded ")[2].split())


@pytest.mark.parametrize("words", [["--help"], ["verify", "--help"], ["verify", "--no-such"]])
def test_help_and_wrong_usage(words: list[str]) -> None:
    found = loaded(RUN, *words)
    assert "pageproof.front.verify" in found
    assert found.isdisjoint((*LATE, "drgn", "pageproof.arch", "pageproof.attach"))
    assert {one for one in found if one.startswith("pageproof.model.")} <= {"pageproof.model.kinds"}


@pytest.mark.parametrize("words", [["verify", "--kind", "umh_shm"], ["maps", "--pid", "1"]])
def test_before_debug_info(words: list[str]) -> None:
    found = loaded(RUN, "-c", "/nonexistent/vmcore", *words)
    assert "pageproof.attach.dumpfile" in found
    assert found.isdisjoint(LATE)


@pytest.mark.parametrize("command", [one.name for one in COMMANDS])
def test_parts(command: str) -> None:
    """These modules have the names that load_parts() expects. It hides the error if one has not."""
    program = (
        "import sys; from pageproof.front import command; command.need_drgn();"
        f"command.load_parts({command!r}, 'text'); print('loaded', *sys.modules)"
    )
    assert loaded(program) >= {
        f"pageproof.commands.{command}",
        "pageproof.render.table",
        f"pageproof.render.draw.{command}",
        "pageproof.render.textform",
    }


def test_an_error_is_left_for_the_command() -> None:
    load_parts("no_such_command", "text")
