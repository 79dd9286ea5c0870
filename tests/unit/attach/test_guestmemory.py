# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's RAM in its QEMU: recorded answers, damaged ones, and a real QEMU without a guest."""

from __future__ import annotations

import fcntl
import json
import os
import random
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import drgn
import pageproof_pagewalk as engine
import pytest
from bareqemu import bare_qemu

from pageproof.attach import guestmemory, monitor, qmp
from pageproof.attach.guestmemory import (
    GuestMemory,
    host_address,
    map_guest,
    open_process,
    ram_ranges,
)
from pageproof.attach.monitor import Unusable
from pageproof.space.units import PAGE_BYTES

MIB = 1 << 20

# Recorded from QEMU 7.2.22 with -machine q35 -m 4608M, less most lines of devices.
MTREE = """FlatView #0
 AS "I/O", root: io
 Root memory region: io
  0000000000000000-0000000000000007 (prio 0, i/o): dma-chan

FlatView #1
 AS "memory", root: system
 AS "cpu-memory-0", root: system
 Root memory region: system
  0000000000000000-00000000000bffff (prio 0, ram): pc.ram
  00000000000c0000-00000000000dffff (prio 1, rom): pc.rom
  00000000000e0000-00000000000fffff (prio 0, rom): pc.bios @0000000000020000
  0000000000100000-000000007fffffff (prio 0, ram): pc.ram @0000000000100000
  00000000fec00000-00000000fec00fff (prio 0, i/o): ioapic
  00000000fee00000-00000000feefffff (prio 4096, i/o): apic-msi
  00000000fffc0000-00000000ffffffff (prio 0, rom): pc.bios
  0000000100000000-000000019fffffff (prio 0, ram): pc.ram @0000000080000000

FlatView #2
 AS "cpu-smm-0", root: memory
 Root memory region: memory
  0000000000000000-00000000000bffff (prio 0, ram): pc.ram
  0000000000100000-000000007fffffff (prio 0, ram): pc.ram @0000000000100000
  0000000100000000-000000019fffffff (prio 0, ram): pc.ram @0000000080000000

FlatView #3
 AS "mch", root: bus master container
 Root memory region: (none)
  No rendered FlatView

""".replace("\n", "\r\n")
RANGES = [(0x100000, 0x7FFFFFFF), (0x100000000, 0x19FFFFFFF)]


def test_the_recorded_ranges() -> None:
    """The first MiB, ROM and devices are left to drgn."""
    assert ram_ranges(MTREE) == RANGES


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("0000000200000000-00000002001fffff (prio -1, nv-ram): dimm", [(0x200000000, 0x2001FFFFF)]),
        ("0000000200000000-00000002000fffff (prio 0, ram): only a MiB", []),
        ("0000000200000800-00000002003fffff (prio 0, ram): half a page", []),
        ("0000000200000000-00000002003ffffe (prio 0, ram): a byte less", []),
        ("0000000200000000-00000002003fffff (prio 0, rom): a ROM", []),
        ("0000000200000000-00000002003fffff (prio 0, i/o): x (prio 0, ram): y", []),
        ("00000000200000000-00000002003fffff (prio 0, ram): 17 digits", []),
    ],
)
def test_other_ranges(line: str, expected: list[tuple[int, int]]) -> None:
    text = MTREE.replace(" Root memory region: system", f" Root memory region: system\r\n  {line}")
    assert ram_ranges(text) == sorted(RANGES + expected)


def test_no_more_than_the_largest_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guestmemory, "_MOST_RANGES", 1)
    assert ram_ranges(MTREE) == RANGES[1:]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "unknown command: 'mtree'\r\n",
        MTREE.replace('AS "memory"', 'AS "Memory"'),
        MTREE.replace('AS "mch"', 'AS "memory"'),
        MTREE.replace("0000000000100000-000000007fffffff", "0000000000100000-0000000100000000"),
        MTREE.replace("0000000000100000-000000007fffffff", "0000000000100000-0000000000000000"),
    ],
    ids=["empty", "refused", "no memory", "two", "overlap", "backwards"],
)
def test_damaged_flat_views(text: str) -> None:
    with pytest.raises(Unusable):
        ram_ranges(text)


def test_the_recorded_host_address() -> None:
    text = "Host virtual address for 0x100000000 (pc.ram) is 0x7f10f3e00000\r\n"
    assert host_address(text, 0x100000000) == 0x7F10F3E00000


@pytest.mark.parametrize(
    "text",
    [
        "Memory at address 0x100000 is not RAM\r\n",
        "No memory is mapped at address 0x100000\r\n",
        "Host virtual address for 0x101000 (pc.ram) is 0x7f10f3e00000\r\n",
        "Host virtual address for 0x100000 (pc.ram) is (nil)\r\n",
        "Host virtual address for 0x100000 (pc.ram) is 0x17f10f3e0000012345\r\n",
        "Host virtual address for 0x100000 (pc.ram) is 0x7f10f3e00000\r\nand more",
        "",
    ],
)
def test_damaged_host_addresses(text: str) -> None:
    with pytest.raises(Unusable):
        host_address(text, 0x100000)


# A small guest: its RAM is a file, and the address in QEMU is the offset in that file.

SMALL = ((2 * MIB, 2 * MIB, 3 * MIB), (8 * MIB, 2 * MIB, 64 * PAGE_BYTES))
Answer = Callable[[str], str | bytes | None]


def answer(command: str) -> str:
    """Answer as QEMU does."""
    if command == "info mtree -f":
        lines = [f"{at:016x}-{at + n - 1:016x} (prio 0, ram): ram" for at, n, _ in SMALL]
        view = "".join(f"  {line}\r\n" for line in lines)
        return f'FlatView #0\r\n AS "memory", root: system\r\n Root memory region: system\r\n{view}'
    paddr = int(command.removeprefix("gpa2hva "), 16)
    ((at, _, host),) = (one for one in SMALL if one[0] <= paddr < one[0] + one[1])
    return f"Host virtual address for {paddr:#x} (ram) is {host + paddr - at:#x}\r\n"


def changed(command: str, text: str) -> Answer:
    return lambda asked: text if asked == command else answer(asked)


class Guest:
    """The memory of a process, drgn's view of it, and QEMU's end of the connection."""

    def __init__(self, path: Path) -> None:
        self.data = random.Random(1).randbytes(6 * MIB)
        path.write_bytes(self.data)
        self.path = path
        self.process = GuestMemory(os.open(path, os.O_RDONLY))
        self.prog = drgn.Program(drgn.Platform(drgn.Architecture.X86_64))
        for at, length, _ in SMALL:
            self.prog.add_memory_segment(at, length, self._read, True)
        self.ours, self.qemus = socket.socketpair()
        self.commands: list[str] = []
        self.wrong = -1
        self.gone = False

    def _read(self, address: int, count: int, offset: int, physical: bool) -> bytes:
        if self.gone:
            raise drgn.FaultError("gone", address)
        ((at, _, host),) = (one for one in SMALL if one[0] <= address < one[0] + one[1])
        data = bytearray(self.data[host + address - at :][:count])
        if address // PAGE_BYTES == self.wrong:
            data[-1] ^= 1
        return bytes(data)

    def map(self, reply: Answer = answer, before: bytes = b"") -> GuestMemory | None:
        """Map the guest with a QEMU that gives these answers."""
        self.qemus.sendall(before)

        def serve() -> None:
            for line in self.qemus.makefile("rb"):
                asked = json.loads(line)
                assert asked["execute"] == "human-monitor-command"
                command = asked["arguments"]["command-line"]
                self.commands.append(command)
                got = reply(command)
                if got is None:
                    self.qemus.shutdown(socket.SHUT_RDWR)
                    return
                if isinstance(got, str):
                    got = json.dumps({"return": got, "id": asked["id"]}).encode() + b"\r\n"
                self.qemus.sendall(got.replace(b"$ID", asked["id"].encode()))

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            return map_guest(self.prog, self.ours, self.process)
        finally:
            self.ours.shutdown(socket.SHUT_WR)
            thread.join(10)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Guest]:
    made = Guest(tmp_path / "memory")
    with made.ours, made.qemus:
        yield made


def test_all_of_the_guest(small: Guest) -> None:
    memory = small.map()
    assert memory is not None and memory.parts == SMALL
    assert len(small.commands) == 1 + 2 * len(SMALL)
    reader = engine.FileMemory(*memory.for_engine())
    for at, length, host in SMALL:
        assert reader.read(at, length) == small.data[host : host + length]
        assert reader.read(at - 8, 8) is None


EVENT = b'{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "RTC_CHANGE"}\r\n'


def answered(command: str) -> bytes:
    return json.dumps({"return": answer(command), "id": "$ID"}).encode() + b"\r\n"


def left_for_drgn(small: Guest) -> bytes:
    small.qemus.sendall(b"end")
    left = b""
    while not left.endswith(b"end"):
        left += small.ours.recv(4096)
    return left.removesuffix(b"end")


def test_events_are_skipped(small: Guest) -> None:
    memory = small.map(lambda command: EVENT + answered(command) + EVENT, before=EVENT)
    assert memory is not None and memory.parts == SMALL
    assert left_for_drgn(small) in (b"", EVENT)


def test_no_part_of_an_event_is_left(small: Guest) -> None:
    """The last answer comes with half of an event."""

    def reply(command: str) -> bytes:
        if len(small.commands) < 1 + 2 * len(SMALL):
            return answered(command)
        threading.Timer(0.2, small.qemus.sendall, (EVENT[20:],)).start()
        return answered(command) + EVENT[:20]

    assert small.map(reply) is not None
    assert left_for_drgn(small) == b""


def test_the_rest_of_an_event_is_left_to_drgn(small: Guest) -> None:
    """drgn may have read the first part of it."""
    assert small.map(before=EVENT[20:]) is None
    assert not small.commands
    assert small.ours.recv(4096) == EVENT[20:]


@pytest.mark.parametrize(
    ("reply", "kept"),
    [
        (changed("info mtree -f", "unknown command"), ()),
        (lambda _: b'{"error": {"class": "GenericError"}, "id": "$ID"}\r\n', ()),
        (lambda _: b'{"return": {}, "id": "$ID"}\r\n', ()),
        (changed("gpa2hva 0x200000", "Memory at address 0x200000 is not RAM"), SMALL[1:]),
        # Not in one piece: the last page is elsewhere.
        (
            changed("gpa2hva 0x3ff000", answer("gpa2hva 0x3fe000").replace("e000 (", "f000 (")),
            SMALL[1:],
        ),
        (
            lambda asked: (
                answer(asked)
                .replace("is 0x300000", "is 0x100000")
                .replace("is 0x4ff000", "is 0x2ff000")
            ),
            SMALL[1:],
        ),
        (lambda asked: answer(asked).replace("is 0x", "is 0xffff800000000"), ()),
    ],
    ids=["text", "error", "no text", "no RAM", "two pieces", "elsewhere", "too high"],
)
def test_what_does_not_fit_is_left_to_drgn(
    small: Guest, reply: Answer, kept: Sequence[tuple[int, int, int]]
) -> None:
    memory = small.map(reply)
    assert (() if memory is None else memory.parts) == tuple(kept)


@pytest.mark.parametrize("page", [2 * MIB, 4 * MIB - PAGE_BYTES])
def test_a_page_that_drgn_reads_otherwise(small: Guest, page: int) -> None:
    small.wrong = page // PAGE_BYTES
    memory = small.map()
    assert memory is not None and memory.parts == SMALL[1:]


def test_nothing_that_drgn_cannot_read(small: Guest) -> None:
    small.gone = True
    assert small.map() is None
    descriptor = small.process.descriptor
    os.fstat(descriptor)
    del small.process
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_memory_that_the_process_lacks(small: Guest) -> None:
    os.truncate(small.path, 5 * MIB - 1)
    memory = small.map()
    assert memory is not None and memory.parts == SMALL[1:]


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (lambda _: b'{"return": "x", "id": "another"}\r\n', ValueError),
        (lambda _: b'{"return": "x"}\r\n', ValueError),
        (lambda _: b"[]\r\n", ValueError),
        (lambda _: b"nonsense\r\n", ValueError),
        (lambda _: b"[" * 100_000 + b"\r\n", ValueError),
        (lambda _: b"x" * 300_000, ValueError),
        (lambda _: None, ConnectionError),
    ],
    ids=["id", "no id", "no object", "no JSON", "deep", "long", "closed"],
)
def test_a_connection_out_of_step_is_an_error(
    small: Guest, monkeypatch: pytest.MonkeyPatch, reply: Answer, error: type[Exception]
) -> None:
    """drgn would take a late answer as that to its own question."""
    monkeypatch.setattr(monitor, "_ANSWER_BYTES", 200_000)
    with pytest.raises(error):
        small.map(reply)


# A real QEMU, whose guest has not started


@pytest.fixture
def qemu(tmp_path: Path) -> Iterator[tuple[Path, subprocess.Popen[bytes], dict[int, bytes]]]:
    """Start QEMU with RAM below and above 4 GiB, of which it touches only what is loaded."""
    addresses = (0x200000, 0x7FFFF000, 0x100000000, 0x19FFFF000)
    loaded = {each: random.Random(each).randbytes(PAGE_BYTES) for each in addresses}
    with bare_qemu(tmp_path, loaded) as (path, process):
        yield path, process, loaded


def test_a_real_qemu(qemu: tuple[Path, subprocess.Popen[bytes], dict[int, bytes]]) -> None:
    path, process, loaded = qemu
    prog = drgn.Program()
    with qmp.connect(str(path)) as connection:
        opened = open_process(connection)
        if opened is None:
            pytest.skip("no permission to read the memory of another process")
        assert fcntl.fcntl(opened.descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
        with connection.dup() as shared:
            prog.set_qemu_qmp(connection.detach())
            memory = map_guest(prog, shared, opened)
    assert memory is not None
    assert [(at, at + length - 1) for at, length, _ in memory.parts] == RANGES
    reader = engine.FileMemory(*memory.for_engine())
    for address, page in loaded.items():
        assert reader.read(address, PAGE_BYTES) == page
    for at, last in RANGES:
        for paddr in random.Random(3).sample(range(at, last, PAGE_BYTES), 500):
            assert reader.read(paddr, PAGE_BYTES) == prog.read(paddr, PAGE_BYTES, True)
    assert reader.read(0, 8) is None and reader.read(0xFEE00000, 4) is None
    # drgn's connection is in step: this address is read through the monitor.
    assert len(prog.read(0xFEE00000, 4, True)) == 4
    assert "TracerPid:\t0\n" in Path(f"/proc/{process.pid}/status").read_text()
    process.kill()
    process.wait(10)
    assert reader.read(0x200000, 8) is None


def test_tcp_has_no_process() -> None:
    with socket.socket() as connection:
        assert open_process(connection) is None


def test_another_proc_has_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a PID namespace whose /proc is that of its parent, the numbers differ."""
    ours, other = socket.socketpair()
    with ours, other:
        assert open_process(ours) is not None
        monkeypatch.setattr(Path, "readlink", lambda _: Path("1"))
        assert open_process(ours) is None
