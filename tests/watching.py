# SPDX-License-Identifier: GPL-2.0-or-later
"""Places of a guest to watch through its gdb stub, made by hand from what the guest itself says."""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

from drgn.helpers.linux.pid import find_task
from machine import Machine

from pageproof.arch.x86_64.architecture import PTI_USER_HALF
from pageproof.attach import Target, Wanted, open_target
from pageproof.find.kernel.paging import read_paging
from pageproof.model.watch import Mode, Place
from pageproof.watch.gdb import GdbSource
from pageproof.watch.source import Hit
from pageproof_lab.guest.guest import monitor

PAGE = 4096
HEALTH = "echo 1 > /sys/class/misc/umh_shm/health"
#: (name, offset, length) of fields of the slot (module/umh_shm_abi.h).
ID, PAYLOAD, WORD = ("id", 0, 4), ("payload", 4, 5), ("pl_hash", 1028, 5)
STATE, ACK = ("state", 2052, 4), ("ack", 2064, 4)
Field = tuple[str, int, int]
# Without a hit for so long, none is to come. An emulated guest on a busy host is slow.
QUIET_SECONDS = 5.0


def target_of(machine: Machine) -> AbstractContextManager[Target]:
    """Attach as commands do."""
    return _target(machine, machine.guest.sockets.qmp)


def lab_target(machine: Machine) -> AbstractContextManager[Target]:
    """Attach while another process is attached, by the socket of :func:`qmp`."""
    return _target(machine, machine.guest.sockets.control)


@contextmanager
def _target(machine: Machine, path: Path) -> Iterator[Target]:
    """A failed test keeps drgn, so its connection is closed here."""
    symbols = (machine.kernel.vmlinux, machine.built.module)
    target = open_target(Wanted(str(path), None, symbols), ("umh_shm",))
    assert target.monitor is not None
    try:
        yield target
    finally:
        target.monitor.connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def source_of(machine: Machine, target: Target, **options: Any) -> Iterator[GdbSource]:
    source = GdbSource(target, str(machine.guest.sockets.gdb), **options)
    try:
        yield source
    finally:
        source.close()
        assert source.left == ""


def slot_places(machine: Machine, target: Target, *fields: Field) -> list[Place]:
    """The fields of the module's slot on both sides: kernel, user, kernel, user …"""
    kernel = target.prog["umh_shm_region"].kaddr.value_()
    pid, start = machine.helper_address()
    (pfn, *_) = machine.pfns()
    places: list[Place] = []
    for number, (_, offset, length) in enumerate(fields):
        paddr = pfn * PAGE + offset
        at = len(places)
        places.append(Place(at, number, kernel + offset, length, paddr, Mode.KERNEL))
        user = int(start, 16) + offset
        places.append(user_place(target, at + 1, int(pid), user, length, paddr))
    return places


def user_place(
    target: Target, number: int, pid: int, address: int, length: int, paddr: int
) -> Place:
    paging = read_paging(target.prog)
    mm = find_task(target.prog, pid).mm
    root = mm.pgd.value_() - paging.page_offset_base
    roots = (root, root | PTI_USER_HALF) if paging.pti else (root,)
    return Place(number, 0, address, length, paddr, Mode.USER, pid=pid, mm=mm.value_(), roots=roots)


def arm(source: GdbSource, places: Sequence[Place]) -> None:
    assert [source.arm(place) for place in places] == [""] * len(places)


def hits_of(source: GdbSource, action: Callable[[], object]) -> list[Hit]:
    """The hits while an action runs in a thread, until there are none."""
    failed: list[BaseException] = []

    def act() -> None:
        try:
            action()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=act)
    thread.start()
    hits = list(source.hits(QUIET_SECONDS))
    while thread.is_alive():
        hits += source.hits(QUIET_SECONDS)
    thread.join()
    if failed:
        raise failed[0]
    return hits


def qemu_state(machine: Machine) -> str:
    """QEMU's run state, by the lab's own monitor."""
    with closing(monitor(machine.guest)) as control:
        state: str = control.call("query-status")["status"]
        return state


def qmp(machine: Machine, command: str, **arguments: Any) -> Any:
    with closing(monitor(machine.guest)) as control:
        return control.call(command, **arguments)


def wait_for_state(machine: Machine, wanted: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while (state := qemu_state(machine)) != wanted:
        assert time.monotonic() < deadline, f"{state}, not {wanted}"
        time.sleep(0.02)


def assert_runs_unwatched(machine: Machine) -> None:
    """The guest runs, and nobody stops it when both sides use the slot."""
    assert qemu_state(machine) == "running"
    machine.guest.check("sh", "-c", HEALTH)
    assert machine.sysfs("state") == "healthy"
    assert qemu_state(machine) == "running"
