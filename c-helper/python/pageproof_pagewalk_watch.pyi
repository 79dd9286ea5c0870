# SPDX-License-Identifier: GPL-2.0-or-later
"""Hardware breakpoints of this machine: a part of the module pageproof_pagewalk.

This file is a stub only. Import these names from pageproof_pagewalk.
"""

from typing import Final

WATCH_REGISTERS: Final[int]
"""Debug registers of a CPU."""
WATCH_VALUE_BYTES: Final[int]
"""The most bytes that all registers together cover."""
WATCH_USER: Final[int]
"""Bits of a record's flags: the CPU's ring, 0 in the kernel."""
WATCH_WRITE: Final[int]
"""Bit of a record's flags: a write."""
WATCH_EXACT: Final[int]
"""Bit of a record's flags: without WATCH_WRITE it is a read."""

WatchRecord = tuple[int, int, int, int, int, int, int, bytes, int, bytes, int, tuple[int, ...]]
"""number of the place, ns (CLOCK_MONOTONIC), cpu, flags, preempt_count, tgid, pid, comm, ip, value,
records that did not fit until now, return addresses.

preempt_count contains what the #DB handler adds (irqentry_nmi_enter(), in the kernel only). value
has WATCH_VALUE_BYTES, of which the place's are valid; it is empty if memory could not be read.
"""

def watch_pieces(address: int, length: int, /) -> int:
    """Return how many debug registers bytes need: each covers 1, 2, 4 or 8 bytes, aligned."""

def watch_is_emulated() -> bool:
    """Return whether QEMU emulates the CPU.

    Then an access hits only the first of several breakpoints for it, and an instruction that reads
    and writes memory (but no atomic one) hits those for reads.
    """

class Watch:
    """Breakpoints on CPUs, and the ring buffer of their hits. Not for several threads."""

    def __new__(
        cls,
        cpus: tuple[int, ...],
        ring_bytes: int,
        per_cpu_offset: int,
        preempt_count: int,
        task_mm: int,
        own_pid: int,
        writes_only: bool,
        stack: bool,
    ) -> Watch:
        """Create the maps.

        Args:
            cpus: numbers of the CPUs to watch.
            ring_bytes: a power of two, of whole pages.
            per_cpu_offset: address of ``__per_cpu_offset[]``.
            preempt_count: address of the variable in the image of per-CPU variables.
            task_mm: offset of ``mm`` in ``struct task_struct``.
            own_pid: process whose accesses are ignored.
            writes_only: reads are no hits.
            stack: records have one.

        Raises:
            OSError: the kernel refuses.
        """

    def arm(self, number: int, address: int, length: int, value_address: int, mm: int) -> None:
        """Watch a place on all CPUs.

        Args:
            number: names the place in records.
            value_address: of the same bytes, in the direct map.
            mm: address of the ``struct mm_struct`` of a user address, 0 for a kernel address.

        Raises:
            OSError: ENOSPC: no debug register is left. EEXIST: the place is watched already.
        """

    def disarm(self, number: int, /) -> None: ...
    def disarm_all(self) -> None: ...
    def is_exact(self, number: int, /) -> bool:
        """Return whether an armed place has registers that tell reads from writes."""

    def read(self) -> list[WatchRecord]:
        """Return records in their order, some thousands at most; empty if there are none."""

    def fileno(self) -> int:
        """Return a file that is readable when there are records."""

    def used(self) -> int:
        """Return how many registers of each CPU the places need; second ones do not count."""

    def lost(self) -> int:
        """Return how many hits have no record. It is exact when nothing is armed."""

    def close(self) -> None:
        """Release everything; calling it again does nothing."""
