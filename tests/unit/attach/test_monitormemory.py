# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory through the monitor of a real QEMU, and a search in its process."""

from __future__ import annotations

import gc
import random
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import drgn
import pytest
from bareqemu import bare_qemu
from unit.attach.kernelmemory import Made, Memory

from pageproof.attach import guest, guestmemory, monitormemory, qmp
from pageproof.attach.monitor import Monitor, Unusable
from pageproof.attach.monitormemory import MonitorMemory
from pageproof.attach.physical import PhysicalMemory
from pageproof.attach.processmemory import ProcessMemory
from pageproof.attach.reader import Reader
from pageproof.attach.vmcoreinfo import find_kernels
from pageproof.errors import PageproofError
from pageproof.model import MemoryGap
from pageproof.space.units import PAGE_BYTES

#: Half of 512 MiB is above 4 GiB.
HALVES = ("-M", "max-ram-below-4g=256M")
#: Around the holes that a q35 has below 1 MiB and 4 GiB with 4608 MiB of RAM.
LOADED = (0x1000, 0x200000, 0x7FFFF000, 0x100000000, 0x19FFFF000)
KERNEL = Made(paddr=0x100200000, page=0x100005000)


def pages() -> dict[int, bytes]:
    return {each: random.Random(each).randbytes(PAGE_BYTES) for each in LOADED}


@contextmanager
def monitored(path: Path) -> Iterator[Monitor]:
    """Connect as drgn does, and negotiate."""
    connection = qmp.connect(str(path))
    with connection:
        connection.recv(1 << 16)
        monitor = Monitor(connection)
        monitor.execute("qmp_capabilities")
        yield monitor


def without_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitormemory._Window, "open", lambda _: None)


@pytest.mark.parametrize("quick", [True, False])
def test_it_reads_what_was_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: bool
) -> None:
    if not quick:
        without_window(monkeypatch)
    with bare_qemu(tmp_path, pages()) as (path, _), monitored(path) as monitor:
        memory = MonitorMemory(monitor)
        assert memory.quick is quick
        assert [first for first, _ in memory.ranges] == [0x100000, 0x100000000]
        for paddr, page in pages().items():
            assert memory.read(paddr, PAGE_BYTES) == page
            for at, length in ((0, 1), (7, 2), (4095, 1), (1, 4095), (1234, 999)):
                assert memory.read(paddr + at, length) == page[at : at + length]
                assert memory.blocks.read(paddr + at, length) == page[at : at + length]
        # Across RAM and ROM, which adjoin.
        assert len(memory.read(0xBF000, 0x2000)) == 0x2000
        for paddr, length in ((0xFEE00000, 4), (0x80000000, 1), (0x7FFFF000, 4097), (1 << 60, 8)):
            with pytest.raises(MemoryGap):
                memory.read(paddr, length)
            with pytest.raises(MemoryGap):
                memory.blocks.read(paddr, length)
        monitor.execute("cont")  # QEMU closes descriptors while the guest runs
        del memory
        gc.collect()
        assert monitor.execute("query-fdsets") == []


def test_a_qemu_that_writes_something_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What pmemsave writes is compared with what xp prints before it is used."""
    monkeypatch.setattr(monitormemory._Window, "read", lambda _, paddr, length: bytes(length))
    loaded = {0x100000: b"something"}
    with bare_qemu(tmp_path, loaded, "64M") as (path, _), monitored(path) as monitor:
        memory = MonitorMemory(monitor)
        assert not memory.quick
        assert memory.read(0x100000, 9) == b"something"


def made() -> dict[int, bytes]:
    """A kernel above 4 GiB."""
    memory = Memory()
    base = 1 << 32
    below = Made(KERNEL.paddr - base, KERNEL.page - base)
    memory.add(below)
    # Tables and text name the addresses above.
    for table in range(4):
        at = below.root + table * PAGE_BYTES
        for index in range(512):
            raw = int.from_bytes(memory.bytes[at + 8 * index :][:8], "little")
            if raw:
                memory.entry(at, index, raw + base)
    memory.put(below.page, KERNEL.text())
    return {
        KERNEL.page: bytes(memory.bytes[below.page :][:PAGE_BYTES]),
        KERNEL.paddr: bytes(memory.bytes[below.paddr :][: 64 * PAGE_BYTES]),
    }


Way = Callable[[Path], Iterator[PhysicalMemory]]


@contextmanager
def by_process(path: Path) -> Iterator[PhysicalMemory]:
    prog = drgn.Program()
    with qmp.connect(str(path)) as connection:
        process = guestmemory.open_process(connection)
        if process is None:
            pytest.skip("no permission to read the memory of another process")
        with connection.dup() as shared:
            prog.set_qemu_qmp(connection.detach())
            memory = guestmemory.map_guest(prog, shared, process)
            assert memory is not None
            yield ProcessMemory(memory, Reader(prog).read_physical)


@contextmanager
def by_monitor(path: Path) -> Iterator[PhysicalMemory]:
    with monitored(path) as monitor:
        yield MonitorMemory(monitor)


@pytest.mark.parametrize("engine", [True, False])
def test_a_kernel_in_a_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: bool
) -> None:
    if not engine:
        monkeypatch.setitem(sys.modules, "pageproof_pagewalk", None)
    with bare_qemu(tmp_path, made()) as (path, process), by_process(path) as memory:
        (kernel,) = find_kernels(memory).kernels
        assert kernel.root == KERNEL.root
        # The search did not make the host provide what the guest never touched.
        status = Path(f"/proc/{process.pid}/status").read_text()
        resident = re.search(r"VmRSS:\s+([0-9]+) kB", status)
        assert resident is not None and int(resident[1]) < 512 << 10


def test_a_kernel_through_the_monitor(tmp_path: Path) -> None:
    with bare_qemu(tmp_path, made(), "512M", HALVES) as (path, _), by_monitor(path) as memory:
        (kernel,) = find_kernels(memory).kernels
        assert kernel.root == KERNEL.root


def test_a_kernel_that_no_cpu_runs(tmp_path: Path) -> None:
    with bare_qemu(tmp_path, made()) as (path, _), pytest.raises(PageproofError) as error:
        guest.attach_guest(str(path))
    assert "no CPU runs any of the kernels in memory: Linux 6.12.0-test" in error.value.what


def test_no_kernel(tmp_path: Path) -> None:
    with bare_qemu(tmp_path, {}) as (path, _), pytest.raises(PageproofError) as error:
        guest.attach_guest(str(path))
    assert error.value.what.startswith(
        "no Linux kernel was found: 4607 MiB of memory were searched"
    )
    assert "-device vmcoreinfo" in error.value.remedy


def test_a_large_guest_through_tcp(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    more = ("-qmp", f"tcp:localhost:{port},server=on,wait=off")
    with bare_qemu(tmp_path, {}, more=more), pytest.raises(PageproofError) as error:
        guest.attach_guest(f"localhost:{port}")
    assert "takes too long" in error.value.what and "Unix socket" in error.value.remedy


#: Forwards one connection, and has other memory at the addresses of QEMU. A process of its own:
#: drgn holds the GIL while it reads an answer.
FORWARD = """
import ctypes, mmap, socket, sys, threading
theirs, ours, address, length = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *3 * [ctypes.c_int], ctypes.c_long]
MAP_FIXED_NOREPLACE = 0x100000
flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_FIXED_NOREPLACE
at = libc.mmap(address, length, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0)
assert at == address
ctypes.memset(at, 0x55, length)
listening = socket.socket(socket.AF_UNIX)
listening.bind(ours)
listening.listen(1)
print("listening", flush=True)
one, _ = listening.accept()
other = socket.socket(socket.AF_UNIX)
other.connect(theirs)
def copy(one, other):
    while True:
        data, files, _, _ = socket.recv_fds(one, 1 << 16, 4)
        if not data:
            break
        socket.send_fds(other, [data], files)
threading.Thread(target=copy, args=(other, one), daemon=True).start()
copy(one, other)
"""


def test_the_peer_is_another_process(tmp_path: Path) -> None:
    length = 64 << 20
    forwarded = tmp_path / "forwarded"
    with bare_qemu(tmp_path, {0x200000: b"what the guest has"}, "64M") as (path, _):
        with monitored(path) as monitor:
            text = monitor.ask("gpa2hva 0x100000")
        start = guestmemory.host_address(text, 0x100000) - 0x100000
        words = [sys.executable, "-c", FORWARD, str(path), str(forwarded), str(start), str(length)]
        with subprocess.Popen(words, stdout=subprocess.PIPE) as peer:
            try:
                assert peer.stdout is not None and peer.stdout.readline() == b"listening\n"
                session = guest._open(str(forwarded))
                assert session.memory is None and session.slow is not None
                assert session.slow.quick
                assert session.prog.read(0x200000, 18, True) == b"what the guest has"
                assert any("comes through QEMU's monitor" in note for note in session.notes)
                session.close()
            finally:
                peer.kill()


def test_damaged_answers_to_xp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with bare_qemu(tmp_path, {}, "64M") as (path, _), monitored(path) as monitor:
        without_window(monkeypatch)
        memory = MonitorMemory(monitor)
        for text in ("", "0000: 0x0", "Cannot access memory", "x" * 100, "0x" + "f" * 17):
            monkeypatch.setattr(monitor, "ask", lambda _, text=text: text)
            with pytest.raises(MemoryGap):
                memory.read(0x100000, 8)
        with pytest.raises(Unusable):
            MonitorMemory(monitor)
