# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's memory through QEMU's monitor, for a QEMU whose process cannot be read.

QEMU runs in another PID namespace (a container), belongs to another user, or is behind TCP. drgn
then reads by ``xp``, which prints at most 1 KiB as text for each command. Here QEMU writes whole
blocks into a memfd: the descriptor goes through the Unix socket (``add-fd``), and ``pmemsave``
opens it by its number in QEMU. Nothing of the guest changes.
"""

from __future__ import annotations

import bisect
import os
import re
import socket
import weakref
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final

from pageproof.attach.guestmemory import memory_ranges, ram_ranges
from pageproof.attach.looks import Blocks
from pageproof.attach.monitor import Monitor, Unusable
from pageproof.attach.physical import Heads
from pageproof.model import MemoryGap, Outcome
from pageproof.space.units import PAGE_BYTES
from pageproof.walk import ReadPhysical

#: Bytes of one command. QEMU serves nothing else meanwhile: 16 MiB take it some 20 ms.
_SAVED_BYTES: Final = 16 << 20
#: Bytes of one ``xp``, whose answer has 3.5 times as many.
_PRINTED_BYTES: Final = 1 << 16
_WORD_BYTES: Final = 8
#: memory_dump() of QEMU's monitor/hmp-cmds-target.c.
_WORDS: Final = re.compile(r"0x([0-9a-f]{16})\b")
#: A running guest may write to a page between two reads.
_TRIES: Final = 20
_COMPARED_BYTES: Final = 64
_COMPARED_PLACES: Final = 16


class MonitorMemory:
    """Memory of a guest, and nothing else: a read of a device's registers may change the device.

    Args:
        monitor: of the guest's QEMU.

    Raises:
        Unusable: QEMU does not name its memory.
        OSError, ValueError: see :meth:`Monitor.execute`.
    """

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        text = monitor.ask("info mtree -f")
        self._all = memory_ranges(text)
        self._starts = [first for first, _ in self._all]
        self.ranges: Sequence[tuple[int, int]] = tuple(
            (first, last + 1 - first) for first, last in ram_ranges(text)
        )
        self._window = _Window.open(monitor)
        if self._window is not None and not _agrees(monitor, self._window.read, self.ranges):
            self._window = None
        monitor.finish()
        self.blocks = Blocks(self._now)

    @property
    def quick(self) -> bool:
        """Whether QEMU hands over whole blocks."""
        return self._window is not None

    def read(self, paddr: int, length: int) -> bytes:
        """Read memory, now: nothing is kept from an earlier read, nor what drgn has read.

        Raises:
            MemoryGap: it is no memory, or QEMU does not answer.
        """
        self.blocks.forget()
        return self._now(paddr, length)

    def _now(self, paddr: int, length: int) -> bytes:
        self._check(paddr, length)
        try:
            return b"".join(self._blocks(paddr, length))
        except (Unusable, OSError, ValueError) as error:
            raise MemoryGap(Outcome.UNREADABLE, f"{paddr:#x}: QEMU: {error}") from None

    def heads(self, paddr: int, length: int) -> Iterator[Heads]:
        size = _SAVED_BYTES if self.quick else _PRINTED_BYTES
        for at in range(paddr, paddr + length, size):
            some = min(size, paddr + length - at)
            with suppress(MemoryGap):
                yield Heads(at, memoryview(self.read(at, some)), PAGE_BYTES)

    def _check(self, paddr: int, length: int) -> None:
        end = paddr + length
        at = paddr
        for first, last in self._all[max(bisect.bisect_right(self._starts, paddr) - 1, 0) :]:
            if not first <= at <= last:
                break
            at = last + 1
            if at >= end:
                return
        raise MemoryGap(Outcome.UNREADABLE, f"{at:#x} is not memory of the guest")

    def _blocks(self, paddr: int, length: int) -> Iterator[bytes]:
        size = _SAVED_BYTES if self.quick else _PRINTED_BYTES
        for at in range(paddr, paddr + length, size):
            some = min(size, paddr + length - at)
            if self._window is None:
                yield _printed(self._monitor, at, some)
            else:
                yield self._window.read(at, some)


def reads_the_guest(monitor: Monitor, read: ReadPhysical) -> bool:
    """Return whether another way of reading gives what the monitor prints.

    The process that listens on a QMP socket may be another one than its QEMU, which got the socket
    from it.

    Raises:
        OSError, ValueError: see :meth:`Monitor.execute`.
    """
    try:
        ranges = ram_ranges(monitor.ask("info mtree -f"))
        return _agrees(monitor, read, [(first, last + 1 - first) for first, last in ranges])
    except Unusable:
        return True  # nothing to compare with: a QEMU that prints no memory


def _agrees(monitor: Monitor, read: ReadPhysical, ranges: Sequence[tuple[int, int]]) -> bool:
    for first, length in ranges:
        step = length // PAGE_BYTES // _COMPARED_PLACES * PAGE_BYTES
        for paddr in range(first, first + length, step):
            for _ in range(_TRIES):
                printed = _printed(monitor, paddr, _COMPARED_BYTES)
                try:
                    if read(paddr, _COMPARED_BYTES) == printed:
                        break
                except (MemoryGap, Unusable):
                    return False
            else:
                return False
    return True


def _printed(monitor: Monitor, paddr: int, length: int) -> bytes:
    """Read by ``xp``, which prints words; the first and the last may be read in part."""
    first = paddr & -_WORD_BYTES
    words = -(-(paddr + length - first) // _WORD_BYTES)
    found = _WORDS.findall(monitor.ask(f"xp /{words}gx {first:#x}"))
    # Each line begins with its address, without 0x.
    if len(found) != words:
        raise Unusable(f"it printed {len(found)} words instead of {words}")
    data = b"".join(int(word, 16).to_bytes(_WORD_BYTES, "little") for word in found)
    return data[paddr - first : paddr - first + length]


class _Window:
    """A memfd that QEMU writes to. Use :meth:`open`."""

    def __init__(self, monitor: Monitor, descriptor: int, fdset: int, number: int) -> None:
        self._monitor, self._descriptor = monitor, descriptor
        self._name = f"/proc/self/fd/{number}"
        weakref.finalize(self, _close, monitor, descriptor, fdset)

    @classmethod
    def open(cls, monitor: Monitor) -> _Window | None:
        """Give QEMU a memfd; None if the socket or QEMU cannot do that."""
        if monitor.connection.family != socket.AF_UNIX:
            return None
        descriptor = os.memfd_create("pageproof", os.MFD_CLOEXEC)
        try:
            answer = monitor.execute("add-fd", descriptor=descriptor)
        except Unusable:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        match answer:
            case {"fdset-id": int(fdset), "fd": int(number)}:
                return cls(monitor, descriptor, fdset, number)
        os.close(descriptor)
        return None

    def read(self, paddr: int, length: int) -> bytes:
        arguments: dict[str, object] = {"val": paddr, "size": length, "filename": self._name}
        self._monitor.execute("pmemsave", arguments)
        data = os.pread(self._descriptor, length, 0)
        if len(data) != length:
            raise Unusable(f"it wrote {len(data)} bytes instead of {length}")
        return data


def _close(monitor: Monitor, descriptor: int, fdset: int) -> None:
    os.close(descriptor)
    # QEMU closes its own copy while the guest runs, and by itself once no monitor is connected
    # (monitor_fdset_cleanup() of monitor/fds.c).
    with suppress(Unusable, OSError, ValueError):
        monitor.execute("remove-fd", {"fdset-id": fdset})
