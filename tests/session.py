# SPDX-License-Identifier: GPL-2.0-or-later
"""Several commands of pageproof inside a guest, by one drgn that has pageproof's plugin.

To load the kernel's debug info takes an emulated guest 20 s of its time.
"""

import json
import shlex
from collections.abc import Mapping, Sequence

from machine import Machine, Result

_PLUGIN = (
    "PYTHONPATH=/opt/pageproof/drgn_scripts:/opt/pageproof/lib",
    "DRGN_PLUGINS=pageproof=pageproof.drgn_plugin",
)
_SESSION = """
import json
from drgn.commands import run_command
for name, line in {lines!r}.items():
    code = run_command(prog, f"{{line}} > /run/{{name}}.json 2> /run/{{name}}.err")
    text = [open(f"/run/{{name}}.{{end}}").read() for end in ("json", "err")]
    print(json.dumps([name, code, *text]))
"""


def ask_inside(
    machine: Machine, questions: Mapping[str, Sequence[str]], modules: Sequence[str]
) -> dict[str, Result]:
    """What each command says in JSON, by its name.

    Args:
        machine: whose guest.
        questions: words of each command; a name is that of a file too.
        modules: of tests/vm, whose debug info is needed.
    """
    lines = {
        name: shlex.join(("pageproof", *words, "--format", "json"))
        for name, words in questions.items()
    }
    script = _SESSION.format(lines=lines).encode()
    machine.guest.check("sh", "-c", "cat > /run/session.py", stdin=script)
    symbols = [word for name in modules for word in ("-s", f"/opt/pageproof/vm/{name}.ko")]
    drgn = ("python3", "-m", "drgn", "--quiet", *symbols)
    said = machine.guest.check("env", *_PLUGIN, *drgn, "/run/session.py", timeout_seconds=600)
    return {name: Result(*rest) for name, *rest in map(json.loads, said.splitlines())}
