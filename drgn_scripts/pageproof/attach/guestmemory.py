# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's RAM in the memory of its QEMU, which the engine in C reads itself.

drgn reads the same bytes with ``process_vm_readv()``, at addresses that QEMU gives it for the same
two commands of its monitor (libdrgn/qemu_machine_protocol.c). Through drgn each read of the engine
is a call of Python, which takes longer than the read. What is not covered here is read by drgn.

The commands go through drgn's own connection (:mod:`pageproof.attach.monitor`).
"""

from __future__ import annotations

import os
import re
import socket
import struct
import weakref
from array import array
from collections.abc import Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import Final

import drgn

from pageproof.arch.engine import FileMemory
from pageproof.attach.monitor import Monitor, Unusable
from pageproof.space.units import ADDRESS_LAST, PAGE_BYTES

#: Smaller ranges are left to drgn: the first MiB is in pieces, which firmware moves and protects.
_LEAST_BYTES: Final = 1 << 20
#: Limit of ranges, the largest ones. A guest has two, and one for each DIMM or NUMA node.
_MOST_RANGES: Final = 64
_PAGES_COMPARED: Final = 16
#: A running guest may write to a page between two reads.
_TRIES: Final = 20
#: Of a file: offsets have a sign.
_LAST_OFFSET: Final = ADDRESS_LAST >> 1

#: memory_region_print_info() and mtree_print_flatview() of QEMU's softmmu/memory.c.
_VIEW: Final = re.compile(r"^FlatView #", re.MULTILINE)
_OF_MEMORY: Final = re.compile(r'^ *AS "memory", ', re.MULTILINE)
_RAM: Final = re.compile(
    r"^ *([0-9a-f]{1,16})-([0-9a-f]{1,16}) \(prio -?[0-9]+, (?:nv-)?ram\): ", re.MULTILINE
)
_RAM_OR_ROM: Final = re.compile(
    r"^ *([0-9a-f]{1,16})-([0-9a-f]{1,16}) \(prio -?[0-9]+, (?:nv-)?(?:ram|rom)\): ", re.MULTILINE
)
#: hmp_gpa2hva() of QEMU's monitor/misc.c.
_HOST_ADDRESS: Final = re.compile(
    r"Host virtual address for 0x([0-9a-f]{1,16}) \(.*\) is 0x([0-9a-f]{1,16})\s*"
)


class GuestMemory:
    """RAM of a guest.

    Args:
        descriptor: ``/proc/PID/mem`` of QEMU, which belongs to this object now.
        parts: (paddr, length, address in QEMU), sorted and apart.
        pid: of QEMU.
    """

    def __init__(
        self, descriptor: int, parts: Sequence[tuple[int, int, int]] = (), pid: int = 0
    ) -> None:
        self.descriptor, self.parts, self.pid = descriptor, tuple(parts), pid
        weakref.finalize(self, os.close, descriptor)

    def for_engine(self) -> FileMemory:
        """Return the memory as the engine gets it."""
        return self.descriptor, array("Q", chain.from_iterable(self.parts))


def open_process(connection: socket.socket) -> GuestMemory | None:
    """Open the memory of the process that listens, for reading.

    A descriptor stays with the address space that it was opened for: if the process ends, it reads
    nothing, also when another process gets the PID.

    Returns:
        The memory, without parts; None if there is no such process here, or no permission to read
        it.
    """
    if connection.family != socket.AF_UNIX:
        return None
    credentials = connection.getsockopt(
        socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")
    )
    pid, _, _ = struct.unpack("3i", credentials)
    try:
        # A /proc of another PID namespace has another process at this number.
        if pid <= 0 or Path("/proc/self").readlink().name != str(os.getpid()):
            return None
        descriptor = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
        return GuestMemory(descriptor, pid=pid)
    except OSError:
        return None


def map_guest(
    prog: drgn.Program, connection: socket.socket, memory: GuestMemory
) -> GuestMemory | None:
    """Find a guest's RAM in its QEMU, and compare some pages with what drgn reads.

    Args:
        prog: drgn has attached, and does not use the connection now.
        connection: another descriptor of drgn's connection. It blocks and has a time limit.
        memory: from :func:`open_process`, before this call: QEMU answers, so it had not ended.

    Returns:
        The memory with its parts; None if QEMU does not name any or drgn reads something else.

    Raises:
        OSError: the connection failed, or QEMU did not answer in time.
        ValueError: an answer does not belong to its question, so drgn must not use the connection
            either.
    """
    try:
        monitor = Monitor(connection)
        parts = _parts(monitor)
        monitor.finish()
    except Unusable:
        return None
    parts = [part for part in parts if _agrees(prog, memory.descriptor, *part)]
    memory.parts = tuple(parts)
    return memory if parts else None


def _parts(monitor: Monitor) -> list[tuple[int, int, int]]:
    """Return (paddr, length, address in QEMU) of the ranges of RAM that QEMU has in one piece."""
    try:
        ranges = ram_ranges(monitor.ask("info mtree -f"))
    except Unusable:
        return []
    parts = []
    for first, last in ranges:
        ends = first, last + 1 - PAGE_BYTES
        try:
            start, end = (host_address(monitor.ask(f"gpa2hva {at:#x}"), at) for at in ends)
        except Unusable:
            continue
        if end - start == ends[1] - ends[0] and end <= _LAST_OFFSET - PAGE_BYTES:
            parts.append((first, last + 1 - first, start))
    return parts


def _agrees(prog: drgn.Program, descriptor: int, paddr: int, length: int, host: int) -> bool:
    """Return whether drgn reads the same bytes from pages all over a range."""
    last_page = length // PAGE_BYTES - 1
    for number in range(_PAGES_COMPARED):
        offset = last_page * number // (_PAGES_COMPARED - 1) * PAGE_BYTES
        for _ in range(_TRIES):
            try:
                before = os.pread(descriptor, PAGE_BYTES, host + offset)
                theirs = prog.read(paddr + offset, PAGE_BYTES, True)
                after = os.pread(descriptor, PAGE_BYTES, host + offset)
            except (drgn.FaultError, OSError):
                return False
            if theirs in (before, after):
                break
        else:
            return False
    return True


def ram_ranges(text: str) -> list[tuple[int, int]]:
    """Return the ranges of RAM in the answer to ``info mtree -f``.

    Args:
        text: the answer: flat views, each with the address spaces that have it.

    Returns:
        (first, last) physical addresses, sorted; only whole pages, and no small ranges.

    Raises:
        Unusable: the answer is not that.
    """
    large = [
        (first, last)
        for first, last in _ranges(text, _RAM)
        if not first % PAGE_BYTES and not (last + 1) % PAGE_BYTES and last - first >= _LEAST_BYTES
    ]
    largest = sorted(large, key=lambda one: one[0] - one[1])[:_MOST_RANGES]
    return sorted(largest)


def memory_ranges(text: str) -> list[tuple[int, int]]:
    """Return all ranges of RAM and ROM, as :func:`ram_ranges`, also the small ones."""
    return _ranges(text, _RAM_OR_ROM)


def _ranges(text: str, kind: re.Pattern[str]) -> list[tuple[int, int]]:
    views = [view for view in _VIEW.split(text) if _OF_MEMORY.search(view)]
    if len(views) != 1:
        raise Unusable(f"{len(views)} flat views of memory")
    ranges = sorted((int(first, 16), int(last, 16)) for first, last in kind.findall(views[0]))
    if any(first > last for first, last in ranges) or any(
        after[0] <= before[1] for before, after in pairwise(ranges)
    ):
        raise Unusable("ranges overlap")
    return ranges


def host_address(text: str, paddr: int) -> int:
    """Return the address in QEMU, from the answer to ``gpa2hva``.

    Raises:
        Unusable: there is no memory at this address, or the answer is another one.
    """
    match = _HOST_ADDRESS.fullmatch(text)
    if match is None or int(match[1], 16) != paddr:
        raise Unusable(text[:100])
    return int(match[2], 16)
