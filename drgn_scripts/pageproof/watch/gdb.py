# SPDX-License-Identifier: GPL-2.0-or-later
"""Watching a QEMU guest from outside, through QEMU's gdb stub.

Under emulation QEMU checks every access to a watched page (cpu_check_watchpoint() of
softmmu/watchpoint.c, since 8.2 system/watchpoint.c or accel/tcg/watchpoint.c), and the guest stops
after the instruction. It runs again before the hit is given to the caller.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from pageproof.arch.cpu import Registers
from pageproof.attach.target import Target
from pageproof.errors import PageproofError
from pageproof.model import TargetKind
from pageproof.model.watch import Place
from pageproof.watch import qemu, remote
from pageproof.watch.record import RecordFile, identity
from pageproof.watch.source import Hit
from pageproof.watch.stops import STOP, Stopped, Stops
from pageproof.watch.watchpoints import Watchpoints

#: How long close() may take.
_LEAVE_SECONDS: Final = 10.0
#: A step takes a millisecond.
_STEP_SECONDS: Final = 1.0
#: A hit, the interrupt that it has left, an instruction.
_MOST_STEPS: Final = 4
#: Number of stops between two readings of QMP events; each stop sends two.
_STOPS_BETWEEN_READS: Final = 256


class GdbSource:
    """Hits of watchpoints that QEMU's gdb stub reports. The guest stops for each.

    Args:
        target: a guest.
        address: of its gdb stub: path of a Unix socket, or host:port.
        writes_only: reads do not stop the guest.
        stacks: read the stack of each hit in kernel mode.

    Attributes:
        notes: for the user.
        blind: QEMU does not report locked instructions.

    Raises:
        PageproofError: the guest is stopped, or the stub cannot be used. The guest is as before.
    """

    name = "gdb"

    def __init__(
        self, target: Target, address: str, *, writes_only: bool = False, stacks: bool = False
    ) -> None:
        self._where = f"--gdb {address}"
        if target.facts.kind is not TargetKind.QEMU or target.monitor is None:
            raise PageproofError(
                "watching through a gdb stub needs a guest", self._where, "give --qemu SOCKET too"
            )
        self._monitor = target.monitor
        self._pending: deque[Hit] = deque()
        self._running = self._watched = self._not_ours = self._together = False
        self._stops = 0
        self._left = ""
        self._remote: remote.Remote | None = None
        self.notes: tuple[str, ...] = ()
        self.blind = False
        facts = qemu.read_facts(self._monitor, self._where)
        vmcoreinfo = target.prog["VMCOREINFO"].string_()
        self._record = RecordFile(address, identity(self._monitor.connection, vmcoreinfo))
        self._check_state(facts.state)
        qemu.check_stub(self._monitor, address, self._where)
        self._watchpoints = Watchpoints(kvm=facts.kvm, writes_only=writes_only)
        self._threads: list[str] = []
        self._last: dict[str, Registers] = {}
        try:
            self._record.write(paused=True)
            self._remote = remote.connect(address)
            self._remote.negotiate()
            self._threads = self._remote.threads()
            self._remote.remove_all(self._threads)
            self._decode = Stops(
                target,
                self._remote,
                self._watchpoints,
                writes_only=writes_only,
                stacks=stacks,
            )
            self._note_atomics(facts, writes_only=writes_only)
            if not facts.kvm:
                self._forget_old_hits()
            self._resume()
        except BaseException:
            self.close()
            raise

    def now(self) -> int:
        return time.monotonic_ns()

    @property
    def lost(self) -> int:
        return 0

    @property
    def left(self) -> str:
        return self._left

    def arm(self, place: Place) -> str:
        there = self._watchpoints.at(place.address)
        if there is not None:
            if there.length != place.length_bytes:
                return (
                    f"another field of {there.length} bytes begins at the same address, and QEMU "
                    "reports only the address"
                )
            there.places[place.number] = place
            return ""
        self._watched = True
        paused = self._pause()
        try:
            return self._watchpoints.insert(self._stub, place)
        finally:
            if paused:
                self._resume()

    def disarm(self, number: int) -> None:
        there = self._watchpoints.of(number)
        if there is None:
            return
        if len(there.places) > 1:
            del there.places[number]
            return
        paused = self._pause()
        try:
            self._watchpoints.remove(self._stub, there)
        finally:
            if paused:
                self._resume()

    def hits(self, seconds: float) -> Iterator[Hit]:
        deadline = time.monotonic() + seconds
        while True:
            while self._pending:
                yield self._pending.popleft()
                deadline = time.monotonic() + seconds
            left = deadline - time.monotonic()
            packet = self._stub.stop(max(left, 0))
            if packet is not None:
                self._stopped(packet)
                self._stub.resume()
                self._running = True
            elif left <= 0:
                self._read_events()
                return

    def close(self) -> None:
        stub = self._remote
        if stub is None:
            if not self._left:
                self._record.remove()
            return
        try:
            if self._not_ours or (self._running and self._paused_by_another()):
                # Without a detach the guest stays stopped.
                stub.remove_all(self._threads)
            else:
                stub.synchronize(_LEAVE_SECONDS)
                if self._watched:
                    self._forget_hits(stub)
                stub.detach(_LEAVE_SECONDS)
                self._check_running()
        except PageproofError as error:
            self._left = self._not_undone(error)
        finally:
            self._remote = None
            stub.close()
        if not self._left:
            self._record.remove()
        self._read_events()

    @property
    def _stub(self) -> remote.Remote:
        if self._remote is None:
            raise PageproofError("this watch has ended", self._where)
        return self._remote

    def _check_state(self, state: str) -> None:
        """Refuse a guest that is stopped, unless a watch that was killed has stopped it."""
        left = self._record.left()
        if left is not None and left.pid != os.getpid() and left.alive:
            raise PageproofError(
                f"another pageproof watch, process {left.pid}, watches this guest",
                self._where,
                "end it first",
            )
        if state == qemu.RUNNING:
            if left is not None:
                self.notes += ("an earlier watch was killed; its watchpoints are removed",)
        elif left is not None and (state == qemu.DEBUG or (state == qemu.PAUSED and left.paused)):
            self.notes += (
                "an earlier watch was killed, and the guest was stopped since then; it runs again",
            )
        else:
            raise PageproofError(
                f"the guest is stopped: its state is {state!r}",
                self._where,
                "let it run (QMP: cont) and try again"
                if state in (qemu.DEBUG, qemu.PAUSED)
                else "watch a guest that runs",
            )

    def _note_atomics(self, facts: qemu.QemuFacts, *, writes_only: bool) -> None:
        """Note what QEMU does not report.

        Since 8.0 it does: 417aeaff542e ("accel/tcg: Trigger watchpoints from atomic_mmu_lookup").
        Before, atomic_mmu_lookup() falls back to one CPU at a time, which checks watchpoints, if
        the page is watched for writes and not for reads.
        """
        if facts.kvm or facts.version >= (8, 0) or writes_only or len(self._threads) == 1:
            return
        self.blind = True
        self.notes += (
            f"QEMU {facts.version[0]}.{facts.version[1]} does not report locked instructions (lock "
            "cmpxchg, xchg) of guests with several CPUs; it does with --writes, and QEMU 8.0 does",
        )

    def _stopped(self, packet: str) -> None:
        """Decode a stop, and keep its hits.

        Raises:
            PageproofError: it is no stop of a watchpoint.
        """
        self._running = False
        now = self.now()
        stop = STOP.match(packet)
        if stop is None:
            self._not_ours = True
            raise PageproofError(
                "another client of QEMU, or the guest itself, has stopped the guest",
                self._where,
                "let it run (QMP: cont) and watch again",
            )
        thread, hits = stop["thread"], []
        if stop["address"] is not None:
            (one,) = self._decode.look(thread)
            # After vCPUs that hit together QEMU stops once more, maybe before an instruction.
            if not (self._together and one.registers == self._last.get(thread)):
                hits = self._decode.reported(one, int(stop["address"], 16), stop["kind"], now)
            self._last[thread] = one.registers
        self._together = False
        hits += self._unreported(now, thread)
        self._pending += self._decode.with_frame(hits)
        self._stops += 1
        if self._stops % _STOPS_BETWEEN_READS == 0:
            self._read_events()

    def _unreported(self, now: int, reported: str = "") -> list[Hit]:
        """Return the hits of vCPUs that hit while the guest was being stopped.

        A step makes QEMU report and forget such a hit.
        """
        found: list[Hit] = []
        others = [thread for thread in self._threads if thread != reported]
        for one in self._decode.look(*others) if others else ():
            if not self._may_have_hit(one):
                continue
            hits = self._decode.unreported(one, now)
            stop = STOP.match(self._step(one.thread))
            (after,) = self._decode.look(one.thread)
            self._last[one.thread] = after.registers
            if stop is None or stop["address"] is None:
                continue
            self._together = True
            address, kind = int(stop["address"], 16), stop["kind"]
            found += hits or self._decode.reported(one, address, kind, now)
            if after.registers != one.registers:  # QEMU does not report this access either
                found += self._decode.unreported(after, now, one.registers)
        return found

    def _forget_hits(self, stub: remote.Remote) -> None:
        """Make QEMU forget hits that it has not reported, or the next debugger would see them."""
        try:
            near = [one for one in self._decode.look(*self._threads) if self._may_have_hit(one)]
            for watchpoint in tuple(self._watchpoints):
                self._watchpoints.remove(stub, watchpoint)
            for one in near:
                self._forget(one)
        except PageproofError:
            stub.synchronize(_LEAVE_SECONDS)

    def _forget_old_hits(self) -> None:
        """Make QEMU forget hits that an earlier debugger has not seen.

        A vCPU that waits for an interrupt cannot be stepped. A watch that was killed leaves none
        there, as the guest has not run since.
        """
        for one in self._decode.look(*self._threads):
            if not self._decode.has_halted(one):
                self._forget(one)

    def _forget(self, one: Stopped) -> None:
        """Step a vCPU until it has executed an instruction and QEMU has nothing more to report.

        If something is left, the guest stops once more, also after a detach.
        """
        for _ in range(_MOST_STEPS):
            stop = STOP.match(self._step(one.thread))
            (after,) = self._decode.look(one.thread)
            if stop is None or (stop["address"] is None and after.registers != one.registers):
                return
            one = after

    def _may_have_hit(self, one: Stopped) -> bool:
        """Return whether a vCPU has run since its last hit and may have used a watched page."""
        return one.registers != self._last.get(one.thread) and self._decode.is_near(one)

    def _step(self, thread: str) -> str:
        """Let one vCPU execute one instruction, and return the stop reply."""
        self._stub.step(thread)
        packet = self._stub.stop(_STEP_SECONDS)
        if packet is None:  # the instruction was hlt
            self._stub.interrupt()
            packet = self._stub.stop(remote.ANSWER_SECONDS)
        return packet or ""

    def _pause(self) -> bool:
        """Stop the guest if it runs, and return whether it did."""
        if not self._running:
            return False
        self._record.write(paused=True)
        self._stub.interrupt()
        packet = self._stub.stop(remote.ANSWER_SECONDS)
        if packet is None:
            raise PageproofError("QEMU does not stop the guest", self._where, "is its host busy?")
        self._running = False
        if STOP.match(packet):  # a hit came first
            self._stopped(packet)
        else:
            self._pending += self._decode.with_frame(self._unreported(self.now()))
        return True

    def _resume(self) -> None:
        self._stub.resume()
        self._running = True
        self._record.write(paused=False)

    def _read_events(self) -> None:
        with suppress(OSError, ValueError):
            self._monitor.drain()

    def _paused_by_another(self) -> bool:
        try:
            return qemu.run_state(self._monitor, self._where) == qemu.PAUSED
        except PageproofError:
            return False

    def _check_running(self) -> None:
        state = qemu.run_state(self._monitor, self._where)
        if state == qemu.DEBUG:
            raise PageproofError(f"the guest is stopped: its state is {state!r}", self._where)

    def _not_undone(self, error: PageproofError) -> str:
        """Return what close() could not do; "" if QEMU has ended."""
        try:
            qemu.run_state(self._monitor, self._where)
        except PageproofError:
            return ""
        return (
            f"watchpoints may still be armed, and the next hit then stops the guest ({error}); "
            'start "pageproof watch" again, which removes them, or let the guest run with QMP\'s '
            "cont"
        )
