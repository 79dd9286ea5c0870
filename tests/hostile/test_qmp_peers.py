# SPDX-License-Identifier: GPL-2.0-or-later
"""QMP peers that are silent, slow, endless or hostile: an error within the deadline.

Real sockets; the peer is another process or a thread.
"""

import resource
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from pageproof.attach import guest, monitor, qmp
from pageproof.attach.monitor import Monitor, Unusable, ask_qemu
from pageproof.errors import PageproofError

EVENT = b'{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "STOP"}\r\n'
GREETING = b'{"QMP": {"version": {"qemu": {"major": 7}}, "capabilities": ["oob"]}}\r\n'
MIB = 1 << 20


def limit(connection: socket.socket, seconds: int) -> None:
    """Limit each read, as attach/qmp.py does."""
    packed = struct.pack("ll", seconds, 0)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, packed)


@contextmanager
def peer(answer: Callable[[socket.socket], None]) -> Iterator[Monitor]:
    """Connect a Monitor to a peer that answers each question with a function."""
    ours, theirs = socket.socketpair()
    limit(ours, 5)

    def serve() -> None:
        with suppress(OSError), theirs:
            while theirs.recv(1 << 16):
                answer(theirs)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield Monitor(ours)
    finally:
        ours.close()
        thread.join(10)
        assert not thread.is_alive()


def endless(piece: bytes, pause: float = 0) -> Callable[[socket.socket], None]:
    def answer(client: socket.socket) -> None:
        while True:
            client.sendall(piece)
            time.sleep(pause)

    return answer


def once(piece: bytes) -> Callable[[socket.socket], None]:
    return lambda client: client.sendall(piece)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        pytest.param(endless(b"A" * 4096), "", id="no newline"),
        pytest.param(endless(EVENT), "did not finish", id="events"),
        pytest.param(endless(b" ", 0.02), "did not finish", id="a byte now and then"),
        pytest.param(endless(EVENT, 0.02), "did not finish", id="an event now and then"),
        pytest.param(once(b"[" * MIB + b"]" * MIB + b"\n"), "not an object", id="deep list"),
        pytest.param(once(b'{"a":' * MIB + b"\n"), "not an object", id="deep object"),
        pytest.param(once(b'{"return": 1' + b"0" * 5000 + b"}\n"), "limit", id="a long number"),
        pytest.param(once(b"[]\n"), "not an object", id="a list"),
        pytest.param(once(b"null\n"), "not an object", id="null"),
        pytest.param(once(b"\n"), "Expecting value", id="nothing"),
        pytest.param(once(b'\xff\xfe{"return": 1}\n'), "", id="no UTF-8"),
        pytest.param(once(b'{"return": 1}\n'), "does not belong", id="no id"),
        pytest.param(once(b'{"return": 1, "id": "other"}\n'), "does not belong", id="other id"),
        pytest.param(once(b'{"return": 1, "id": {"a": []}}\n'), "does not belong", id="odd id"),
        pytest.param(once(b'{"id": "pageproof 1"}\n'), "refused", id="neither answer nor error"),
        pytest.param(once(b'{"error": [1], "id": "pageproof 1"}\n'), "refused", id="an odd error"),
    ],
)
def test_an_answer(
    monkeypatch: pytest.MonkeyPatch, answer: Callable[[socket.socket], None], message: str
) -> None:
    monkeypatch.setattr(monitor, "ANSWER_SECONDS", 1.0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.monotonic()
    with peer(answer) as one, pytest.raises(PageproofError, match="does not answer") as caught:
        ask_qemu(one, "query-status", "--qemu PATH")
    assert message in caught.value.what
    assert time.monotonic() - start < 60
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400 << 10


def test_silence() -> None:
    start = time.monotonic()
    with peer(lambda client: None) as one:
        limit(one.connection, 1)
        with pytest.raises(PageproofError, match="does not answer"):
            ask_qemu(one, "query-status", "--qemu PATH")
    assert time.monotonic() - start < 60


def test_a_return_of_another_type() -> None:
    answer = once(b'{"return": {"a": 1}, "id": "pageproof 1"}\n')
    with peer(answer) as one, pytest.raises(Unusable):
        one.ask("info mtree")


def test_descriptors_that_nobody_asked_for() -> None:
    """They are closed by the kernel, as nothing receives ancillary data."""
    from socket import send_fds

    def answer(client: socket.socket) -> None:
        read, write = socket.socketpair()
        send_fds(client, [b'{"return": "", "id": "pageproof 1"}\n'], [read.fileno()] * 20)
        read.close()
        write.settimeout(10)
        gone.append(write.recv(1))
        write.close()

    gone: list[bytes] = []
    before = len(list(Path("/proc/self/fd").iterdir()))
    with peer(answer) as one:
        assert one.ask("info mtree") == ""
        deadline = time.monotonic() + 10
        while not gone and time.monotonic() < deadline:
            time.sleep(0.01)
        assert gone == [b""]
        assert len(list(Path("/proc/self/fd").iterdir())) <= before + 4


@pytest.mark.parametrize(
    "piece", [b"A" * 4096, b"[" * 4096, EVENT * 50, b'{"return": "' + b"A" * 4096, b""]
)
def test_while_it_is_attached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: bytes
) -> None:
    """drgn reads the answers, and another process ends the connection at the deadline."""
    monkeypatch.setattr(qmp, "ATTACH_SECONDS", 3.0)
    path = tmp_path / "qmp"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen(1)

        def serve() -> None:
            client, _ = listener.accept()
            with client, suppress(OSError):
                client.sendall(GREETING)
                client.recv(4096)
                while piece:
                    client.sendall(piece)
                client.recv(1)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.monotonic()
        with pytest.raises(PageproofError, match=r"QEMU (did not finish|refused)"):
            guest.attach_guest(str(path))
        assert time.monotonic() - start < 60
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400 << 10
        thread.join(10)
