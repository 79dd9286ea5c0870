# SPDX-License-Identifier: GPL-2.0-or-later
"""Forks of a process that has used drgn; tests/vmcore/test_damage.py has a complete run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

#: drgn builds its index with OpenMP at the first look-up. The child builds one too, if allowed.
PROGRAM = """
import os, sys
import drgn
from pageproof.errors import PageproofError
from pageproof.attach.forks import check_fork

def look_up():
    prog = drgn.Program()
    prog.set_pid(os.getpid())
    prog.extra_module("debug", create=True).try_file(sys.argv[1])
    return prog.type("struct thing").size

def child(after=lambda: None):
    pid = os.fork()
    if pid == 0:
        try:
            check_fork()
            print(look_up(), flush=True)
            after()
        except PageproofError as error:
            print("forked" if "spawn" in error.remedy else error, flush=True)
            after()
        os._exit(0)
    os.waitpid(pid, 0)

if "unused" not in sys.argv:
    check_fork()
    look_up()
child(child if "twice" in sys.argv else lambda: None)
print(look_up())
"""


@pytest.fixture(scope="module")
def debug(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with DWARF."""
    path = tmp_path_factory.mktemp("debug") / "thing.o"
    assert shutil.which("gcc")
    subprocess.run(
        ["gcc", "-g", "-shared", "-Wl,--build-id", "-x", "c", "-", "-o", str(path)],
        input="struct thing { char bytes[48]; } thing;",
        text=True,
        check=True,
    )
    return path


@pytest.mark.parametrize(
    ("words", "threads", "said"),
    [
        ((), "2", ["forked", "48"]),
        (("twice",), "2", ["forked", "forked", "48"]),
        (("unused",), "2", ["48", "48"]),  # a fork before the first use
        ((), "1", ["48", "48"]),
    ],
)
def test_a_child_works_or_is_told(
    debug: Path, words: tuple[str, ...], threads: str, said: list[str]
) -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": threads}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(debug), *words],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout.split(), done.stderr) == (said, "")
