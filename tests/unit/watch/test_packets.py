# SPDX-License-Identifier: GPL-2.0-or-later
"""Packets: bytes that QEMU 7.2 sent, and bytes that nobody should send."""

from __future__ import annotations

import random

import pytest

from pageproof.watch.packets import MOST_BYTES, BadPacketError, Stream, expand, pack

# Recorded from QEMU 7.2.22: after connecting, and to qSupported, QStartNoAckMode, ?, Z2, c.
RECORDED = (
    b"$T02thread:01;#04"
    b"+$PacketSize=1000;qXfer:features:read+;vContSupported+;multiprocess+#92"
    b"+$#00"
    b"+$T05thread:p01.01;#06"
    b"+$OK#9a"
    b"+$T05thread:p01.01;watch:ff2a721681dab000;#e1"
)
PACKETS = [
    "T02thread:01;",
    "PacketSize=1000;qXfer:features:read+;vContSupported+;multiprocess+",
    "",
    "T05thread:p01.01;",
    "OK",
    "T05thread:p01.01;watch:ff2a721681dab000;",
]


def taken(stream: Stream) -> list[str]:
    found = []
    while (packet := stream.next()) is not None:
        found.append(packet)
    return found


def test_what_qemu_sent() -> None:
    stream = Stream()
    stream.feed(RECORDED)
    assert taken(stream) == PACKETS


@pytest.mark.parametrize("seed", range(20))
def test_in_pieces(seed: int) -> None:
    stream, choose, found, at = Stream(), random.Random(seed), [], 0
    while at < len(RECORDED):
        size = choose.randint(1, 9)
        stream.feed(RECORDED[at : at + size])
        found += taken(stream)
        at += size
    assert found == PACKETS


def test_what_is_sent() -> None:
    assert pack("D;1") == b"$D;1#b0"
    assert pack("") == b"$#00"


@pytest.mark.parametrize(
    ("data", "expanded"),
    [
        (b"0* ", b"0000"),  # the manual's example
        (b"0*~", b"0" * 98),
        (b"a}\x03b", b"a#b"),
        (b"}\x5d", b"}"),
        (b"x}\x0a* y", b"x****y"),
        (b"", b""),
    ],
)
def test_escapes_and_repeats(data: bytes, expanded: bytes) -> None:
    assert expand(data) == expanded


@pytest.mark.parametrize(
    "data",
    [b"* ", b"0*", b"0*\x1f", b"0*\x7f", b"a}"],
    ids=["of nothing", "no count", "low count", "high count", "no byte"],
)
def test_wrong_escapes_and_repeats(data: bytes) -> None:
    with pytest.raises(BadPacketError):
        expand(data)


def test_a_small_packet_that_grows() -> None:
    with pytest.raises(BadPacketError, match="more than"):
        expand(b"0" + b"*~" * (MOST_BYTES // 96))


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", "it sent b'HTTP"),
        (b'{"QMP": {}}', "it sent"),
        (b"-$OK#9a", "it sent b'-'"),
        (b"$OK#00", "wrong checksum"),
        (b"$OK#zz", "wrong checksum"),
        (b"$" + b"x" * (MOST_BYTES + 1), "more than"),
    ],
)
def test_no_packets(data: bytes, what: str) -> None:
    stream = Stream()
    stream.feed(data)
    with pytest.raises(BadPacketError, match=what):
        stream.next()
