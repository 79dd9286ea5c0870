# SPDX-License-Identifier: GPL-2.0-or-later
"""Damage to kernel structures in the memory of a dump: loops, overlaps, pointers to nowhere."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from hostile.bases import Base
from hostile.containers import Damage, read

#: The groups of places.py.
GROUPS = ("tasks", "mm", "vmas", "maple", "tables", "kernel tables", "pids", "page cache",
          "vmap areas", "slab", "modules", "struct pages", "variables", "names", "files",
          "inodes", "dentries")  # fmt: skip
#: Beyond memory; not canonical; canonical, and not mapped; the last word.
_NOWHERE = (1 << 45, 0x00FF_0000_0000_0000, 0xFFFF_C0DE_0000_0000, (1 << 64) - 8)
_TABLES = ("tables", "kernel tables")
#: Bits of a table's entry: present, writable, user, accessed.
_FLAGS = 0x27
_RESERVED = 1 << 51
_HOSTILE_NAMES = (b"\x1b]0;title\x07", b"\n\nSAME  page 0\n", b"\xff\xfe\x80\x9b31m",
                  b"\xe2\x80\xaeabc", b"\r\x08\x08\x7f", b"<&\"'>]]>", b"%s%n%x", b"")  # fmt: skip


@cache
def _loads(path: Path, form: str) -> tuple[tuple[int, int, int], ...]:
    """Return (physical address, length, offset in the file) of the parts of a dump."""
    return tuple(_segments(path, form))


def _segments(path: Path, form: str) -> Iterator[tuple[int, int, int]]:
    size = path.stat().st_size
    if form == "raw":
        yield 0, size, 0
    elif form == "lime":
        at = 0
        while at < size:
            first, last = struct.unpack("<QQ", read(path, at + 8, 16))
            yield first, last + 1 - first, at + 32
            at += 32 + last + 1 - first
    else:
        head = read(path, 0, 64)
        phoff, phnum = struct.unpack_from("<Q", head, 32)[0], struct.unpack_from("<H", head, 56)[0]
        for number in range(phnum):
            kind, _, offset, _, paddr, filesz, _, _ = struct.unpack(
                "<IIQQQQQQ", read(path, phoff + number * 56, 56)
            )
            if kind == 1:
                yield paddr, filesz, offset


def offsets(base: Base, paddr: int) -> list[int]:
    """Return the offsets of a physical address. An ELF dump may have the kernel's image twice."""
    return [
        offset + paddr - start
        for start, length, offset in _loads(base.path, base.form)
        if start <= paddr < start + length
    ]


def written(base: Base, paddr: int, data: bytes, what: str) -> Damage:
    return Damage(what, tuple((at, data) for at in offsets(base, paddr)))


def structures(base: Base, group: str, rng: random.Random) -> Damage:
    """Damage one word of a structure, or two or three."""
    if group not in base.places:  # before maple trees (6.1)
        group = "vmas"
    words = base.places[group]["words"]
    chosen = [rng.choice(words) for _ in range(rng.choice((1, 1, 1, 2, 3)))]
    parts = [_word(base, group, place, rng) for place in chosen]
    writes = tuple(write for part in parts for write in part.writes)
    return Damage("; ".join(part.what for part in parts), writes)


def _word(base: Base, group: str, place: object, rng: random.Random) -> Damage:
    assert isinstance(place, list)
    paddr, length, name = place
    at = offsets(base, paddr)
    old = read(base.path, at[0], length) if at else bytes(length)
    if group == "names":
        data, shown = _name(name, length, rng)
    elif length <= 8:
        value = _value(base, group, int.from_bytes(old, "little"), length, rng)
        data, shown = value.to_bytes(length, "little"), f"{value:#x}"
    else:
        spot = rng.randrange(length)
        data = rng.choice(
            (
                old[:spot] + bytes([old[spot] ^ 1 << rng.randrange(8)]) + old[spot + 1 :],
                bytes(length),
                b"\xff" * length,
                rng.randbytes(length),
            )
        )
        shown = f"{length} bytes"
    return written(base, paddr, data, f"{group}: {name} at {paddr:#x}: {shown}")


def _value(base: Base, group: str, old: int, length: int, rng: random.Random) -> int:
    """Return a word that leads in circles, to another structure, or nowhere."""
    top = (1 << 8 * length) - 1
    values = [0, 1, top, top >> 1, (top >> 1) + 1, old ^ 1 << rng.randrange(8 * length), old + 8]
    if length == 8:
        links = base.places[group]["links"]
        values += [*_NOWHERE, old + 4096, old & ~0xFF]
        values += [int(str(one)) for one in rng.sample(links, min(4, len(links)))]
        if group in _TABLES:
            values += [
                1 << 45 | _FLAGS,
                old | _RESERVED,
                old & ~0xFFF | 1 << 7 | _FLAGS,
                rng.randrange(1 << 20) << 12 | _FLAGS,
            ]
    return rng.choice(values) & top


def _name(name: str, length: int, rng: random.Random) -> tuple[bytes, str]:
    if length == 4:  # a length in bytes
        value = rng.choice((0, 1 << 20, 0x7FFF_FFFF, 0xFFFF_FFFF, 0x8000_0000))
        return value.to_bytes(4, "little"), f"{value:#x}"
    hostile = rng.choice(_HOSTILE_NAMES)
    data = rng.choice(
        (hostile.ljust(length, b"\0")[:length], (hostile or b"A") * length, b"A" * length)
    )[:length]
    return data, repr(data)


def long_string(base: Base, rng: random.Random) -> Damage:
    """Damage a name, and what follows it: a megabyte without an end."""
    place = rng.choice(base.places["names"]["words"])
    assert isinstance(place, list)
    paddr, _, name = place
    at = offsets(base, paddr)[:1]
    some = rng.choice((4096, 1 << 16, 1 << 20))
    what = f"{name} at {paddr:#x}: {some} bytes without an end"
    data = rng.choice((b"A", b"\x1b[")) * (some // 2)
    return Damage(what, tuple((one, data) for one in at))
