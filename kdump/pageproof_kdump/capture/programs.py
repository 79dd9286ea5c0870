# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs with the shared libraries that they need, read from their ELF headers.

ldd(1) would run the program, and readelf(1) is not on every machine.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pageproof.errors import PageproofError

LIBRARIES: Final = (
    "usr/lib/x86_64-linux-gnu",
    "lib/x86_64-linux-gnu",
    "usr/lib64",
    "lib64",
    "usr/lib",
    "lib",
)
_ELF64_LITTLE: Final = b"\x7fELF\x02\x01"
_PT_LOAD: Final = 1
_PT_DYNAMIC: Final = 2
_PT_INTERP: Final = 3
_DT_NEEDED: Final = 1
_DT_STRTAB: Final = 5
#: No program has as many; a damaged header could say so.
_MAX_HEADERS: Final = 256


@dataclass(frozen=True)
class _Segment:
    kind: int
    offset: int
    address: int
    size: int


def with_libraries(root: Path, programs: Iterable[str]) -> dict[str, Path]:
    """Return path in the image -> file, for programs and all that the loader needs to run them.

    Args:
        root: the tree to take them from.
        programs: their paths in it, such as "/usr/bin/makedumpfile".

    Raises:
        PageproofError: a program or a library is missing, or is not of this kind.
    """
    found: dict[str, Path] = {}
    todo = list(programs)
    while todo:
        name = todo.pop()
        # The loader looks for libraries in /lib among others, without a cache.
        target = name.lstrip("/") if name.startswith("/") else f"lib/{name}"
        if target in found:
            continue
        found[target] = file = _find(root, name)
        todo += needed(file)
    return found


def _find(root: Path, name: str) -> Path:
    below = [name.lstrip("/")] if name.startswith("/") else [f"{d}/{name}" for d in LIBRARIES]
    for path in below:
        if (root / path).is_file():
            return root / path
    raise PageproofError(f"{root / below[0]}: no such file", "", "install the package that has it")


def needed(file: Path) -> list[str]:
    """Return the interpreter of a program and the names of the libraries that it was linked with.

    Raises:
        PageproofError: it is not a program for x86_64, or is damaged.
    """
    data = file.read_bytes()
    if not data.startswith(_ELF64_LITTLE):
        return []  # a script, whose interpreter is busybox
    try:
        return list(_needed(data))
    except (struct.error, ValueError) as error:
        raise PageproofError(f"{file}: damaged program: {error}") from error


def _needed(data: bytes) -> Iterator[str]:
    segments = list(_segments(data))
    for segment in segments:
        if segment.kind == _PT_INTERP:
            yield _text(data, segment.offset)
    dynamic = next((one for one in segments if one.kind == _PT_DYNAMIC), None)
    if dynamic is None:
        return
    table = data[dynamic.offset : dynamic.offset + dynamic.size]
    if len(table) < dynamic.size:
        raise ValueError("truncated")
    entries = list(struct.iter_unpack("<QQ", table))
    strings = next((value for tag, value in entries if tag == _DT_STRTAB), 0)
    loaded = [one for one in segments if one.kind == _PT_LOAD]
    places = [one for one in loaded if one.address <= strings < one.address + one.size]
    if not places:
        raise ValueError(f"string table at {strings:#x} is in no segment")
    at = strings - places[0].address + places[0].offset
    for tag, value in entries:
        if tag == _DT_NEEDED:
            yield _text(data, at + value)


def _segments(data: bytes) -> Iterator[_Segment]:
    (start,) = struct.unpack_from("<Q", data, 32)
    size, number = struct.unpack_from("<HH", data, 54)
    if size != 56 or number > _MAX_HEADERS:
        raise ValueError(f"{number} program headers of {size} bytes")
    for index in range(number):
        kind, _, offset, address, _, length = struct.unpack_from(
            "<IIQQQQ", data, start + index * size
        )
        yield _Segment(kind, offset, address, length)


def _text(data: bytes, at: int) -> str:
    return data[at : data.index(b"\0", at)].decode()
