# SPDX-License-Identifier: GPL-2.0-or-later
"""What the article did with gdb: breakpoints, watchpoints and registers of a stopped guest.

Under emulation QEMU keeps breakpoints and watchpoints beside the guest, so nothing is written to
the guest's memory (gdb_breakpoint_insert() of gdbstub.c; "Z1" as well as "Z0").
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from pageproof.arch.cpu import Registers
from pageproof.attach import Target
from pageproof.model.watch import Place
from pageproof.watch import remote
from pageproof.watch.current import Current, CurrentTasks
from pageproof.watch.source import Hit
from pageproof.watch.stops import STOP, Stopped, Stops
from pageproof.watch.watchpoints import Watchpoints
from pageproof_lab import LabError

#: Longest time from one stop to the next. The guest is emulated, and its host may be busy.
STOP_SECONDS = 240
_LEAVE_SECONDS = 30.0
_WORD_BYTES = 8
#: QEMU sends two events to its monitor for each stop, and keeps those that nobody reads.
_STOPS_BETWEEN_READS = 256


@dataclass(frozen=True)
class Stop:
    """Where the guest has stopped.

    Attributes:
        hits: of watchpoints, one for each place that the instruction used; empty at a breakpoint.
    """

    registers: Registers
    current: Current
    hits: tuple[Hit, ...]


#: Called with each stop at a watchpoint while the guest runs to a breakpoint.
OnHit = Callable[[Stop], None]


class Session:
    """A connection to the gdb stub of a guest with one CPU, which is stopped in between.

    Args:
        target: the same guest, attached over QMP.
        address: path of the gdb stub's socket.

    Raises:
        PageproofError: the stub cannot be used.
    """

    def __init__(self, target: Target, address: str) -> None:
        self._target = target
        self._tasks = CurrentTasks(target.prog, target.reader)
        self._watchpoints = Watchpoints(kvm=False)
        self._stopped = 0
        self._thread = ""
        self._remote = remote.connect(address)
        try:
            self._remote.negotiate()
            self._remote.remove_all(self._remote.threads())
            self._decode = Stops(
                target, self._remote, self._watchpoints, writes_only=False, stacks=False
            )
        except BaseException:
            self._remote.close()
            raise

    def run(self) -> None:
        """Remove all watchpoints and let the guest run, until `halt`."""
        for watchpoint in [*self._watchpoints]:
            self._watchpoints.remove(self._remote, watchpoint)
        self._remote.resume()

    def halt(self) -> None:
        """Stop a guest that runs without watchpoints."""
        self._remote.interrupt()
        self._wait("the guest")

    def close(self) -> None:
        """Detach, so that the guest runs on."""
        try:
            self._remote.synchronize(_LEAVE_SECONDS)
            self._remote.detach(_LEAVE_SECONDS)
        finally:
            self._remote.close()

    # What one types

    def run_to(self, address: int, where: str, on_hit: OnHit, sp: int | None = None) -> Stop:
        """Set a hardware breakpoint, run until it is hit, and delete it.

        Args:
            address: of an instruction.
            where: its name, for messages.
            on_hit: called with the hits of watchpoints on the way.
            sp: the stack pointer there; without it the first task that comes counts.

        Raises:
            LabError: it was not hit in time.
        """
        deadline = time.monotonic() + STOP_SECONDS
        while True:
            self._ask(f"Z1,{address:x},1")
            while (stop := self.go(deadline, where)).hits:
                on_hit(stop)
            self._ask(f"z1,{address:x},1")
            if stop.registers.ip == address and sp in (None, stop.registers.values["rsp"]):
                return stop
            # Another task came first. From a breakpoint's address QEMU would not go on.
            self._remote.step(self._thread)
            self._wait("after one instruction")

    def finish(self, entry: Stop, where: str, on_hit: OnHit) -> Stop:
        """Run until the function returns at whose first instruction the guest has stopped."""
        sp = entry.registers.values["rsp"]
        back = self._target.reader.read_kernel_virtual(sp, _WORD_BYTES)
        return self.run_to(int.from_bytes(back, "little"), where, on_hit, sp + _WORD_BYTES)

    def watch(self, place: Place) -> None:
        """Watch a place for reads and writes.

        Raises:
            LabError: QEMU refused.
        """
        if why := self._watchpoints.insert(self._remote, place):
            raise LabError(f"cannot watch {place.address:#x}: {why}")

    def go(self, deadline: float, where: str) -> Stop:
        """Let the guest run until it stops; hits in other address spaces do not count.

        Args:
            deadline: as time.monotonic() counts.
            where: what is waited for, for messages.

        Raises:
            LabError: it did not stop in time, or for another reason.
        """
        while True:
            self._remote.resume()
            packet = self._remote.stop(max(0.0, deadline - time.monotonic()))
            if packet is None:
                raise LabError(f"{where}: not reached within {STOP_SECONDS} s")
            found = STOP.match(packet)
            if found is None:
                raise LabError(f"{where}: the guest stopped for another reason: {packet[:60]!r}")
            self._stopped += 1
            if self._stopped % _STOPS_BETWEEN_READS == 0:
                self._read_events()
            self._thread = found["thread"]
            one = self._decode.look(self._thread)[0]
            if found["address"] is None:
                return self._stop(one)
            address, now = int(found["address"], 16), time.monotonic_ns()
            if hits := self._decode.reported(one, address, found["kind"], now):
                return self._stop(one, *hits)

    def _stop(self, one: Stopped, *hits: Hit) -> Stop:
        return Stop(one.registers, self._tasks.of(one.registers, one.vcpu), hits)

    def _wait(self, where: str) -> None:
        if self._remote.stop(remote.ANSWER_SECONDS) is None:
            seconds = remote.ANSWER_SECONDS
            raise LabError(f"{where}: QEMU does not stop it within {seconds:.0f} s")

    def _ask(self, packet: str) -> None:
        answer = self._remote.ask(packet)[0]
        if answer != "OK":
            raise LabError(f"QEMU's gdb stub refused {packet}: {answer[:20]!r}")

    def _read_events(self) -> None:
        if self._target.monitor is not None:
            with suppress(OSError, ValueError):
                self._target.monitor.drain()
