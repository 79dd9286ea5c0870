# SPDX-License-Identifier: GPL-2.0-or-later
"""Packets of GDB's remote serial protocol ("Debugging with GDB", appendix E, "Overview").

A packet is ``$data#cc``, where cc is the sum of the bytes between ``$`` and ``#``, modulo 256. In
data, ``}`` escapes the next byte, which is XORed with 0x20, and ``*`` with a byte n repeats the
byte before it n - 29 times.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: Limit of a packet, as sent and as expanded. QEMU announces 4,096 (MAX_PACKET_LENGTH).
MOST_BYTES: Final = 1 << 16

_START, _END, _ESCAPE, _REPEAT = b"$", b"#", ord("}"), ord("*")
_ESCAPED_XOR: Final = 0x20
#: A repeat count n is sent as the printable character n + 29.
_REPEAT_BIAS: Final = 29
_REPEAT_LEAST, _REPEAT_MOST = 32, 126


class BadPacketError(Exception):
    """The peer sent something else than packets."""


def pack(data: str) -> bytes:
    """Return a packet. Its data has no bytes that need an escape."""
    raw = data.encode("ascii")
    return b"$%b#%02x" % (raw, sum(raw) & 0xFF)


@dataclass
class Stream:
    """Cuts what was received into packets."""

    _received: bytearray

    def __init__(self) -> None:
        self._received = bytearray()

    def feed(self, data: bytes) -> None:
        """Add what was received."""
        self._received += data

    def next(self) -> str | None:
        """Return the data of the next packet; None if it is not complete.

        Raises:
            BadPacketError: a wrong checksum, a packet that is too long, or no packet.
        """
        received = self._received
        start = received.find(_START)
        if start < 0:
            start = len(received)
        if not set(received[:start]) <= {ord("+")}:
            raise BadPacketError(f"it sent {bytes(received[:start][:40])!r}")
        del received[:start]
        end = received.find(_END)
        if end < 0 or len(received) < end + 3:
            if len(received) > MOST_BYTES:
                raise BadPacketError(f"a packet has more than {MOST_BYTES} bytes")
            return None
        data, checksum = bytes(received[1:end]), bytes(received[end + 1 : end + 3])
        del received[: end + 3]
        if b"%02x" % (sum(data) & 0xFF) != checksum.lower():
            raise BadPacketError(f"a packet has a wrong checksum: {data[:40]!r}")
        return expand(data).decode("latin-1")


def expand(data: bytes) -> bytes:
    """Undo escapes and repeats.

    Raises:
        BadPacketError: a repeat or an escape is not valid, or the result is too long.
    """
    if _ESCAPE not in data and _REPEAT not in data:
        return data
    expanded = bytearray()
    rest = iter(data)
    for byte in rest:
        if byte == _ESCAPE:
            escaped = next(rest, None)
            if escaped is None:
                raise BadPacketError("a packet ends in the middle of an escape")
            expanded.append(escaped ^ _ESCAPED_XOR)
        elif byte == _REPEAT:
            count = next(rest, 0)
            if not expanded or not _REPEAT_LEAST <= count <= _REPEAT_MOST:
                raise BadPacketError("a packet repeats nothing, or by a wrong count")
            expanded += expanded[-1:] * (count - _REPEAT_BIAS)
        else:
            expanded.append(byte)
        if len(expanded) > MOST_BYTES:
            raise BadPacketError(f"a packet has more than {MOST_BYTES} bytes")
    return bytes(expanded)
