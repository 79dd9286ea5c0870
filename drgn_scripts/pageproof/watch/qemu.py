# SPDX-License-Identifier: GPL-2.0-or-later
"""What QEMU's monitor answers before anything connects to its gdb stub.

Connecting stops the guest, even if QEMU serves another client: it accepts the connection later, and
also when nobody is at its other end any more. So everything is asked before.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pageproof.attach.monitor import Monitor, Unusable, ask_qemu
from pageproof.attach.qmp import is_tcp
from pageproof.errors import PageproofError

RUNNING: Final = "running"
#: Stopped by gdb: a watchpoint, a breakpoint or a step (RunState of qapi/run-state.json).
DEBUG: Final = "debug"
#: Stopped by a client of QMP, or by a connection to the gdb stub.
PAUSED: Final = "paused"

_LABEL: Final = "gdb"
_FREE: Final = "disconnected:"


@dataclass(frozen=True)
class QemuFacts:
    """A QEMU.

    Attributes:
        state: its RunState.
        version: (major, minor).
        kvm: whether the guest runs under KVM.
    """

    state: str
    version: tuple[int, int]
    kvm: bool


def read_facts(monitor: Monitor, where: str) -> QemuFacts:
    """Ask QEMU.

    Raises:
        PageproofError: it does not answer.
    """
    version = ask_qemu(monitor, "query-version", where)
    try:
        numbers = version["qemu"]  # type: ignore[index]  # checked by the except
        major_minor = int(numbers["major"]), int(numbers["minor"])
    except (KeyError, TypeError, ValueError):
        raise PageproofError("QEMU does not answer query-version", where) from None
    kvm = ask_qemu(monitor, "query-kvm", where)
    enabled = isinstance(kvm, dict) and kvm.get("enabled") is True
    return QemuFacts(run_state(monitor, where), major_minor, enabled)


def run_state(monitor: Monitor, where: str) -> str:
    """Return QEMU's RunState.

    Raises:
        PageproofError: it does not answer.
    """
    status = ask_qemu(monitor, "query-status", where)
    state = status.get("status") if isinstance(status, dict) else None
    if not isinstance(state, str):
        raise PageproofError("QEMU does not answer query-status", where)
    return state


def check_stub(monitor: Monitor, address: str, where: str) -> None:
    """Check that this QEMU has a gdb stub at an address, and serves no client there.

    Raises:
        PageproofError: it does not, or it is busy.
    """
    try:
        devices = monitor.execute("query-chardev")
    except (OSError, ValueError, Unusable) as error:
        raise PageproofError(f"QEMU does not answer query-chardev: {error}", where) from None
    names = [
        str(device.get("filename", ""))
        for device in (devices if isinstance(devices, list) else ())
        if isinstance(device, dict) and device.get("label") == _LABEL
    ]
    if not names:
        raise PageproofError(
            "this QEMU has no gdb stub",
            where,
            'start it with "-gdb unix:PATH,server=on,wait=off", or run "gdbserver unix:PATH,'
            'server=on,wait=off" in its monitor',
        )
    name = names[0]
    if not _same(name.removeprefix(_FREE), address):
        raise PageproofError(
            f"this is not the gdb stub of the guest: its QEMU has {name.removeprefix(_FREE)!r}",
            where,
            "give the two sockets of one QEMU",
        )
    if not name.startswith(_FREE):
        raise PageproofError(
            "the gdb stub is busy",
            where,
            "it serves one client at a time: end the other (gdb, or another pageproof watch)",
        )


def _same(name: str, address: str) -> bool:
    """Return whether the name of a character device (chardev/char-socket.c) is an address."""
    kind, _, rest = name.partition(":")
    rest = rest.partition(",")[0]
    if is_tcp(address):
        return kind in ("tcp", "telnet") and rest.rpartition(":")[2] == address.rpartition(":")[2]
    if kind != "unix":
        return False
    # A relative path is QEMU's; from here only its last part can be compared.
    if not Path(rest).is_absolute():
        return Path(rest).name == Path(address).name
    return Path(rest).resolve() == Path(address).resolve()
