# SPDX-License-Identifier: GPL-2.0-or-later
"""Reports with types from DWARF and with types from BTF, which must be equal."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bothforms import difference
from machine import COMMAND_SECONDS, ROOT, Machine, environment

from pageproof.model.kinds import OWN_KINDS, UMH_SHM, VDSO

PROGRAM = ROOT / "tests/bothforms.py"
#: Kinds whose types have no BTF: that of modules is since 5.11, and Debian's headers of 6.1 lack
#: what building it needs.
NO_BTF = {"5.10": {UMH_SHM, "kvm", "udmabuf", "uio"}, "6.1": {UMH_SHM}}


def commands(
    machine: Machine, kernel: str, pid: str, user: str, *, live: bool
) -> list[tuple[str, ...]]:
    """Return all commands that read a target.

    Args:
        machine: where the target comes from.
        kernel: an address of the kernel.
        pid: a process that sleeps.
        user: an address in it.
        live: it runs. Then processes come and go, and each maps the vDSO.
    """
    wanted = OWN_KINDS - NO_BTF.get(machine.setup.kernel, set())
    if live:
        wanted -= {VDSO}
    kinds = [word for kind in sorted(wanted) for word in ("--kind", kind)]
    return [
        ("regions", *kinds),
        ("verify", *kinds),
        ("walk", kernel),
        ("walk", "--pid", pid, user),
        ("maps", "--pid", pid),
        ("kmap",),
        ("whatis", kernel),
        ("whatis", "system_state"),
        ("whatis", "modules"),
        ("whatis", "--cpu", "0", "runqueues"),
        ("alias", kernel),
        ("audit",),
    ]


def system_map(machine: Machine, folder: Path) -> tuple[Path, ...]:
    """Return the kernel's System.map where VMCOREINFO does not name kallsyms (before 6.0)."""
    if machine.setup.kernel != "5.10":
        return ()
    return (system_map_of(machine.kernel.vmlinux, folder / "System.map"),)


def system_map_of(vmlinux: Path, path: Path) -> Path:
    """Write a System.map as scripts/mksysmap does."""
    listed = subprocess.run(["nm", "-n", vmlinux], capture_output=True, text=True, check=True)
    path.write_text("".join(x for x in listed.stdout.splitlines(True) if x[17] not in "aUN"))
    return path


def request(
    asked: Sequence[tuple[str, ...]], dwarf: Sequence[object], btf: Sequence[object], core: str = ""
) -> str:
    """Return what tests/bothforms.py reads."""
    symbols = {"dwarf": list(map(str, dwarf)), "btf": list(map(str, btf))}
    return json.dumps({"core": core, "symbols": symbols, "commands": asked})


def on_the_host(asked: str) -> str:
    """Run tests/bothforms.py here; return its output."""
    ran = subprocess.run(
        [sys.executable, PROGRAM],
        input=asked,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def in_the_guest(machine: Machine, asked: str) -> str:
    """Run tests/bothforms.py inside; return its output."""
    machine.guest.check("sh", "-c", "cat > /run/bothforms.py", stdin=PROGRAM.read_bytes())
    paths = "PYTHONPATH=/opt/pageproof/drgn_scripts:/opt/pageproof/lib"
    return machine.guest.check(
        *("env", paths, "python3", "/run/bothforms.py"),
        stdin=asked.encode(),
        timeout_seconds=COMMAND_SECONDS,
    )


def check_equal(out: str, source: str) -> int:
    """Compare the reports of tests/bothforms.py. Returns the number of commands.

    Args:
        out: what it printed.
        source: where the types of BTF must come from.
    """
    lines: list[list[Any]] = [json.loads(line) for line in out.splitlines()]
    notes = {form: text for name, form, text in lines if name == "notes"}
    assert not any("BTF" in note for note in notes["dwarf"])
    assert any(f"types: BTF from {source}" in note for note in notes["btf"]), notes
    answers = lines[len(notes) :]
    for (name, _, dwarf), (_, _, btf) in zip(answers[::2], answers[1::2], strict=True):
        assert dwarf[0] == btf[0] and dwarf[0] in (0, 1, 3), (name, dwarf, btf)
        found = difference(json.loads(dwarf[1]), json.loads(btf[1]))
        assert not found, f"{name}: {found}"
        assert btf[2] == dwarf[2], name
    return len(answers) // 2
