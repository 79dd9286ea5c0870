# SPDX-License-Identifier: GPL-2.0-or-later
"""Types from BTF and symbols from kallsyms, against DWARF and vmlinux on the same guest."""

import gc
import json
import re
import subprocess
from pathlib import Path

import drgn
import pytest
from machine import Machine, each_kernel, each_kernel_with_one_cpu, pageproof

from pageproof.attach import DebugInfo, Wanted, open_target
from pageproof.attach.btf.variables import names
from pageproof.model.kinds import UMH_SHM

#: What differs between two runs, or is known without DWARF only up to the next symbol.
MASKED = (
    (r"(?s)\(attach .*?\)|in [0-9.]+ s", ""),  # the line may be wrapped
    (r'"(attach|debug_info|verify|\w+)_seconds": [0-9.]+', ""),
    (r"sha256 [0-9a-f]+", ""),  # the vvar page has the time
    (r"(?m)^note +types: BTF.*\n(?: {9}.*\n)*", ""),
)


def system_map(machine: Machine, tmp_path: Path) -> tuple[Path, ...]:
    """Return the kernel's System.map where VMCOREINFO does not name kallsyms."""
    if machine.setup.kernel != "5.10":
        return ()
    path = tmp_path / "System.map"
    listed = subprocess.run(
        ["nm", "-n", machine.kernel.vmlinux], capture_output=True, text=True, check=True
    )
    path.write_text("".join(x for x in listed.stdout.splitlines(True) if x[17] not in "aUN"))
    return (path,)


def masked(text: str) -> str:
    for pattern, instead in MASKED:
        text = re.sub(pattern, instead, text)
    return text


def plain(kind: drgn.Type) -> object:
    """Return a type as data: without typedefs, and without the qualifiers of the whole."""
    if kind.kind is drgn.TypeKind.TYPEDEF:
        return plain(kind.type)
    if kind.kind is drgn.TypeKind.ARRAY:
        return kind.length, plain(kind.type)
    if kind.kind is drgn.TypeKind.POINTER:
        return "pointer", plain(kind.type)
    if kind.kind is drgn.TypeKind.ENUM:
        return kind.tag, [tuple(one) for one in kind.enumerators or ()]
    if kind.kind in (drgn.TypeKind.STRUCT, drgn.TypeKind.UNION):
        members = None if kind.members is None else [members_of(one) for one in kind.members]
        return kind.kind, kind.tag, kind.size, members
    return kind.kind, kind.size if kind.kind is not drgn.TypeKind.VOID else 0


def members_of(member: drgn.TypeMember) -> object:
    return member.name, member.bit_offset, member.bit_field_size


def variables(machine: Machine, form: DebugInfo, files: tuple[Path, ...]) -> dict[str, object]:
    """Return (address, type) of each variable of the table that the kernel has."""
    wanted = Wanted(str(machine.guest.sockets.qmp), symbols=files, debug_info=form)
    found: dict[str, object] = {}
    target = open_target(wanted, [UMH_SHM])
    for name in names():
        try:
            one = target.prog.variable(name)
        except LookupError:
            continue
        if one.address_ is not None:
            found[name] = one.address_, plain(one.type_)
    del target, one
    gc.collect()  # QEMU's socket serves one client
    return found


@each_kernel
def test_variables(loaded: Machine, tmp_path: Path) -> None:
    dwarf = variables(loaded, DebugInfo.DWARF, (loaded.kernel.vmlinux, loaded.built.module))
    btf = variables(loaded, DebugInfo.BTF, system_map(loaded, tmp_path))
    assert len(btf) > 50
    for name in sorted(dwarf | btf):
        assert btf.get(name) == dwarf.get(name), name


COMMANDS = (
    ("regions",),
    ("verify",),
    ("kmap",),
    ("audit",),
    ("maps", "--pid", "1"),
    ("alias", "KERNEL"),
    ("walk", "KERNEL"),
    ("walk", "--pid", "PID", "USER"),
    ("whatis", "KERNEL"),
    ("whatis", "system_state"),
    ("whatis", "modules"),
    ("whatis", "--cpu", "0", "runqueues"),
)


@each_kernel_with_one_cpu
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_equal_reports(loaded: Machine, tmp_path: Path, words: tuple[str, ...]) -> None:
    pid, user = loaded.helper_address()
    region = loaded.outside("verify", "--format", "json").report["region"]
    places = {"KERNEL": region["kernel_address"], "PID": pid, "USER": user}
    words = tuple(places.get(word, word) for word in words)
    socket = "--qemu", str(loaded.guest.sockets.qmp)
    files = [word for path in system_map(loaded, tmp_path) for word in ("-s", str(path))]
    dwarf = pageproof(*socket, *loaded.symbols, "--debug-info", "dwarf", *words)
    btf = pageproof(*socket, *files, "--debug-info", "btf", *words)
    assert "types: BTF from the target" in btf.out, btf.err
    assert masked(btf.out) == masked(dwarf.out)
    assert btf.code == dwarf.code


@each_kernel_with_one_cpu
def test_inside(loaded: Machine) -> None:
    report = loaded.inside("--debug-info", "btf", "verify", "--format", "json").report
    assert any("types: BTF from sysfs" in note for note in report["target"]["notes"])
    assert "SAME" in json.dumps(report)
