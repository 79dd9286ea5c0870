# SPDX-License-Identifier: GPL-2.0-or-later
"""Run commands on one target twice in one process: with types from DWARF, and from BTF.

As a program, on the host or in a guest: reads a request (JSON) from its standard input, and prints
the code and the output of each command for each form. A running kernel changes meanwhile, so if
reports differ, the command is run again for both, a few times.
"""

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

from pageproof.attach import DebugInfo, Wanted, open_target
from pageproof.cli import main_in_drgn
from pageproof.model.kinds import UMH_SHM

LOOKS = 4
#: Durations, how often the page with the time was read, its digest, and notes on that. Exiting
#: processes mark the pages that they mapped as referenced (mark_page_accessed()).
CHANGING = (
    *(".times", ".seconds", ".attempts", ".sha256", ".content_stable", ".notes"),
    *(".page.flags", ".page.flags_words"),
)
CHANGING_FINDINGS = ("content-changing", "content-routes-differ")


def difference(one: object, other: object, path: str = "") -> str:
    """Return where two reports differ first; "" if only in what changes from run to run."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        pairs = [(f"{path}.{key}", one[key], other[key]) for key in one]
        pairs = [pair for pair in pairs if not pair[0].endswith(CHANGING)]
    elif isinstance(one, list) and isinstance(other, list):
        one, other = still(one), still(other)
        if len(one) != len(other):
            return f"{path}: {one!r}, {other!r}"
        pairs = [(f"{path}[{i}]", *two) for i, two in enumerate(zip(one, other, strict=True))]
    else:
        return "" if one == other else f"{path}: {one!r}, {other!r}"
    return next((found for at, a, b in pairs if (found := difference(a, b, at))), "")


def still(items: list[Any]) -> list[Any]:
    """Return a list without findings that come and go with the time."""
    return [
        one for one in items if not (isinstance(one, dict) and one.get("id") in CHANGING_FINDINGS)
    ]


def run(prog: object, words: list[str]) -> tuple[int, str, str]:
    """Return exit code, stdout and stderr of a command."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main_in_drgn(prog, words[0], [*words[1:], "--format", "json"], "")
    return code, out.getvalue(), err.getvalue()


def run_equal(programs: dict[str, object], words: list[str]) -> dict[str, tuple[int, str, str]]:
    """Run a command on each program until the reports are equal."""
    for _ in range(LOOKS):
        answers = {form: run(prog, words) for form, prog in programs.items()}
        one, other = (json.loads(answer[1] or "null") for answer in answers.values())
        if not difference(one, other):
            break
    return answers


def main() -> None:
    asked = json.load(sys.stdin)
    core = Path(asked["core"]) if asked["core"] else None
    programs = {}
    for form, files in asked["symbols"].items():
        wanted = Wanted(core=core, symbols=tuple(map(Path, files)), debug_info=DebugInfo(form))
        target = open_target(wanted, [UMH_SHM])
        programs[form] = target.prog
        print(json.dumps(["notes", form, list(target.facts.notes)]))
    for words in asked["commands"]:
        for form, answer in run_equal(programs, words).items():
            print(json.dumps([" ".join(words), form, answer]))


if __name__ == "__main__":
    main()
