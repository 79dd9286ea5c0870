# SPDX-License-Identifier: GPL-2.0-or-later
"""Connecting to a QMP socket without blocking.

drgn waits for QEMU's greeting without a limit, and a socket that another client holds never sends
one. So the connection is made here and the greeting is read with MSG_PEEK. Then drgn gets the file
descriptor, with a time limit on every later answer.
"""

from __future__ import annotations

import socket
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pageproof.errors import PageproofError

GREETING_SECONDS: Final = 3.0
ANSWER_SECONDS: Final = 30
#: Limit for all of drgn's requests while it attaches. They take 0.1 s, or seconds on a busy host.
ATTACH_SECONDS: Final = 60.0

#: drgn holds the GIL while it reads and continues after a signal. Only another process can end the
#: connection to a peer that sends a byte now and then.
_WATCHDOG: Final = """
import select, socket, sys
connection = socket.socket(fileno=int(sys.argv[1]))
if not select.select([sys.stdin], [], [], float(sys.argv[2]))[0]:
    connection.shutdown(socket.SHUT_RDWR)
"""

_BUSY_REMEDY: Final = (
    "a QMP socket serves one client at a time: end the other (another pageproof or drgn, a "
    'monitor, libvirt), or give QEMU a second "-qmp unix:PATH,server=on,wait=off"'
)


def connect(address: str) -> socket.socket:
    """Connect to a QMP server and check its greeting without consuming it.

    Args:
        address: path of a Unix socket, or host:port.

    Returns:
        A blocking socket with a time limit for receiving.

    Raises:
        PageproofError: the socket cannot be used.
    """
    where = f"--qemu {address}"
    connection = _connect_tcp(address, where) if is_tcp(address) else _connect_unix(address, where)
    try:
        _await_greeting(connection, where)
    except BaseException:
        connection.close()
        raise
    connection.setblocking(True)
    # drgn has no time limit of its own. With this one, a QEMU that stops answering is an error.
    limit = struct.pack("ll", ANSWER_SECONDS, 0)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    return connection


@contextmanager
def hung_up_after(connection: socket.socket, seconds: float) -> Iterator[Callable[[], bool]]:
    """Shut a connection down if the block takes too long.

    Args:
        connection: the QMP socket.
        seconds: limit for the whole block.

    Yields:
        A function that returns whether the limit has passed.
    """
    start = time.monotonic()
    if not sys.executable:  # Python is embedded in another program
        yield lambda: False
        return
    descriptor = str(connection.fileno())
    watchdog = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _WATCHDOG, descriptor, str(seconds)],
        pass_fds=[connection.fileno()],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield lambda: time.monotonic() - start >= seconds
    finally:
        # QEMU accepts the next client only when the watchdog's copy of the descriptor is closed.
        watchdog.kill()
        watchdog.communicate()


def is_tcp(address: str) -> bool:
    """Return whether drgn would take the address for host:port; the rule is drgn's."""
    _, colon, port = address.rpartition(":")
    return bool(colon) and address[0] not in "/." and port.isdecimal() and 0 < int(port) < 65536


def _connect_unix(address: str, where: str) -> socket.socket:
    path = Path(address)
    try:
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise PageproofError(
                "this is not a socket",
                where,
                'give the PATH of QEMU\'s "-qmp unix:PATH,server=on,wait=off"',
            )
    except FileNotFoundError:
        raise PageproofError(
            "there is no such socket",
            where,
            'is the guest running, and with "-qmp unix:PATH,server=on,wait=off"?',
        ) from None
    except PermissionError:
        raise _no_permission(where) from None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(GREETING_SECONDS)
    try:
        connection.connect(address)
    except ConnectionRefusedError:
        connection.close()
        raise PageproofError(
            "nothing listens on this socket", where, "its QEMU has ended: start the guest again"
        ) from None
    except PermissionError:
        connection.close()
        raise _no_permission(where) from None
    except (BlockingIOError, TimeoutError):
        connection.close()
        raise PageproofError("the QMP socket is busy", where, _BUSY_REMEDY) from None
    except OSError as error:
        connection.close()
        raise PageproofError(f"can't connect: {error.strerror or error}", where) from None
    return connection


def _no_permission(where: str) -> PageproofError:
    return PageproofError(
        "no permission to use the QMP socket",
        where,
        "become the user that QEMU runs as, or root",
    )


def _connect_tcp(address: str, where: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    try:
        return socket.create_connection((host or "localhost", int(port)), GREETING_SECONDS)
    except OSError as error:
        raise PageproofError(
            f"can't connect: {error.strerror or error}",
            where,
            'is the guest running, and with "-qmp tcp:HOST:PORT,server=on,wait=off"?',
        ) from None


def _await_greeting(connection: socket.socket, where: str) -> None:
    deadline = time.monotonic() + GREETING_SECONDS
    seen = b""
    while b"\n" not in seen:
        left = deadline - time.monotonic()
        if left <= 0:
            break
        connection.settimeout(left)
        try:
            now = connection.recv(4096, socket.MSG_PEEK)
        except TimeoutError:
            break
        except OSError as error:
            raise PageproofError(f"the connection broke: {error.strerror}", where) from None
        if not now:
            raise PageproofError(
                "the peer closed the connection at once",
                where,
                "is QEMU shutting down, or is this another program's socket?",
            )
        if now == seen:
            # MSG_PEEK returns the same bytes without waiting, so give the sender time.
            time.sleep(0.02)
        seen = now
        if not b'{"QMP"'.startswith(seen[:6].replace(b" ", b"")):
            break
    if not seen:
        raise PageproofError(
            f"the QMP socket is busy: no greeting within {GREETING_SECONDS:.0f} s",
            where,
            f"{_BUSY_REMEDY}; or is it another kind of socket, such as the guest agent's?",
        )
    if b'"QMP"' not in seen:
        line = seen.split(b"\n")[0][:40].decode("utf-8", "replace")
        raise PageproofError(
            f"this is not a QMP socket: it sent {line!r}",
            where,
            'give the one of QEMU\'s "-qmp", not of "-monitor", "-serial" or the guest agent',
        )
