# SPDX-License-Identifier: GPL-2.0-or-later
"""Run commands on one target twice in one process: with types from DWARF, and from BTF.

As a program, on the host or in a guest: reads a request (JSON) from its standard input, and prints
the code and the output of each command for each form. A running kernel changes meanwhile, so if
reports differ, the command is run again for both, a few times.
"""

import contextlib
import io
import json
import re
import sys
from pathlib import Path

from pageproof.attach import DebugInfo, Wanted, open_target
from pageproof.cli import main_in_drgn
from pageproof.model.kinds import UMH_SHM

LOOKS = 4
#: Durations, the digest of the page with the time, and how often it was read.
CHANGING = ("times", "seconds", "sha256", "attempts")
#: A digest in the evidence of a finding. Addresses begin with 0x.
_DIGEST = re.compile(r"\b[0-9a-f]{16}\b")


def difference(one: object, other: object, path: str = "") -> str:
    """Return where two reports differ first; "" if only in what changes from run to run."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        pairs = [(f"{path}.{key}", one[key], other[key]) for key in one if key not in CHANGING]
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = [(f"{path}[{i}]", *two) for i, two in enumerate(zip(one, other, strict=True))]
    else:
        same = _DIGEST.sub("", str(one)) == _DIGEST.sub("", str(other))
        return "" if same else f"{path}: {one!r}, {other!r}"
    return next((found for at, a, b in pairs if (found := difference(a, b, at))), "")


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
