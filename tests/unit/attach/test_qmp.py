# SPDX-License-Identifier: GPL-2.0-or-later
"""Connecting to QMP sockets: real sockets, with a server of different behaviour in each test."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pageproof.attach import guest, qmp
from pageproof.errors import PageproofError

GREETING = b'{"QMP": {"version": {"qemu": {"major": 7}}, "capabilities": ["oob"]}}\r\n'

Behaviour = Callable[[socket.socket], None]


@contextmanager
def server(path: Path, behave: Behaviour | None) -> Iterator[None]:
    """Listen, and serve one client with a function, or never accept."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(1)
    done = threading.Event()

    def serve() -> None:
        listener.settimeout(10)
        client, _ = listener.accept()
        with client:
            if behave is not None:
                behave(client)
            done.wait(10)

    thread = threading.Thread(target=serve) if behave is not None else None
    if thread is not None:
        thread.start()
    try:
        yield
    finally:
        done.set()
        if thread is not None:
            thread.join(10)
        listener.close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qmp, "GREETING_SECONDS", 0.3)


def test_the_greeting_stays_for_drgn(tmp_path: Path) -> None:
    path = tmp_path / "qmp"
    with server(path, lambda client: client.sendall(GREETING)):
        connection = qmp.connect(str(path))
        with connection:
            assert connection.getblocking()
            assert "QMP" in json.loads(connection.recv(4096))


def test_a_greeting_in_two_pieces(tmp_path: Path) -> None:
    def in_two(client: socket.socket) -> None:
        client.sendall(GREETING[:9])
        time.sleep(0.1)
        client.sendall(GREETING[9:])

    path = tmp_path / "qmp"
    with server(path, in_two), qmp.connect(str(path)) as connection:
        assert connection.recv(4096) == GREETING


@pytest.mark.usefixtures("quick")
def test_a_busy_socket_does_not_hang(tmp_path: Path) -> None:
    """QEMU does not accept a second client. The connection stays in the queue without an answer."""
    path = tmp_path / "qmp"
    start = time.monotonic()
    with server(path, None), pytest.raises(PageproofError, match="busy: no greeting") as caught:
        qmp.connect(str(path))
    assert time.monotonic() - start < 20
    assert "one client at a time" in caught.value.remedy


@pytest.mark.usefixtures("quick")
def test_a_full_queue_does_not_hang(tmp_path: Path) -> None:
    path = tmp_path / "qmp"
    with server(path, None):
        waiting = []
        for _ in range(8):
            client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            client.setblocking(False)
            try:
                client.connect(str(path))
            except BlockingIOError:
                client.close()
                break
            waiting.append(client)
        with pytest.raises(PageproofError, match="busy"):
            qmp.connect(str(path))
        for client in waiting:
            client.close()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (b"QEMU 7.2.15 monitor - type 'help' for more information\r\n(qemu) ", "QEMU 7.2.15 moni"),
        (b'{"return": {}}\r\n', "return"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH-2.0"),
    ],
)
@pytest.mark.usefixtures("quick")
def test_not_a_qmp_socket(tmp_path: Path, said: bytes, message: str) -> None:
    path = tmp_path / "monitor"
    with (
        server(path, lambda client: client.sendall(said)),
        pytest.raises(PageproofError, match="this is not a QMP socket") as caught,
    ):
        qmp.connect(str(path))
    assert message in caught.value.what


def test_a_server_that_hangs_up(tmp_path: Path) -> None:
    path = tmp_path / "qmp"
    with (
        server(path, lambda client: client.shutdown(socket.SHUT_RDWR)),
        pytest.raises(PageproofError, match="closed the connection at once"),
    ):
        qmp.connect(str(path))


def test_no_such_socket(tmp_path: Path) -> None:
    with pytest.raises(PageproofError, match="there is no such socket") as caught:
        qmp.connect(str(tmp_path / "qmp"))
    assert "-qmp unix:PATH" in caught.value.remedy


def test_a_file_is_no_socket(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(PageproofError, match="this is not a socket"):
        qmp.connect(str(path))


def test_a_socket_whose_qemu_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "qmp"
    with server(path, None):
        pass
    with pytest.raises(PageproofError, match="nothing listens on this socket"):
        qmp.connect(str(path))


def test_no_permission(tmp_path: Path) -> None:
    path = tmp_path / "qmp"
    tmp_path.chmod(0o755)
    with server(path, None):
        path.chmod(0)
        with as_nobody(), pytest.raises(PageproofError, match="no permission to use the QMP"):
            qmp.connect(str(path))


@contextmanager
def as_nobody() -> Iterator[None]:
    """Drop root's rights for the test, because root may use every socket."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_tcp_without_a_server() -> None:
    with socket.socket() as unused:
        unused.bind(("localhost", 0))
        port = unused.getsockname()[1]
    with pytest.raises(PageproofError, match="can't connect"):
        qmp.connect(f"localhost:{port}")


@pytest.mark.parametrize(
    ("address", "tcp"),
    [
        ("localhost:4444", True),
        (":4444", True),
        ("./a:4444", False),
        ("/a:4444", False),
        ("a", False),
    ],
)
def test_tcp_addresses_are_those_that_drgn_takes_for_tcp(address: str, tcp: bool) -> None:
    assert qmp.is_tcp(address) is tcp


# A real QEMU, without a guest: the second client of its one socket


@pytest.fixture
def qemu(tmp_path: Path) -> Iterator[Path]:
    program = shutil.which("qemu-system-x86_64")
    if program is None:
        pytest.skip("qemu-system-x86_64 is not installed")
    path = tmp_path / "qmp"
    words = ["-S", "-machine", "none", "-display", "none", "-nodefaults"]
    process = subprocess.Popen(
        [program, *words, "-qmp", f"unix:{path},server=on,wait=off"], stdin=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 20
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        yield path
    finally:
        process.kill()
        process.wait(10)


@pytest.mark.usefixtures("quick")
def test_a_real_qemu_is_busy_while_another_holds_it(qemu: Path) -> None:
    with qmp.connect(str(qemu)), pytest.raises(PageproofError, match="busy"):
        qmp.connect(str(qemu))
    with qmp.connect(str(qemu)) as again:
        assert b"QMP" in again.recv(4096)


def test_a_peer_that_sends_a_byte_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each read of drgn returns in time, but no answer is ever complete."""
    monkeypatch.setattr(qmp, "ATTACH_SECONDS", 1.0)
    path = tmp_path / "qmp"
    hung_up = threading.Event()

    def trickle(client: socket.socket) -> None:
        client.sendall(GREETING)
        try:
            for _ in range(600):
                client.sendall(b" ")
                time.sleep(0.05)
        except OSError:
            hung_up.set()

    start = time.monotonic()
    with server(path, trickle):
        with pytest.raises(PageproofError, match="did not finish its answers within 1 s"):
            guest.attach_guest(str(path))
        assert hung_up.wait(10)
    assert time.monotonic() - start < 20
