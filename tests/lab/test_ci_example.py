# SPDX-License-Identifier: GPL-2.0-or-later
"""The example of docs/ci.md, as CI runs it: a sound driver passes, and a careless one fails."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from junit import cases, parse
from machine import PYTHONPATH, ROOT, Result, pageproof

EXAMPLE = ROOT / "tests" / "ci_example"
VERDICT = "verdict: ring_user, pages 0-3"


@pytest.fixture(scope="module")
def ci(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Result, Path]]:
    """Return a function that runs ci.sh; it gives the result and the directory of the files."""
    top = tmp_path_factory.mktemp("ci")
    command = top / "bin" / "pageproof"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m pageproof "$@"\n')
    command.chmod(0o755)

    def run(*words: str) -> tuple[Result, Path]:
        into = top / ("-".join(words) or "sound")
        runtime = into / "run"
        runtime.mkdir(parents=True)
        done = subprocess.run(
            [EXAMPLE / "ci.sh", *words],
            env={
                **os.environ,
                "PATH": f"{command.parent}:{os.environ['PATH']}",
                "PYTHONPATH": PYTHONPATH,
                "XDG_RUNTIME_DIR": str(runtime),
                "OUT": str(into),
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert not list((runtime / "pageproof").iterdir()), "a guest is left"
        return Result(done.returncode, done.stdout, done.stderr), into

    return run


def test_green_and_red(ci: Callable[..., tuple[Result, Path]]) -> None:
    sound, good = ci()
    assert sound.code == 0, sound.out + sound.err
    assert "4 pages: 4 SAME" in sound.out
    root = parse((good / "junit.xml").read_text(encoding="utf-8"))
    found = {name.rpartition("/")[2]: outcome for name, outcome in cases(root).items()}
    assert set(found.values()) == {""}
    assert {VERDICT, "rule wrong-frame", "rule private-copy", "rule frame-is-free"} <= found.keys()

    wrong, bad = ci("careless", "private")
    assert wrong.code == 1, wrong.out + wrong.err
    root = parse((bad / "junit.xml").read_text(encoding="utf-8"))
    failed = {name.rpartition("/")[2] for name, outcome in cases(root).items() if outcome}
    assert failed == {VERDICT, "rule private-copy"}
    # CI must recognise a case, so its name may not change from boot to boot.
    assert cases(root).keys() == cases(parse((good / "junit.xml").read_text("utf-8"))).keys()

    diff = pageproof("diff", good / "report.json", bad / "report.json", "--format", "json")
    assert diff.code == 1, diff.out + diff.err
    assert diff.report["boot"]
    new = {one["finding"]["id"] for one in diff.report["findings"] if one["change"] == "new"}
    assert "private-copy" in new
    assert json.loads((good / "report.json").read_text())["summary"]["exit_code"] == 0
