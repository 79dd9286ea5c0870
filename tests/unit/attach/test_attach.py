# SPDX-License-Identifier: GPL-2.0-or-later
"""Plugins and debug info of a target's program; tests/live/test_attach.py has the rest."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pageproof.attach.debuginfo import _build_id
from pageproof.errors import PageproofError

PROGRAM = """
import os, sys, drgn
from pageproof.attach import target
target.leave_out_shell_plugins()
drgn.Program().set_pid(os.getpid())
print("drgn.commands._crash" in sys.modules, "mine" in sys.modules)
"""


@pytest.mark.parametrize("disabled", [None, "others*"])
def test_a_users_plugins_are_loaded_and_the_shells_commands_not(
    tmp_path: Path, disabled: str | None
) -> None:
    (tmp_path / "mine.py").write_text("")
    environment = {**os.environ, "DRGN_PLUGINS": "mine=mine"}
    if disabled is not None:
        environment["DRGN_DISABLE_PLUGINS"] = disabled
    environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True
    )
    assert done.stdout.split() == ["False", "True"], done.stderr


def test_debug_info_from_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "vmlinux")
    with pytest.raises(PageproofError, match="this is a pipe, not a file"):
        _build_id(tmp_path / "vmlinux")
    with pytest.raises(PageproofError, match="this is a directory, not a file"):
        _build_id(tmp_path)
