# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests that nobody prepared: no vmcoreinfo device, another PID namespace, a crash kernel."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from attached import closed_at_the_end
from drgn.helpers.linux.mm import follow_phys
from machine import COMMAND_SECONDS, Json, Result, environment, number, pageproof, verdicts
from mappedmemory import MappedMemory

from pageproof.attach import Target, Wanted, guest, looks, open_target
from pageproof.attach.vmcoreinfo import find_kernels
from pageproof.attach.vmcoreinfo.choice import choose
from pageproof.errors import PageproofError
from pageproof.observe.attempts import look_until
from pageproof.space.units import PAGE_BYTES
from pageproof_lab.guest import boot, qemu
from pageproof_lab.guest.guest import Guest
from pageproof_lab.images import build, kernels


@dataclass(frozen=True)
class Kind:
    """A guest: its kernel, and whether it has the vmcoreinfo device."""

    kernel: str
    device: bool

    def __str__(self) -> str:
        return f"{self.kernel}-{'device' if self.device else 'nodevice'}"


FIRST = Kind("6.12", device=False)
WITHOUT = (FIRST, *(Kind(kernel, device=False) for kernel in ("5.10", "6.1", "7.2")))
LONG = [pytest.param(kind, marks=pytest.mark.long) for kind in WITHOUT[1:]]
without_device = pytest.mark.parametrize("here", [FIRST, *LONG], indirect=True, ids=str)
on_the_first = pytest.mark.parametrize("here", [FIRST], indirect=True, ids=str)
each = pytest.mark.parametrize(
    "here", [FIRST, Kind("7.2", device=True), *LONG], indirect=True, ids=str
)
VERIFY = ("verify", "--kind", "umh_shm", "--format", "json")


@pytest.fixture(scope="module")
def here(request: pytest.FixtureRequest) -> Iterator[Guest]:
    kind: Kind = request.param
    kernel = kernels.fetch(kind.kernel)
    built = build.build(kernel)
    options = qemu.Options(vmcoreinfo=kind.device)
    with boot.boot(kernel, options, built=built) as booted:
        booted.load_module()
        yield booted


def outside(here: Guest, *words: str) -> Result:
    return pageproof("--qemu", here.sockets.qmp, *words)


def notes(report: Json) -> str:
    return "\n".join(report["target"]["notes"])


def module_pfn(here: Guest) -> int:
    """Return the frame of the region's page as the module itself lists it."""
    return int(here.check("cat", "/sys/kernel/debug/umh_shm/pfns").split()[1], 16)


def frames(report: Json) -> set[int]:
    evidence = [proof["evidence"] for proof in report["proofs"]]
    return {number(one[side]["pfn"]) for one in evidence for side in ("kernel_walk", "user_walk")}


@without_device
def test_its_kernel_is_found(here: Guest) -> None:
    done = outside(here, *VERIFY)
    assert done.code == 0, done.err
    assert verdicts(done.report) == ["SAME"]
    assert frames(done.report) == {module_pfn(here)}
    assert "VMCOREINFO was found by searching" in notes(done.report)
    assert done.report["target"]["release"] == here.check("uname", "-r").strip()


@on_the_first
def test_without_any_debug_package(here: Guest) -> None:
    done = outside(here, "--debug-info", "btf", *VERIFY)
    assert done.code == 0, done.err
    assert verdicts(done.report) == ["SAME"]
    assert frames(done.report) == {module_pfn(here)}
    assert "VMCOREINFO was found by searching" in notes(done.report)
    assert "types: BTF from the target" in notes(done.report)


@on_the_first
@pytest.mark.parametrize("words", [("regions",), ("kmap",), ("whatis", "init_mm"), ("audit",)])
def test_commands_without_any_debug_package(here: Guest, words: tuple[str, ...]) -> None:
    done = outside(here, "--debug-info", "btf", *words)
    assert done.code == 0, done.err + done.out
    assert "VMCOREINFO was found by searching" in done.out


@on_the_first
def test_in_another_pid_namespace(here: Guest) -> None:
    """Memory comes through the monitor, never from a process that happens to have QEMU's PID."""
    unshare = ["unshare", *(["-r"] if os.getuid() else []), "-pf", "--mount-proc"]
    words = [sys.executable, "-m", "pageproof", "--qemu", str(here.sockets.qmp), *VERIFY]
    ran = subprocess.run(
        [*unshare, *words],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    report = Result(ran.returncode, ran.stdout, ran.stderr).report
    assert ran.returncode == 0, ran.stderr
    assert verdicts(report) == ["SAME"] and frames(report) == {module_pfn(here)}
    assert "memory comes through QEMU's monitor" in notes(report)


@contextmanager
def through_the_monitor(here: Guest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Target]:
    monkeypatch.setattr(guest, "_reads_a_process", lambda *_: False)
    with closed_at_the_end(monkeypatch):
        yield open_target(Wanted(str(here.sockets.qmp)), [])


@on_the_first
def test_a_look_through_the_monitor(here: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one look has read, the next one reads again, and so does each walk (PITFALLS 22)."""
    # Without a limit of time, which other tests have.
    monkeypatch.setattr(looks, "MOST_SECONDS", 600.0)
    with through_the_monitor(here, monkeypatch) as target:
        value = target.prog["panic_timeout"]
        paddr = int(follow_phys(target.prog["init_mm"].address_of_(), value.address_))

        def by_drgn() -> int:
            return int(value.value_())

        def by_walker() -> int:
            return int.from_bytes(target.reader.read_physical(paddr, 4), "little")

        def set_to(number: int) -> int:
            here.check("sh", "-c", f"echo {number} > /proc/sys/kernel/panic")
            return number

        set_to(10)
        looks.new_look()
        assert by_drgn() == 10
        set_to(11)
        assert by_drgn() == 10  # the same look
        assert by_walker() == 11
        assert by_drgn() == 11  # what follows a walk is read again
        seen: list[tuple[int, int]] = []
        look_until(
            lambda _: len(seen) == 3,
            lambda: seen.append((set_to(20 + len(seen)), by_drgn())),
            live=True,
        )
        assert seen == [(20, 20), (21, 21), (22, 22)]
        set_to(-1)


@on_the_first
def test_encrypted_memory(here: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of the guest, each encrypted by its address as a memory controller would."""
    with through_the_monitor(here, monkeypatch) as target:
        prog = target.prog
        every = range(0x100000, 1 << 30, 0x80000)
        plain = [(paddr, prog.read(paddr, PAGE_BYTES, True)) for paddr in every]
    pages = [(paddr, page) for paddr, page in plain if any(page)]
    assert len(pages) > 100

    def encrypted(paddr: int, page: bytes) -> bytes:
        key = hashlib.shake_256(b"key" + paddr.to_bytes(8, "little")).digest(len(page))
        both = int.from_bytes(page, "little") ^ int.from_bytes(key, "little")
        return both.to_bytes(len(page), "little")

    def refused(some: list[tuple[int, bytes]]) -> str:
        memory = MappedMemory([(paddr, memoryview(page)) for paddr, page in some])
        with pytest.raises(PageproofError) as error:
            choose(memory, find_kernels(memory), (), None, "here", "")
        return error.value.what

    assert refused([(paddr, encrypted(paddr, page)) for paddr, page in pages]).startswith(
        "the memory looks encrypted"
    )
    assert refused(pages).startswith("no Linux kernel was found")


@each
def test_two_kernels_in_one_memory(here: Guest, request: pytest.FixtureRequest) -> None:
    """The last test of a guest: it panics, and its crash kernel stays up."""
    device = request.node.callspec.params["here"].device
    pfn = module_pfn(here)
    here.load_crash_kernel(stay=True)
    here.panic_and_stay()
    crashed = outside(here, "--which-kernel", "crashed", *VERIFY)
    assert crashed.code == 0, crashed.err
    assert verdicts(crashed.report) == ["SAME"] and frames(crashed.report) == {pfn}
    assert "this is the crashed one" in notes(crashed.report)
    running = outside(here, "--which-kernel", "running", "maps", "--pid", "1", "--format", "json")
    assert running.code == 0, running.err
    assert "this is the running one" in notes(running.report)
    # The crash kernel's init is busybox; it has no module and no agent.
    assert running.report["process"]["comm"] == "init"
    assert outside(here, "--which-kernel", "running", *VERIFY).code == 3
    plain = outside(here, *VERIFY)
    if device:  # the device names the kernel that loaded its driver
        assert plain.code == 0 and frames(plain.report) == {pfn}
        assert "that has crashed" in notes(plain.report)
        assert "--which-kernel running" in notes(plain.report)
    else:
        assert plain.code == 3, plain.out
