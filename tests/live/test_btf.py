# SPDX-License-Identifier: GPL-2.0-or-later
"""Types from BTF and symbols from kallsyms, against DWARF and vmlinux on the same guest."""

import gc
import random
import re
import subprocess
import sys
from pathlib import Path

import drgn
from equalforms import (
    NO_BTF,
    check_equal,
    commands,
    in_the_guest,
    request,
    system_map,
    system_map_of,
)
from machine import (
    COMMAND_SECONDS,
    Machine,
    each_kernel,
    each_kernel_with_btf,
    environment,
    pageproof,
)

from pageproof.attach import DebugInfo, Wanted, open_target
from pageproof.attach.btf.variables import names
from pageproof.model.kinds import UMH_SHM
from pageproof_lab.images import kernels

#: What differs between two runs, or is known without DWARF only up to the next symbol.
MASKED = (
    (r"(?s)\(attach .*?\)|in [0-9.]+ s", ""),  # the line may be wrapped
    (r'"(attach|debug_info|verify|\w+)_seconds": [0-9.]+', ""),
    (r"sha256 [0-9a-f]+", ""),  # the vvar page has the time
    (r"(?m)^target .*\n", ""),  # one of two sockets
    (r"(?m)^note +types: BTF.*\n(?: {9}.*\n)*", ""),
)


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


@each_kernel_with_btf
def test_equal_reports(loaded: Machine, tmp_path: Path) -> None:
    """From outside, as text, which has one line more."""
    pid, user = loaded.helper_address()
    region = loaded.outside("verify", "--format", "json").report["region"]
    socket = "--qemu", str(loaded.guest.sockets.qmp)
    files = [word for path in system_map(loaded, tmp_path) for word in ("-s", str(path))]
    for words in commands(loaded, region["kernel_address"], pid, user, live=True):
        dwarf = loaded.outside("--debug-info", "dwarf", *words)
        btf = pageproof(*socket, *files, "--debug-info", "btf", *words)
        assert "types: BTF from the target" in btf.out, btf.err
        assert masked(btf.out) == masked(dwarf.out), words
        assert btf.code == dwarf.code


@each_kernel_with_btf
def test_equal_reports_inside(loaded: Machine) -> None:
    pid, user = loaded.helper_address()
    region = loaded.outside("verify", "--format", "json").report["region"]
    asked = commands(loaded, region["kernel_address"], pid, user, live=True)
    dwarf = [f"/opt/pageproof/vm/{module.name}" for module in loaded.test_modules]
    assert check_equal(in_the_guest(loaded, request(asked, dwarf, ())), "sysfs") == len(asked)


TESTS = """
import pageproof


def test_it(pageproof_verify):
    proof = pageproof_verify(kinds=[{kind!r}])
    assert proof.report.summary.same
    assert any("types: BTF" in note for note in proof.report.target.notes)


def test_other():
    proof = pageproof.verify(qemu={socket!r}, kinds=[{kind!r}], debug_info="dwarf")
    assert proof.report.summary.same
    assert not any("types: BTF" in note for note in proof.report.target.notes)
"""


@each_kernel_with_btf
def test_a_drivers_own_tests(loaded: Machine, tmp_path: Path) -> None:
    """The option of the pytest plugin, and the argument of pageproof.verify()."""
    tests = tmp_path / "test_driver.py"
    socket = str(loaded.guest.sockets.qmp)
    kind = "vdso" if loaded.setup.kernel in NO_BTF else "umh_shm"
    tests.write_text(TESTS.format(socket=socket, kind=kind))
    words = ["-m", "pytest", "-p", "no:cacheprovider", "-p", "pageproof.pytest_plugin"]
    files = (f"--pageproof-symbols={path}" for path in system_map(loaded, tmp_path))
    options = [f"--pageproof-qemu={socket}", "--pageproof-debug-info=btf", *files]
    done = subprocess.run(
        [sys.executable, *words, *options, str(tests)],
        env=environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    assert "2 passed" in done.stdout, done.stdout


def spoiled_files(machine: Machine, folder: Path) -> list[tuple[str, Path, str]]:
    """Return (words of the error, file, what --debug-info is then)."""
    other = kernels.fetch("6.1" if machine.setup.kernel != "6.1" else "6.12").vmlinux
    whole = system_map_of(machine.kernel.vmlinux, folder / "whole.map").read_text()
    named = {
        "cut-vmlinux": machine.kernel.vmlinux.read_bytes()[: 1 << 20],
        "cut.map": whole[: len(whole) // 2].rpartition("\n")[0].encode(),
        "functions.map": "".join(
            line
            for line in whole.splitlines(True)
            # nm calls all data of 7.2 text.
            if (line[17] in "tTwW" and line.split()[2] != "init_task")
            or line.split()[2] in ("init_uts_ns", "linux_banner", "_end")
        ).encode(),
        "middle.map": whole[: len(whole) // 2].encode() + b" ",
        "garbage": random.Random(1).randbytes(5000),
        "empty": b"",
    }
    for name, data in named.items():
        (folder / name).write_bytes(data)
    text = "this is no table of symbols: byte"
    return [
        ("wrong vmlinux: its BTF is not the one", other, "btf"),
        ("its section headers: it is cut off", folder / "cut-vmlinux", "btf"),
        ("this file has no BTF", Path(sys.executable).resolve(), "btf"),
        ("wrong System.map: it has", system_map_of(other, folder / "other.map"), "auto"),
        ("it is cut off, or another file", folder / "cut.map", "auto"),
        ("has functions only", folder / "functions.map", "auto"),
        (text, folder / "middle.map", "auto"),
        (text, folder / "garbage", "btf"),
        ("no symbols, or", folder / "empty", "btf"),
        ("can't read it: No such file", folder / "none", "btf"),
        ("this is a directory", folder, "btf"),
    ]


@each_kernel_with_btf
def test_wrong_files(loaded: Machine, tmp_path: Path) -> None:
    needed = [word for path in system_map(loaded, tmp_path) for word in ("-s", str(path))]
    socket = "--qemu", str(loaded.guest.sockets.qmp), *needed
    for words, path, form in spoiled_files(loaded, tmp_path):
        wrong = pageproof(*socket, "-s", path, "--debug-info", form, "kmap")
        assert wrong.code == 2, (path, wrong.out, wrong.err)
        assert words in " ".join(wrong.err.split()) and str(path) in wrong.err, wrong.err
    module = pageproof(*socket, "-s", loaded.built.module, "--debug-info", "btf", "kmap")
    assert module.code == 0, module.err
    right = loaded.kernel.vmlinux
    vmlinux = pageproof(*socket, "-s", right, "--debug-info", "btf", "kmap", "--format", "json")
    assert any(f"BTF from -s {right}" in note for note in vmlinux.report["target"]["notes"])
    # A System.map alone selects BTF.
    whole = tmp_path / "whole.map"
    named = pageproof(*socket, "-s", whole, "kmap", "--format", "json")
    assert any(f"symbols: -s {whole}" in note for note in named.report["target"]["notes"])
