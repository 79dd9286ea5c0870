# SPDX-License-Identifier: GPL-2.0-or-later
"""A client of GDB's remote serial protocol, for QEMU's gdb stub.

References: "Debugging with GDB", appendix E; gdbstub/gdbstub.c of QEMU. QEMU stops the guest when a
client connects (gdb_chr_event()), and when a byte comes while the guest runs (gdb_read_byte()).
"""

from __future__ import annotations

import re
import socket
import stat
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pageproof.attach.qmp import is_tcp
from pageproof.errors import PageproofError
from pageproof.watch.packets import BadPacketError, Stream, pack

#: Limit of one answer. QEMU's main loop can be busy for seconds on a loaded host.
ANSWER_SECONDS: Final = 15.0
CONNECT_SECONDS: Final = 3.0
_RECEIVE_BYTES: Final = 1 << 16
#: Limit of the target description, all its files together.
_MOST_XML: Final = 1 << 20
_PIECE_BYTES: Final = 0x7F0
_INTERRUPT: Final = b"\x03"
#: Limits of what was sent before and is still to be read.
_MOST_OLD_ANSWERS: Final = 64
_MOST_STOPS: Final = 16
_MOST_THREADS: Final = 4096
_THREAD: Final = re.compile(r"(?:p[0-9a-f]{1,8}\.)?[0-9a-f]{1,8}")

_BUSY_REMEDY: Final = (
    "a gdb stub serves one client at a time: end the other (gdb, or another pageproof watch)"
)
_START_QEMU: Final = 'start QEMU with "-gdb unix:PATH,server=on,wait=off" or "-gdb tcp::PORT"'


class RemoteGoneError(PageproofError):
    """The gdb stub closed the connection: QEMU has ended, or ended its gdb server."""


class Remote:
    """A connection to a gdb stub.

    Attributes:
        where: the address, for messages.
        features: what qSupported answered.
    """

    def __init__(self, connection: socket.socket, where: str) -> None:
        self._connection = connection
        self._stream = Stream()
        self._acknowledge = b""
        self._acks = True
        self._stops: deque[str] = deque(maxlen=_MOST_STOPS)
        self.where = where
        self.features: frozenset[str] = frozenset()

    def negotiate(self) -> None:
        """Agree on the protocol. The guest must be stopped, which it is after connecting.

        Raises:
            PageproofError: this is not a gdb stub, or it serves another client.
        """
        self._send("qSupported:multiprocess+;swbreak-;hwbreak-")
        try:
            answer = self._answer(time.monotonic() + CONNECT_SECONDS)
        except TimeoutError:
            raise PageproofError(
                f"no answer from the gdb stub within {CONNECT_SECONDS:.0f} s",
                self.where,
                f"{_BUSY_REMEDY}; or is this another kind of socket? {_START_QEMU}",
            ) from None
        self.features = frozenset(answer.split(";"))
        if self.ask("QStartNoAckMode")[0] == "OK":
            self._acks = False

    @property
    def multiprocess(self) -> bool:
        """Whether thread ids have a process."""
        return "multiprocess+" in self.features

    def ask(self, *packets: str, seconds: float = ANSWER_SECONDS) -> list[str]:
        """Send packets at once, each of which has one answer, and return the answers.

        The guest must be stopped.

        Raises:
            PageproofError: the connection failed, or there was no answer in time.
        """
        self._send(*packets)
        deadline = time.monotonic() + seconds
        try:
            return [self._answer(deadline) for _ in packets]
        except TimeoutError:
            raise self._slow(seconds) from None

    def resume(self) -> None:
        """Let the guest run. There is no answer until it stops."""
        self._stops.clear()
        self._write(pack("c"))

    def step(self, thread: str) -> None:
        """Let one vCPU execute one instruction, and the others none."""
        self._stops.clear()
        self._write(pack(f"vCont;s:{thread}"))

    def threads(self) -> list[str]:
        """Return the ids of the vCPUs."""
        found: list[str] = []
        question = "qfThreadInfo"
        while (answer := self.ask(question)[0]).startswith("m") and len(found) < _MOST_THREADS:
            found += answer[1:].split(",")
            question = "qsThreadInfo"
        if not all(map(_THREAD.fullmatch, found)):
            raise PageproofError("the gdb stub does not name its vCPUs", self.where)
        return found

    def interrupt(self) -> None:
        """Ask the guest to stop, which :meth:`stop` reports; nothing if it has stopped."""
        self._write(_INTERRUPT)

    def stop(self, seconds: float) -> str | None:
        """Wait until the guest stops, and return the stop reply; None if it did not in time.

        Raises:
            PageproofError: QEMU has ended, or sent something else.
        """
        try:
            packet = (
                self._stops.popleft() if self._stops else self._packet(time.monotonic() + seconds)
            )
        except TimeoutError:
            return None
        if packet[:1] in ("W", "X"):
            raise self._broken(None)
        return packet

    def remove_all(self, threads: Sequence[str]) -> None:
        """Remove all breakpoints and watchpoints, also of an earlier client.

        The guest must be stopped. QEMU removes those of one vCPU when a debugger asks its first
        question, why the guest has stopped (handle_target_halt() of gdbstub/gdbstub.c).
        """
        for thread in threads:
            self.ask(f"Hc{thread}")
            self._stops.clear()
            self._write(pack("?"))
            if self.stop(ANSWER_SECONDS) is None:
                raise self._slow(ANSWER_SECONDS)

    def synchronize(self, seconds: float) -> None:
        """Stop the guest if it runs, and drop the answers to what was asked before.

        It works at any time, also after an error between a question and its answer.

        Raises:
            PageproofError: QEMU did not do it in time, or the connection failed.
        """
        deadline = time.monotonic() + seconds
        # If QEMU waits for an ack, it takes the "+" as one; otherwise the "+" stops a running
        # guest. After it the interrupt stops the guest or is ignored as garbage. Then QEMU reads
        # packets. The answer to qC ("current thread") marks the end of what was asked before.
        self._write(b"+" + _INTERRUPT + pack("qC"))
        try:
            for _ in range(_MOST_OLD_ANSWERS):
                if self._packet(deadline).startswith("QC"):
                    self._stops.clear()
                    return
        except TimeoutError:
            pass
        raise self._slow(seconds)

    def detach(self, seconds: float) -> None:
        """End the session and let the guest run, which must be stopped.

        QEMU removes the watchpoints of all vCPUs (handle_detach()).

        If a vCPU has hit since QEMU stopped the guest, QEMU's main loop stops it once more
        (qemu_debug_requested()), which does nothing before this.

        Raises:
            PageproofError: QEMU did not do it in time.
        """
        self._write(pack("D;1" if self.multiprocess else "D"))
        try:
            last = self._answer(time.monotonic() + seconds)
        except TimeoutError:
            last = "no answer"
        if last != "OK":
            raise PageproofError(f"QEMU's gdb stub did not detach: {last[:40]!r}", self.where)

    def close(self) -> None:
        """Close the connection. Without a detach before it the guest stays stopped."""
        self._connection.close()

    def fileno(self) -> int:
        return self._connection.fileno()

    def target_description(self) -> str:
        """Return the XML files of the target description, in the order of their registers.

        Raises:
            PageproofError: there is none.
        """
        top = self._file("target.xml")
        names = re.findall(r'<xi:include\s+href="([^"#:;,$*}]{1,100})"', top)[:32]
        return top + "".join(self._file(name) for name in names)

    def _file(self, name: str) -> str:
        text = ""
        while len(text) < _MOST_XML:
            piece = self.ask(f"qXfer:features:read:{name}:{len(text):x},{_PIECE_BYTES:x}")[0]
            if piece[:1] not in ("m", "l") or piece == "m":
                break
            text += piece[1:]
            if piece[0] == "l":
                return text
        raise PageproofError(
            "the gdb stub does not describe its registers", self.where, "is this QEMU's?"
        )

    def _send(self, *packets: str) -> None:
        self._write(b"".join(map(pack, packets)))

    def _write(self, data: bytes) -> None:
        data = self._acknowledge + data
        self._acknowledge = b""
        self._connection.settimeout(ANSWER_SECONDS)
        try:
            self._connection.sendall(data)
        except OSError as error:
            raise self._broken(error) from None

    def _answer(self, deadline: float) -> str:
        """Return the next packet that is not a stop reply; keep those.

        Raises:
            TimeoutError: there was none in time.
        """
        while _is_stop(packet := self._packet(deadline)):
            self._stops.append(packet)
        return packet

    def _packet(self, deadline: float) -> str:
        while True:
            try:
                packet = self._stream.next()
            except BadPacketError as error:
                raise PageproofError(
                    f"this is not a gdb stub: {error}",
                    self.where,
                    f'give the socket of QEMU\'s "-gdb"; {_START_QEMU}',
                ) from None
            if packet is not None:
                # The ack goes with the next packet. QEMU must not get one while the guest runs.
                self._acknowledge = b"+" if self._acks else b""
                return packet
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._connection.settimeout(left)
            try:
                data = self._connection.recv(_RECEIVE_BYTES)
            except TimeoutError:
                raise
            except OSError as error:
                raise self._broken(error) from None
            if not data:
                raise self._broken(None)
            self._stream.feed(data)

    def _slow(self, seconds: float) -> PageproofError:
        return PageproofError(
            f"QEMU's gdb stub did not answer within {seconds:.0f} s",
            self.where,
            "is its host busy?",
        )

    def _broken(self, error: OSError | None) -> RemoteGoneError:
        reason = f": {error.strerror or error}" if error else ""
        return RemoteGoneError(
            f"QEMU closed the connection of its gdb stub{reason}",
            self.where,
            "has QEMU ended? Start the guest again",
        )


def _is_stop(packet: str) -> bool:
    return packet[:1] in ("T", "S", "W", "X") and packet[1:3].isalnum()


def connect(address: str) -> Remote:
    """Connect to a gdb stub. QEMU stops the guest at this moment.

    Args:
        address: path of a Unix socket, or host:port.

    Raises:
        PageproofError: the socket cannot be used.
    """
    where = f"--gdb {address}"
    if is_tcp(address):
        host, _, port = address.rpartition(":")
        try:
            connection = socket.create_connection((host or "localhost", int(port)), CONNECT_SECONDS)
        except OSError as error:
            raise _cannot(error, where) from None
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return Remote(connection, where)
    try:
        if not stat.S_ISSOCK(Path(address).stat().st_mode):
            raise PageproofError("this is not a socket", where, _START_QEMU)
    except FileNotFoundError:
        raise PageproofError("there is no such socket", where, _START_QEMU) from None
    except PermissionError as error:
        raise _cannot(error, where) from None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(CONNECT_SECONDS)
    try:
        connection.connect(address)
    except (BlockingIOError, TimeoutError):
        connection.close()
        raise PageproofError("the gdb stub is busy", where, _BUSY_REMEDY) from None
    except OSError as error:
        connection.close()
        raise _cannot(error, where) from None
    return Remote(connection, where)


def _cannot(error: OSError, where: str) -> PageproofError:
    if isinstance(error, PermissionError):
        return PageproofError(
            "no permission to use the gdb stub's socket",
            where,
            "become the user that QEMU runs as, or root",
        )
    return PageproofError(f"can't connect: {error.strerror or error}", where, _START_QEMU)
