# SPDX-License-Identifier: GPL-2.0-or-later
"""The client of the remote protocol against servers that are no gdb stub."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pageproof.errors import PageproofError
from pageproof.watch import remote
from pageproof.watch.packets import pack

Serve = Callable[[socket.socket], None]
SUPPORTED = "PacketSize=1000;qXfer:features:read+;multiprocess+"


@contextmanager
def server(path: Path, serve: Serve) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def run() -> None:
            client, _ = listening.accept()
            with client:
                serve(client)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield
        thread.join(10)


def answering(*answers: bytes) -> Serve:
    """Send one answer for each packet, and close the connection after the last."""

    def serve(client: socket.socket) -> None:
        for answer in answers:
            received = b""
            while b"#" not in received:
                if not (more := client.recv(4096)):
                    return
                received += more
            client.sendall(answer)

    return serve


NEGOTIATED = b"+" + pack(SUPPORTED), b"+" + pack("")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gdb.sock"


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (b"220 mail ESMTP\r\n", "this is not a gdb stub: it sent b'220 mail"),
        (b"+$OK#00", "wrong checksum"),
        (b"+$" + b"a" * 100_000, "a packet has more than"),
        (b"", "QEMU closed the connection"),
        (b"+$Pack", "QEMU closed the connection"),
    ],
)
def test_nonsense(path: Path, answer: bytes, what: str) -> None:
    with server(path, answering(answer)):
        stub = remote.connect(str(path))
        try:
            with pytest.raises(PageproofError, match=what):
                stub.negotiate()
        finally:
            stub.close()


def test_silence(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "CONNECT_SECONDS", 0.2)
    over = threading.Event()

    def serve(client: socket.socket) -> None:
        over.wait(10)

    with server(path, serve):
        stub = remote.connect(str(path))
        start = time.monotonic()
        with pytest.raises(PageproofError, match="no answer from the gdb stub"):
            stub.negotiate()
        assert time.monotonic() - start < 5
        over.set()
        stub.close()


def test_stop_replies_without_end(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are no answer, and do not put off the time limit."""
    monkeypatch.setattr(remote, "CONNECT_SECONDS", 0.3)

    def serve(client: socket.socket) -> None:
        try:
            while True:
                client.sendall(pack("T02thread:01;"))
        except OSError:
            pass

    with server(path, serve):
        stub = remote.connect(str(path))
        start = time.monotonic()
        with pytest.raises(PageproofError, match="no answer from the gdb stub"):
            stub.negotiate()
        assert time.monotonic() - start < 5
        stub.close()


def test_a_description_without_end(path: Path) -> None:
    piece = b"+" + pack("m" + "x" * 0x7F0)
    with server(path, answering(*NEGOTIATED, *(piece for _ in range(600)))):
        stub = remote.connect(str(path))
        stub.negotiate()
        with pytest.raises(PageproofError, match="does not describe its registers"):
            stub.target_description()
        stub.close()


def test_closed_in_the_middle(path: Path) -> None:
    with server(path, answering(*NEGOTIATED, b"+$OK")):
        stub = remote.connect(str(path))
        stub.negotiate()
        assert stub.multiprocess
        with pytest.raises(remote.RemoteGoneError):
            stub.ask("Hgp1.1", "g")
        with pytest.raises(PageproofError):
            stub.synchronize(1)
        stub.close()


def test_an_exit_is_an_end(path: Path) -> None:
    with server(path, answering(*NEGOTIATED, pack("W00"))):
        stub = remote.connect(str(path))
        stub.negotiate()
        stub.resume()
        with pytest.raises(remote.RemoteGoneError):
            stub.stop(5)
        stub.close()


def test_no_socket(path: Path) -> None:
    with pytest.raises(PageproofError, match="there is no such socket"):
        remote.connect(str(path))
    path.write_text("")
    with pytest.raises(PageproofError, match="this is not a socket"):
        remote.connect(str(path))
    path.unlink()
    with socket.socket(socket.AF_UNIX) as unused:
        unused.bind(str(path))
        with pytest.raises(PageproofError, match="can't connect: Connection refused"):
            remote.connect(str(path))


def test_tcp() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        stub = remote.connect(f"127.0.0.1:{port}")
        client, _ = listening.accept()
        with client:
            client.sendall(pack("T02thread:01;") + NEGOTIATED[0] + NEGOTIATED[1])
            stub.negotiate()
            assert client.recv(4096).startswith(b"$qSupported:multiprocess+")
        stub.close()
    with pytest.raises(PageproofError, match="can't connect"):
        remote.connect(f"127.0.0.1:{port}")


def test_a_queue_that_is_full(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "CONNECT_SECONDS", 0.2)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen(0)
        first = remote.connect(str(path))
        with pytest.raises(PageproofError, match="the gdb stub is busy"):
            remote.connect(str(path))
        first.close()
