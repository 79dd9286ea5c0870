# SPDX-License-Identifier: GPL-2.0-or-later
"""Dumps that QEMU writes of a guest that keeps running (dump-guest-memory)."""

from contextlib import closing
from pathlib import Path

from machine import Machine, each_kernel, on_one_kernel, pageproof, pages, verdicts

from pageproof_lab.guest.guest import monitor


@each_kernel
def test_elf(machine: Machine, tmp_path: Path) -> None:
    says_the_same(machine, "elf", tmp_path)


@on_one_kernel
def test_compressed(machine: Machine, tmp_path: Path) -> None:
    says_the_same(machine, "kdump-zlib", tmp_path)


@on_one_kernel
def test_elf_that_names_no_kernel(machine: Machine, tmp_path: Path) -> None:
    """As of a guest without the vmcoreinfo device, or VirtualBox's: the kernel is searched for."""
    machine.load()
    dump = tmp_path / "elf"
    with closing(monitor(machine.guest)) as control:
        control.call("dump-guest-memory", 120, paging=False, protocol=f"file:{dump}")
    with dump.open("r+b") as file:
        note = file.read(1 << 16).index(b"VMCOREINFO\0")
        file.seek(note)
        file.write(b"something\0\0")
    words = ("verify", "--kind", "umh_shm", "--format", "json")
    result = pageproof("-c", dump, *machine.symbols, *words)
    dump.unlink()
    assert result.code == 0, result.out + result.err
    assert verdicts(result.report) == ["SAME"]
    named, found, *_ = result.report["target"]["notes"]
    assert named == "the dump does not name its kernel"
    assert found.startswith("VMCOREINFO was found by searching")


@on_one_kernel
def test_a_part_of_memory(machine: Machine, tmp_path: Path) -> None:
    """QEMU can dump a single range, which does not have the kernel's tables."""
    dump = tmp_path / "part"
    with closing(monitor(machine.guest)) as control:
        control.call(
            "dump-guest-memory", 120, paging=False, protocol=f"file:{dump}", begin=0, length=4 << 20
        )
    for command in ("verify", "audit"):
        result = pageproof("-c", dump, *machine.symbols, command)
        assert result.code == 2, result.out + result.err
        assert "can't be read" in result.err
        assert result.err.count("\n") == 1
    dump.unlink()


def says_the_same(machine: Machine, form: str, tmp_path: Path) -> None:
    machine.load()
    dump = tmp_path / form
    with closing(monitor(machine.guest)) as control:
        control.call("dump-guest-memory", 120, paging=False, protocol=f"file:{dump}", format=form)
    words = ("verify", "--kind", "umh_shm", "--format", "json")
    result = pageproof("-c", dump, *machine.symbols, *words)
    other = pageproof("-c", dump, "--which-kernel", "crashed", "verify")
    dump.unlink()
    assert (other.code, "this dump names its kernel" in other.err) == (2, True), other.err
    assert result.code == 0, result.out + result.err
    assert verdicts(result.report) == ["SAME"]
    live = pages(machine.outside(*words).report)
    for key, proof in pages(result.report).items():
        seen, now = proof["evidence"], live[key]["evidence"]
        assert seen["user_walk"]["pfn"] == now["user_walk"]["pfn"]
        assert seen["slot"] == now["slot"]
