# SPDX-License-Identifier: GPL-2.0-or-later
"""Wrong ways to attach to a real guest: each gives a message with a remedy, and exit code 2."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from machine import ROOT, START_SECONDS, Machine, Result, each_kernel, on_one_kernel, pageproof

from pageproof_lab.guest import keeper, qemu
from pageproof_lab.images import kernels


def refused(result: Result, *said: str) -> None:
    assert result.code == 2, result.out + result.err
    assert result.out == ""
    assert result.err.startswith("pageproof: error: ")
    for words in said:
        assert words in result.err


@on_one_kernel
def test_wrong_vmlinux(machine: Machine) -> None:
    vmlinux = str(kernels.fetch("6.1").vmlinux)
    target = ("--qemu", str(machine.guest.sockets.qmp), "-s", vmlinux)
    refused(pageproof(*target, "verify"), "wrong vmlinux", machine.kernel.release, vmlinux)


@on_one_kernel
def test_vmlinuz_for_vmlinux(machine: Machine) -> None:
    target = ("--qemu", str(machine.guest.sockets.qmp), "-s", str(machine.kernel.vmlinuz))
    refused(pageproof(*target, "verify"), "not an ELF file", "vmlinux")


@on_one_kernel
def test_no_debug_info(machine: Machine, tmp_path: Path) -> None:
    target = ("--qemu", str(machine.guest.sockets.qmp))
    words = "--debug-info", "dwarf", "verify"
    result = pageproof(*target, *words, env={"XDG_CACHE_HOME": str(tmp_path)})
    refused(result, "no debug info", machine.kernel.release, "-s")


@each_kernel
def test_debug_info_is_found(loaded: Machine) -> None:
    """The lab links debug info where pageproof looks by build ID, so -s is not needed."""
    target = ("--qemu", str(loaded.guest.sockets.qmp))
    result = pageproof(*target, "verify", "--kind", "umh_shm")
    assert (result.code, "SAME" in result.out) == (0, True), result.err


@on_one_kernel
def test_socket_busy(machine: Machine) -> None:
    """Another client holds the monitor: an error after a while, and the guest is unharmed."""
    with socket.socket(socket.AF_UNIX) as other:
        other.connect(str(machine.guest.sockets.qmp))
        assert b"QMP" in other.recv(4096)
        # pageproof() has a deadline, so this does not wait forever.
        refused(pageproof(*machine.target, "verify"), "qmp.sock")


@on_one_kernel
def test_socket_of_somebody_else(machine: Machine) -> None:
    refused(pageproof("--qemu", str(machine.guest.sockets.agent), *machine.symbols, "verify"))


@on_one_kernel
def test_no_such_socket(machine: Machine) -> None:
    refused(pageproof("--qemu", "/nowhere/qmp.sock", "verify"), "/nowhere/qmp.sock")


@pytest.fixture
def empty_machine(tmp_path: Path) -> Iterator[Path]:
    """A QEMU that never ran a guest has a monitor but no vmcoreinfo."""
    monitor = tmp_path / "qmp.sock"
    assert keeper.__file__
    words = [qemu.QEMU, "-nodefaults", "-display", "none", "-accel", "tcg", "-S"]
    words += ["-qmp", f"unix:{monitor},server=on,wait=off"]
    with subprocess.Popen(
        [sys.executable, keeper.__file__, "600", *words], stdin=subprocess.PIPE
    ) as held:
        deadline = time.monotonic() + START_SECONDS
        while not monitor.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield monitor
        held.terminate()


def test_no_vmcoreinfo(empty_machine: Path) -> None:
    refused(pageproof("--qemu", str(empty_machine), "verify"), "vmcoreinfo", "qemu_fw_cfg")


def test_not_a_dump() -> None:
    refused(pageproof("-c", str(ROOT / "README.md"), "verify"), "README.md")


@on_one_kernel
def test_not_root(machine: Machine) -> None:
    """Inside the guest, without permission to read /proc/kcore."""
    ran = machine.guest.run("setpriv", "--reuid=65534", "--clear-groups", "pageproof", "verify")
    refused(Result(ran.code, ran.out, ran.err), "/proc/kcore", "root")
