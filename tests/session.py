# SPDX-License-Identifier: GPL-2.0-or-later
"""Run several commands of pageproof in one drgn with pageproof's plugin.

Loading the kernel's debug info takes 20 s in an emulated guest, and one on the host.
"""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from machine import COMMAND_SECONDS, PYTHONPATH, Machine, Result

Questions = Mapping[str, Sequence[str]]

_PLUGIN = "DRGN_PLUGINS=pageproof=pageproof.drgn_plugin"
_SESSION = """
import json
from drgn.commands import run_command
for name, line in {lines!r}.items():
    file = f"{folder}/{{name}}"
    code = run_command(prog, f"{{line}} > {{file}}.json 2> {{file}}.err")
    text = [open(f"{{file}}.{{end}}").read() for end in ("json", "err")]
    print(json.dumps([name, code, *text]))
"""


def _session(questions: Questions, folder: str) -> bytes:
    lines = {
        name: shlex.join(("pageproof", *words, "--format", "json"))
        for name, words in questions.items()
    }
    return _SESSION.format(lines=lines, folder=folder).encode()


def _results(said: str) -> dict[str, Result]:
    return {name: Result(*rest) for name, *rest in map(json.loads, said.splitlines())}


def ask_inside(machine: Machine, questions: Questions, modules: Sequence[str]) -> dict[str, Result]:
    """Run commands inside the guest, with JSON output.

    Args:
        machine: its guest is used.
        questions: name -> words of the command; the name is used for a file too.
        modules: modules of tests/vm that need debug info.

    Returns:
        Name -> result.
    """
    script = _session(questions, "/run")
    machine.guest.check("sh", "-c", "cat > /run/session.py", stdin=script)
    symbols = [word for name in modules for word in ("-s", f"/opt/pageproof/vm/{name}.ko")]
    plugin = (_PLUGIN, "PYTHONPATH=/opt/pageproof/drgn_scripts:/opt/pageproof/lib")
    drgn = ("python3", "-m", "drgn", "--quiet", *symbols)
    return _results(
        machine.guest.check("env", *plugin, *drgn, "/run/session.py", timeout_seconds=600)
    )


def ask_outside(machine: Machine, questions: Questions) -> dict[str, Result]:
    """Run commands on the guest over QMP, with JSON output; returns name -> result."""
    with TemporaryDirectory() as folder:
        script = Path(folder, "session.py")
        script.write_bytes(_session(questions, folder))
        name, _, value = _PLUGIN.partition("=")
        ran = subprocess.run(
            [sys.executable, "-m", "drgn", "--quiet", *machine.target, script],
            env={**os.environ, "PYTHONPATH": PYTHONPATH, name: value},
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=True,
        )
        return _results(ran.stdout)
