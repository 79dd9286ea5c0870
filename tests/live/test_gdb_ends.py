# SPDX-License-Identifier: GPL-2.0-or-later
"""However a watch ends, the guest runs on without watchpoints; one that was stopped stays so."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import watcher
from machine import ONE_A_KERNEL, Machine, each_kernel_at_length, environment, on_one_kernel
from watching import (
    HEALTH,
    ID,
    STATE,
    arm,
    assert_runs_unwatched,
    hits_of,
    lab_target,
    qemu_state,
    qmp,
    slot_places,
    source_of,
    target_of,
    wait_for_state,
)

from pageproof.errors import Exit, PageproofError
from pageproof.watch import remote
from pageproof.watch.gdb import GdbSource
from pageproof_lab.guest import boot, qemu
from pageproof_lab.guest.guest import monitor
from pageproof_lab.images import build, kernels


class Watcher:
    """A process of watcher.py."""

    def __init__(self, machine: Machine, how: str = "") -> None:
        sockets = machine.guest.sockets
        words = [str(sockets.qmp), str(sockets.gdb), kernel_address(machine)]
        words += [str(machine.kernel.vmlinux), *([how] if how else [])]
        self.process = subprocess.Popen(
            [sys.executable, watcher.__file__, *words],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.notes: list[str] = []
        ready = how + "d" if how == "pause" else "armed"
        while (line := self.line()) != ready:
            self.notes.append(line)

    def line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"{self.notes} {self.process.communicate()}")
        return line.rstrip("\n")

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> int:
        try:
            _, self.errors = self.process.communicate(timeout=120)
        finally:
            self.process.kill()
        return self.process.returncode


_ADDRESSES: dict[int, str] = {}


def kernel_address(machine: Machine) -> str:
    """Address of the slot's id; read once for a load of the module."""
    key = id(machine), machine.sysfs("helper_pid")
    if hash(key) not in _ADDRESSES:
        with target_of(machine) as target:
            _ADDRESSES[hash(key)] = hex(target.prog["umh_shm_region"].kaddr.value_())
    return _ADDRESSES[hash(key)]


@contextmanager
def touched(machine: Machine) -> Iterator[None]:
    """The kernel uses the slot, as long as that takes: the guest may stop meanwhile."""
    failed: list[BaseException] = []

    def use() -> None:
        try:
            machine.guest.check("sh", "-c", HEALTH, timeout_seconds=300)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=use)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    assert not failed


def health_check(machine: Machine, source: GdbSource) -> None:
    """A watch that started after another one was killed sees hits, and only its own."""
    with target_of(machine) as target:
        places = slot_places(machine, target, ID)
    arm(source, places[:1])
    hits = hits_of(source, lambda: machine.guest.check("sh", "-c", HEALTH))
    assert [hit.place for hit in hits] == [0]


@each_kernel_at_length
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=str)
def test_signals(loaded: Machine, number: signal.Signals) -> None:
    process = Watcher(loaded)
    with touched(loaded):
        assert process.line().startswith("hit ")
    code = process.end(number)
    assert code == (-signal.SIGINT if number is signal.SIGINT else 128 + number)
    assert "left: ''" in process.errors
    assert_runs_unwatched(loaded)


@each_kernel_at_length
def test_killed_while_the_guest_runs(loaded: Machine) -> None:
    """The next hit stops the guest, and the next watch resumes it."""
    process = Watcher(loaded)
    assert process.end(signal.SIGKILL) == -signal.SIGKILL
    assert qemu_state(loaded) == "running"
    with touched(loaded):
        wait_for_state(loaded, "debug")
        with target_of(loaded) as target:
            source = GdbSource(target, str(loaded.guest.sockets.gdb))
            try:
                assert any("it runs again" in note for note in source.notes)
                assert not list(source.hits(1))  # nothing is armed
                assert qemu_state(loaded) == "running"
            finally:
                source.close()
    assert_runs_unwatched(loaded)


@each_kernel_at_length
def test_killed_and_no_hit_came(loaded: Machine) -> None:
    process = Watcher(loaded)
    process.end(signal.SIGKILL)
    with target_of(loaded) as target, source_of(loaded, target) as source:
        assert any("its watchpoints are removed" in note for note in source.notes)
        for cpu in range(loaded.setup.cpus):
            on_cpu = f"taskset -c {cpu} sh -c '{HEALTH}'"
            assert not hits_of(source, lambda: loaded.guest.check("sh", "-c", on_cpu))  # noqa: B023
        assert source._stops == 0
    assert_runs_unwatched(loaded)
    with target_of(loaded) as target, source_of(loaded, target) as source:
        assert not any("killed" in note for note in source.notes)


@on_one_kernel
def test_killed_while_it_held_the_guest(loaded: Machine) -> None:
    process = Watcher(loaded, "pause")
    assert qemu_state(loaded) == "paused"
    process.end(signal.SIGKILL)
    assert qemu_state(loaded) == "paused"
    with target_of(loaded) as target, source_of(loaded, target) as source:
        assert any("it runs again" in note for note in source.notes)
    assert_runs_unwatched(loaded)


@on_one_kernel
def test_stopped_by_another_after_a_kill(loaded: Machine) -> None:
    """A record is no reason to resume a guest that somebody else has stopped."""
    process = Watcher(loaded)
    process.end(signal.SIGKILL)
    qmp(loaded, "stop")
    with target_of(loaded) as target:
        with pytest.raises(PageproofError, match="the guest is stopped: its state is 'paused'"):
            GdbSource(target, str(loaded.guest.sockets.gdb))
        assert qemu_state(loaded) == "paused"
        qmp(loaded, "cont")
        with source_of(loaded, target) as source:
            assert any("its watchpoints are removed" in note for note in source.notes)
    assert_runs_unwatched(loaded)


@on_one_kernel
def test_a_stopped_guest_stays_stopped(loaded: Machine) -> None:
    with target_of(loaded) as target:
        qmp(loaded, "stop")
        with pytest.raises(PageproofError, match="the guest is stopped") as error:
            GdbSource(target, str(loaded.guest.sockets.gdb))
        assert error.value.exit_code is Exit.USAGE
        assert qemu_state(loaded) == "paused"
    qmp(loaded, "cont")
    assert_runs_unwatched(loaded)


@each_kernel_at_length
def test_stopped_by_another_during_the_watch(loaded: Machine) -> None:
    process = Watcher(loaded)
    qmp(loaded, "stop")
    assert "another client of QEMU" in process.line()
    assert process.ended() == Exit.USAGE
    assert qemu_state(loaded) == "paused"
    qmp(loaded, "cont")
    for cpu in range(loaded.setup.cpus):
        loaded.guest.check("taskset", "-c", str(cpu), "sh", "-c", HEALTH)
    assert_runs_unwatched(loaded)


@on_one_kernel
def test_interrupted_after_another_has_stopped_the_guest(loaded: Machine) -> None:
    """close() may come before the stop reply is read."""
    with target_of(loaded) as target:
        source = GdbSource(target, str(loaded.guest.sockets.gdb))
        qmp(loaded, "stop")
        source.close()
        assert source.left == "" and qemu_state(loaded) == "paused"
    qmp(loaded, "cont")
    assert_runs_unwatched(loaded)


@each_kernel_at_length
def test_ended_while_hits_come(loaded: Machine) -> None:
    """close() may come at any moment of a hit."""
    loop = f"i=0; while [ $i -lt 100 ]; do {HEALTH}; i=$((i+1)); done"
    with target_of(loaded) as target:
        places = slot_places(loaded, target, ID, STATE)
        thread = threading.Thread(
            target=lambda: loaded.guest.check("sh", "-c", loop, timeout_seconds=300)
        )
        thread.start()
        for number in range(20):
            with source_of(loaded, target) as source:
                arm(source, places)
                for _, _ in zip(source.hits(1), range(number % 5), strict=False):
                    pass
                time.sleep(number / 4000)
            assert qemu_state(loaded) == "running"
        thread.join()
    assert_runs_unwatched(loaded)


@on_one_kernel
def test_the_reader_of_the_output_ends(loaded: Machine) -> None:
    """A closed pipe is an error of print()."""
    process = Watcher(loaded)
    assert process.process.stdout is not None
    process.process.stdout.close()
    process.process.stdout = None
    with touched(loaded):
        process.ended()
    assert process.process.returncode not in (0, -9)
    assert_runs_unwatched(loaded)


@on_one_kernel
def test_busy(loaded: Machine) -> None:
    address = str(loaded.guest.sockets.gdb)
    process = Watcher(loaded)
    with (
        lab_target(loaded) as target,
        pytest.raises(PageproofError, match=f"watch, process {process.process.pid}, watches"),
    ):
        GdbSource(target, address)
    assert process.end(signal.SIGTERM) == 128 + signal.SIGTERM
    with target_of(loaded) as target:
        with source_of(loaded, target), pytest.raises(PageproofError, match="stub is busy"):
            GdbSource(target, address)
        assert_runs_unwatched(loaded)
        other = remote.connect(address)
        other.negotiate()
        other.resume()
        with pytest.raises(PageproofError, match="the gdb stub is busy"):
            GdbSource(target, address)
        assert qemu_state(loaded) == "running"
        other.synchronize(10)
        other.detach(10)
        other.close()
        # Nothing waits to be accepted, which would stop the guest.
        assert_runs_unwatched(loaded)


@on_one_kernel
@pytest.mark.parametrize(
    ("socket", "what"),
    [("agent", "this is not the gdb stub of the guest"), ("gdb2", "this is not the gdb stub")],
)
def test_another_socket(loaded: Machine, socket: str, what: str) -> None:
    with target_of(loaded) as target:
        path = loaded.guest.sockets.gdb.with_name(f"{socket}.sock")
        with pytest.raises(PageproofError, match=what):
            GdbSource(target, str(path))
    assert_runs_unwatched(loaded)


@on_one_kernel
def test_qemu_ends_its_gdb_server(loaded: Machine) -> None:
    gdb = loaded.guest.sockets.gdb

    def server(where: str) -> None:
        qmp(loaded, "human-monitor-command", command_line=f"gdbserver {where}")

    with target_of(loaded) as target:
        source = GdbSource(target, str(gdb))
        (kernel, _) = slot_places(loaded, target, ID)
        arm(source, [kernel])
        server("none")
        with pytest.raises(remote.RemoteGoneError, match="closed the connection"):
            list(source.hits(10))
        source.close()
        assert "watchpoints may still be armed" in source.left
        with pytest.raises(PageproofError, match="this QEMU has no gdb stub"):
            GdbSource(target, str(gdb))
        server(f"unix:{gdb},server=on,wait=off")
        with source_of(loaded, target):
            pass
    assert_runs_unwatched(loaded)


@on_one_kernel
def test_qemu_ends(loaded: Machine, tmp_path: Path) -> None:
    """In a guest of its own."""
    kernel = kernels.fetch(loaded.setup.kernel)
    built = build.build(kernel)
    options = qemu.Options(gdb=True, memory_mib=512)
    setup = next(one for one in ONE_A_KERNEL if one.kernel == loaded.setup.kernel)
    with (
        boot.boot(kernel, options, built=built) as guest,
        Machine(setup, guest, kernel, built) as machine,
    ):
        machine.load()
        process = Watcher(machine)
        with closing(monitor(guest)) as control:
            control.call("quit")
        assert process.line().startswith("error: QEMU closed the connection")
        assert process.ended() == Exit.USAGE
        assert "left: ''" in process.errors
