# SPDX-License-Identifier: GPL-2.0-or-later
"""Damage to the formats of dumps: cuts, bit flips and extreme values in every part of a header."""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

PAGE = 4096
_PHDR = 56
#: The end of VMCOREINFO's text is not looked for beyond this.
_INFO_BYTES = 4096
_DESCRIPTOR = 24


@dataclass(frozen=True)
class Damage:
    """Changes of a file.

    Attributes:
        what: a description.
        writes: (offset, bytes).
        length: the file is cut here, or made longer; None if it keeps its length.
    """

    what: str
    writes: tuple[tuple[int, bytes], ...] = ()
    length: int | None = None


@dataclass(frozen=True)
class Case:
    """One damage, and the command that reads what it left.

    Attributes:
        number: which determines everything else.
        kind: the kind of damage.
        attached: the command runs on a target that was attached before the damage.
        strict: the damage is to the format, so that memory itself is sound or not readable. Only
            damaged memory may contain findings that are true.
        damage: the change of the dump.
        command: the words after the target.
        symbols: damaged debug info (symbols.py); none for the sound one.
        scene: what else happens to the file, by name (files.py); "" for nothing.
    """

    number: int
    kind: str
    kernel: str
    form: str
    attached: bool
    strict: bool
    damage: Damage
    command: tuple[str, ...]
    symbols: tuple[str, ...] = ()
    scene: str = ""

    def __str__(self) -> str:
        scene = f" ({self.scene})" if self.scene else ""
        return (
            f"case {self.number}: {self.kind} of {self.kernel}-{self.form}{scene}: "
            f"{self.damage.what}: {' '.join(self.command)}"
        )


@dataclass(frozen=True)
class Part:
    """A part of a file that has a structure.

    Attributes:
        word: length of its numbers in bytes; 1 for text or compressed data.
        big: its numbers are big-endian.
    """

    name: str
    start: int
    end: int
    word: int = 8
    big: bool = False


@dataclass
class Form:
    """What is known about a file: its parts, and the offsets where a structure ends."""

    parts: list[Part] = field(default_factory=list)
    boundaries: list[int] = field(default_factory=list)
    info: tuple[int, int] | None = None


def read(path: Path, at: int, length: int) -> bytes:
    with path.open("rb") as file:
        return os.pread(file.fileno(), length, at)


@cache
def form_of(kind: str, path: Path) -> Form:
    """Return the structure of a sound dump."""
    form = _FORMS[kind](path)
    form.boundaries += [edge for part in form.parts for edge in (part.start, part.end)]
    form.boundaries.append(path.stat().st_size)
    form.boundaries = sorted(set(form.boundaries))
    return form


def _info(path: Path, limit: int) -> tuple[int, int] | None:
    data = read(path, 0, limit)
    at = data.find(b"OSRELEASE=")
    if at < 0:
        return None
    end = data.find(b"\0", at, at + _INFO_BYTES)
    return at, end if end > 0 else at + _INFO_BYTES


def _elf(path: Path) -> Form:
    head = read(path, 0, 64)
    phoff, phnum = struct.unpack_from("<Q", head, 32)[0], struct.unpack_from("<H", head, 56)[0]
    form = Form([Part("ELF header", 0, 64, 2)], info=_info(path, 1 << 20))
    for number in range(phnum):
        start = phoff + number * _PHDR
        form.parts.append(Part(f"program header {number}", start, start + _PHDR))
        _, _, offset, _, _, filesz, _, _ = struct.unpack("<IIQQQQQQ", read(path, start, _PHDR))
        form.boundaries += [offset, offset + filesz]
        if not number:
            form.parts.append(Part("notes", offset, offset + filesz, 4))
    return form


def _lzo(path: Path) -> Form:
    form = Form([Part("header", 0, 464, 4)], info=_info(path, 1 << 20))
    sub_blocks, bitmap_blocks = struct.unpack("<iI", read(path, 432, 8))
    bitmap = (1 + sub_blocks) * PAGE
    descriptors = bitmap + bitmap_blocks * PAGE
    (data,) = struct.unpack("<Q", read(path, descriptors, 8))
    form.parts += [
        Part("sub header", PAGE, PAGE + 104),
        Part("notes", PAGE + 104, bitmap, 4),
        Part("bitmap 1", bitmap, bitmap + bitmap_blocks * PAGE // 2, 1),
        Part("bitmap 2", bitmap + bitmap_blocks * PAGE // 2, descriptors, 1),
        Part("descriptors", descriptors, data, 4),
        Part("first descriptors", descriptors, descriptors + 64 * _DESCRIPTOR, 4),
        Part("compressed data", data, path.stat().st_size, 1),
    ]
    form.boundaries += [(page + 1) * PAGE for page in range(8)]
    return form


def _flat(path: Path) -> Form:
    form = Form([Part("flattened header", 0, 32, 8, True)])
    size, at = path.stat().st_size, PAGE
    starts = []
    while at + 16 <= size:
        offset, length = struct.unpack(">qq", read(path, at, 16))
        starts.append(at)
        if offset < 0:
            break
        at += 16 + length
    some = {*starts[:40], *starts[:: max(1, len(starts) // 80)], *starts[-3:]}
    for number, start in enumerate(starts):
        if start in some:
            form.parts.append(Part(f"record {number}", start, start + 16, 8, True))
    # The records' content: makedumpfile's header, sub header and notes come first.
    form.parts += [
        Part("first content", PAGE + 16, PAGE + 16 + 464, 4),
        Part("contents", PAGE + 16, size, 1),
    ]
    form.info = _info(path, 1 << 20)
    return form


def _lime(path: Path) -> Form:
    form, at, size = Form(), 0, path.stat().st_size
    while at < size:
        first, last = struct.unpack("<QQ", read(path, at + 8, 16))
        form.parts.append(Part(f"record at {at}", at, at + 32))
        at += 32 + last + 1 - first
    return form


def _raw(path: Path) -> Form:
    size = path.stat().st_size
    return Form(boundaries=[PAGE, 1 << 20, size // 2, size - PAGE])


_FORMS: dict[str, Callable[[Path], Form]] = {
    "elf": _elf,
    "lzo": _lzo,
    "flat": _flat,
    "lime": _lime,
    "raw": _raw,
}


def cut(kind: str, path: Path, rng: random.Random) -> Damage:
    """Cut at a structure's edge, or one byte beside it; seldom anywhere, or make it longer."""
    size = path.stat().st_size
    if rng.random() < 0.1:
        length = size + rng.choice((1, 7, PAGE, 1 << 20))
    elif rng.random() < 0.15:
        length = rng.randrange(size)
    else:
        length = rng.choice(form_of(kind, path).boundaries) + rng.choice((-1, 0, 0, 1))
    length = max(length, 0)
    return Damage(f"{'cut' if length <= size else 'longer'}: {length} of {size} bytes", (), length)


def extreme(word: int, rng: random.Random, now: int) -> int:
    """Return a value for a number of some bytes."""
    top = (1 << 8 * word) - 1
    values: tuple[int, ...] = (0, 1, top, top >> 1, (top >> 1) + 1, top - 1, now + 1, now - 1)
    values += (now * 2, now << 8, now >> 8, now ^ top, rng.randrange(top + 1), now + PAGE)
    return rng.choice(values) & top


def spoil(part: Part, path: Path, rng: random.Random) -> Damage:
    """Flip a bit, or write an extreme value, or fill some of a part."""
    length = part.end - part.start
    at = part.start + rng.randrange(max(length, 1))
    choice = rng.random()
    if choice < 0.4 or (part.word == 1 and choice < 0.7):
        old = read(path, at, 1)
        bit = rng.randrange(8)
        new = bytes([(old[0] if old else 0) ^ 1 << bit])
        return Damage(f"{part.name}: bit {bit} of byte {at}", ((at, new),))
    if choice < 0.85 and part.word > 1:
        word = rng.choice((part.word, min(part.word * 2, 8)))
        at = max(part.start, at - (at - part.start) % word)
        order = "big" if part.big else "little"
        now = int.from_bytes(read(path, at, word), order)  # type: ignore[arg-type]
        value = extreme(word, rng, now)
        new = value.to_bytes(word, order)  # type: ignore[arg-type]
        return Damage(f"{part.name}: {value:#x} in place of {now:#x} at byte {at}", ((at, new),))
    some = min(rng.choice((8, 24, 64, 512, PAGE)), max(part.end - at, 1))
    new = rng.choice((bytes(some), b"\xff" * some, rng.randbytes(some)))
    return Damage(f"{part.name}: {some} bytes at byte {at}", ((at, new),))


def headers(kind: str, path: Path, rng: random.Random) -> Damage:
    """Damage of a header. All parts are equally likely, whatever their length."""
    parts = form_of(kind, path).parts
    if not parts:
        return cut(kind, path, rng)
    names = sorted({part.name.rstrip("0123456789") for part in parts})
    chosen = rng.choice(names)
    return spoil(
        rng.choice([part for part in parts if part.name.rstrip("0123456789") == chosen]), path, rng
    )


def _lines(text: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    for line in text.split(b"\n"):
        yield at, line
        at += len(line) + 1


def vmcoreinfo(kind: str, path: Path, rng: random.Random) -> Damage:
    """Damage of a line of VMCOREINFO; the others stay as they are."""
    info = form_of(kind, path).info
    if info is None:
        return headers(kind, path, rng)
    text = read(path, info[0], info[1] - info[0])
    lines = [(at, line) for at, line in _lines(text) if b"=" in line]
    at, line = rng.choice(lines)
    start = line.index(b"=") + 1
    value = line[start:]
    fill = len(value)
    makers: tuple[Callable[[], bytes], ...] = (
        lambda: b"0" * fill,
        lambda: b"f" * fill,
        lambda: b"9" * fill,
        lambda: (b"-1" + b" " * fill)[:fill],
        lambda: (b"-" + value)[:fill],
        lambda: bytes(fill),
        lambda: b"\xff" * fill,
        lambda: b"\x1b" * fill,
        lambda: value[::-1],
        lambda: b"=" * fill,
        lambda: b"\n" * fill,
        lambda: bytes(rng.randrange(256) for _ in range(fill)),
    )
    if rng.random() < 0.3 and fill:
        spot, bit = rng.randrange(fill), rng.randrange(8)
        new = value[:spot] + bytes([value[spot] ^ 1 << bit]) + value[spot + 1 :]
    elif rng.random() < 0.1:
        spot = rng.randrange(start)
        new = line[:spot] + bytes([line[spot] ^ 1 << rng.randrange(8)]) + line[spot + 1 :]
        return Damage(f"VMCOREINFO: {new!r}", ((info[0] + at, new),))
    else:
        new = rng.choice(makers)()
    what = f"VMCOREINFO: {line[:start] + new!r} in place of {value!r}"
    return Damage(what, ((info[0] + at + start, new),))
