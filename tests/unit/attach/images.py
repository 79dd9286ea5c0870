# SPDX-License-Identifier: GPL-2.0-or-later
"""Images of memory, written as LiME and AVML write them."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Sequence

#: Physical address and bytes.
Part = tuple[int, bytes]

_CHUNK = 1 << 16


def lime(parts: Sequence[Part]) -> bytes:
    """Return a LiME image (write_lime_header() of its main.c)."""
    return b"".join(header(b"EMiL", 1, part[0], len(part[1])) + part[1] for part in parts)


def avml(parts: Sequence[Part]) -> bytes:
    """Return a compressed AVML image (src/image.rs): a record for each part."""
    written = b""
    for part in parts:
        frames = snappy_frames(part[1])
        written += (
            header(b"AVML", 2, part[0], len(part[1])) + frames + struct.pack("<Q", len(frames))
        )
    return written


def header(magic: bytes, version: int, start: int, length: int) -> bytes:
    return struct.pack("<4sIQQQ", magic, version, start, start + length - 1, 0)


def snappy_frames(data: bytes) -> bytes:
    """Return data in snappy's framing format; chunks that would not shrink are stored."""
    frames = b"\xff\x06\x00\x00sNaPpY"
    for at in range(0, len(data), _CHUNK):
        chunk = data[at : at + _CHUNK]
        packed, kind = compressed(chunk), 0
        if len(packed) >= len(chunk):
            packed, kind = chunk, 1
        # The CRC, which is not checked.
        frames += bytes([kind]) + (len(packed) + 4).to_bytes(3, "little") + bytes(4) + packed
    return frames


def compressed(data: bytes) -> bytes:
    library = ctypes.CDLL("libsnappy.so.1")
    library.snappy_max_compressed_length.restype = ctypes.c_size_t
    size = ctypes.c_size_t(library.snappy_max_compressed_length(ctypes.c_size_t(len(data))))
    room = ctypes.create_string_buffer(size.value)
    assert not library.snappy_compress(data, ctypes.c_size_t(len(data)), room, ctypes.byref(size))
    return room.raw[: size.value]
