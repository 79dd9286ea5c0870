# SPDX-License-Identifier: GPL-2.0-or-later
"""Watching this machine from inside, with perf's hardware breakpoints; nobody is stopped.

Each breakpoint has a BPF program (c-helper/watch/program.c) that writes a record, because perf's
own samples do not contain the memory.

A debug register can watch writes, or reads and writes, but not reads alone. So each piece of a
place gets two if they are free: what hits only the second one is a read. With one register an
access that changed the value is a write; of other accesses it is not known. A later place may take
a second register back.

What it does not see: accesses by devices (DMA), those in an NMI or in the handler of another debug
exception, where the kernel switches debug registers off (``local_db_save()``), those of this
process, and those on a CPU that came online later.
"""

from __future__ import annotations

import errno
import os
import resource
import select
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import drgn

from pageproof.attach.target import Target
from pageproof.errors import PageproofError
from pageproof.find.kernel.paging import page_offset
from pageproof.model import MemoryGap, TargetKind
from pageproof.model.watch import Context, Mode, Place
from pageproof.watch.current import current_variables
from pageproof.watch.hits import Values, context_of
from pageproof.watch.source import Hit

if TYPE_CHECKING:
    from pageproof_pagewalk import Watch, WatchRecord

_RING_BYTES: Final = 4 << 20
_ONLINE: Final = Path("/sys/devices/system/cpu/online")
#: The ring buffer's wake-up is no promise, so look again.
_POLL_SECONDS: Final = 0.2

_BPF_REMEDY: Final = (
    "watching inside needs root, Linux 5.10 or newer with CONFIG_BPF_SYSCALL and "
    "CONFIG_PERF_EVENTS, and no kernel lockdown (see /sys/kernel/security/lockdown)"
)


class PerfSource:
    """Hits of this machine's own memory.

    The clock is ``CLOCK_MONOTONIC``. The order is that of the ring buffer, which all CPUs share.

    Args:
        target: the live kernel.
        writes_only: reads are no hits; a place needs one register for each piece.
        stacks: hits have a stack.
        ring_bytes: of the ring buffer, a power of two.

    Raises:
        PageproofError: the target is not this machine, or the kernel refuses.
    """

    name = "perf"

    def __init__(
        self,
        target: Target,
        *,
        writes_only: bool = False,
        stacks: bool = False,
        ring_bytes: int = _RING_BYTES,
    ) -> None:
        if target.facts.kind is not TargetKind.LIVE:
            raise PageproofError(
                "hardware breakpoints of perf watch this machine only",
                target.facts.where,
                "watch a guest with --gdb, or run pageproof inside it",
            )
        try:
            import pageproof_pagewalk as engine
        except ImportError:
            raise PageproofError(
                "watching inside needs pageproof's extension in C, which is not built",
                "",
                "make engine",
            ) from None
        self._engine = engine
        self._reader = target.reader
        self._page_offset = page_offset(target.prog)
        self._places: dict[int, Place] = {}
        self._armed: set[int] = set()
        self._writes_only = writes_only
        self.notes: tuple[str, ...] = ()
        self._emulated = engine.watch_is_emulated()
        self._values = Values(self._emulated)
        self._records: deque[WatchRecord] = deque()
        self._last_ns = 0
        self._lost = 0
        _raise_limits()
        cpus = numbers_of(_ONLINE.read_text())
        #: As in GdbSource: a register for any access watches the page for reads too.
        self.blind = self._emulated and not writes_only and len(cpus) > 1
        try:
            self._watch: Watch | None = engine.Watch(
                cpus=cpus,
                ring_bytes=ring_bytes,
                per_cpu_offset=target.prog.symbol("__per_cpu_offset").address,
                preempt_count=current_variables(target.prog)[1],
                task_mm=drgn.offsetof(target.prog.type("struct task_struct"), "mm"),
                own_pid=os.getpid(),
                writes_only=writes_only,
                stack=stacks,
            )
        except OSError as error:
            raise PageproofError(
                f"the kernel refuses to watch: {_words(error)}", "", _BPF_REMEDY
            ) from None

    def now(self) -> int:
        """Return the time on the clock of the hits, in nanoseconds."""
        return time.monotonic_ns()

    def arm(self, place: Place) -> str:
        """Watch a place from now on; return "" or the reason why not."""
        if self._watch is None:
            return "the watch has ended"
        if place.side is Mode.USER and not place.mm:
            return "its address space is not known"
        if self._emulated and any(_overlap(place, self._places[one]) for one in self._armed):
            return (
                "it overlaps another place: QEMU, which emulates this CPU, reports only one of two "
                "breakpoints; choose one of the fields"
            )
        before = self._read(place)
        try:
            self._watch.arm(
                place.number,
                place.address,
                place.length_bytes,
                self._page_offset + place.paddr,
                place.mm,
            )
        except OSError as error:
            return self._refusal(place, error)
        self._places[place.number] = place
        self._armed.add(place.number)
        self._note()
        self._values.begin(place, before, self._read(place))
        return ""

    def disarm(self, number: int) -> None:
        """Stop watching a place; nothing happens if it is not armed."""
        if self._watch is not None:
            self._watch.disarm(number)
        self._armed.discard(number)
        self._note()

    def hits(self, seconds: float) -> Iterator[Hit]:
        """Yield hits in their order; return after that many seconds without a hit."""
        if self._watch is None:
            return
        poll = select.poll()
        poll.register(self._watch, select.POLLIN)
        deadline = time.monotonic() + seconds
        while self._watch is not None:
            if not self._records:
                self._records.extend(self._watch.read())
            if self._records:
                while self._records:
                    yield self._hit(self._records.popleft())
                deadline = time.monotonic() + seconds
                continue
            left = deadline - time.monotonic()
            if left <= 0:
                return
            poll.poll(1000 * min(left, _POLL_SECONDS))

    @property
    def lost(self) -> int:
        """How many hits could not be delivered so far: the ring was full, or another program ran.

        perf counts every hit; what is missing among the records is lost. While hits are on their
        way it may be too high by one for each CPU. After close() it is exact.
        """
        return self._watch.lost() if self._watch is not None else self._lost

    def close(self) -> None:
        """Release everything; calling it again does nothing."""
        if self._watch is None:
            return
        self._watch.disarm_all()
        self._armed.clear()
        self._lost = self._watch.lost()
        self._watch.close()
        self._watch = None

    @property
    def left(self) -> str:
        """Nothing is left: the kernel releases breakpoints with their files."""
        return ""

    def _note(self) -> None:
        """Note where reads cannot be distinguished from writes."""
        notes = []
        if self.blind:
            notes.append(
                "QEMU emulates this CPU: before 8.0 it does not report locked instructions (lock "
                "cmpxchg, xchg) of guests with several CPUs; it does with --writes"
            )
        if self._watch is None or self._writes_only:
            return
        unclear = [one for one in sorted(self._armed) if not self._watch.is_exact(one)]
        if unclear:
            notes.append(
                f"{len(unclear)} of {len(self._armed)} places have one debug register for reads "
                "and writes: an access that changes nothing may be either"
            )
        if self._emulated and len(unclear) < len(self._armed):
            notes.append(
                "QEMU emulates this CPU: an instruction that reads and writes memory, but not "
                "atomically, is shown as an access"
            )
        self.notes = tuple(notes)

    def _read(self, place: Place) -> bytes | None:
        with suppress(drgn.FaultError, MemoryGap):
            return self._reader.read_physical(place.paddr, place.length_bytes)
        return None

    def _hit(self, record: WatchRecord) -> Hit:
        number, ns, cpu, flags, preempt_count, pid, tid, comm, ip, value, dropped, stack = record
        place = self._places[number]
        bytes_ = value[: place.length_bytes] or None
        self._last_ns = max(self._last_ns, ns)
        mode = Mode.USER if flags & self._engine.WATCH_USER else Mode.KERNEL
        return Hit(
            place=number,
            ns=self._last_ns,
            cpu=cpu,
            access=self._values.access(
                place,
                bytes_,
                dropped,
                write=bool(flags & self._engine.WATCH_WRITE),
                exact=bool(flags & self._engine.WATCH_EXACT),
            ),
            mode=mode,
            context=context_of(preempt_count) if mode is Mode.KERNEL else Context.TASK,
            pid=pid,
            tid=tid,
            comm=comm.decode("utf-8", "backslashreplace"),
            ip=ip,
            value=bytes_,
            stack=stack,
        )

    def _refusal(self, place: Place, error: OSError) -> str:
        pieces = self._engine.watch_pieces(place.address, place.length_bytes)
        registers = self._engine.WATCH_REGISTERS
        if error.errno == errno.E2BIG and pieces > registers:
            return (
                f"{place.length_bytes} bytes need {pieces} debug registers of 1, 2, 4 or 8 aligned "
                f"bytes, and a CPU has {registers}; choose a narrower field (--field)"
            )
        if error.errno == errno.ENOSPC:
            used = self._watch.used() if self._watch is not None else 0
            need = f"it needs {pieces}" if pieces > 1 else "it needs one"
            others = "" if used + pieces > registers else ", and debuggers or perf use others"
            return (
                f"no debug register is left: {need}, a CPU has {registers}, {used} are used for "
                f"places before it{others}; choose a narrower field (--field) or one place"
            )
        if error.errno == errno.EEXIST:
            return "it is watched already, as another place"
        if error.errno == errno.EINVAL and "perf_event_open" in str(error):
            return "the kernel does not watch this address (its own entry code uses it)"
        if error.errno in (errno.EPERM, errno.EACCES):
            return f"the kernel refuses: {_words(error)}; {_BPF_REMEDY}"
        if error.errno == errno.EMFILE:
            return "too many open files: each place needs two a CPU; raise the limit (ulimit -n)"
        if error.errno in (errno.ENOENT, errno.EOPNOTSUPP):
            return f"this kernel has no hardware breakpoints: {_words(error)}"
        return f"the kernel refuses: {_words(error)}"


def _overlap(one: Place, other: Place) -> bool:
    """Return whether places have some addresses in common, but not all."""
    if (one.side, one.address, one.length_bytes) == (other.side, other.address, other.length_bytes):
        return False
    return (
        one.address < other.address + other.length_bytes
        and other.address < one.address + one.length_bytes
    )


def numbers_of(text: str) -> tuple[int, ...]:
    """Return the numbers of a list of CPUs such as "0-3,8"."""
    ranges = (part.partition("-") for part in text.strip().split(","))
    return tuple(
        cpu for first, _, last in ranges for cpu in range(int(first), int(last or first) + 1)
    )


def _raise_limits() -> None:
    """Allow a file for each register of each CPU, and memory for maps, which 5.10 locks."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with suppress(OSError, ValueError):
        resource.setrlimit(
            resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        )


def _words(error: OSError) -> str:
    return f"{error.strerror}: {os.strerror(error.errno or 0)}"
