# SPDX-License-Identifier: GPL-2.0-or-later
"""makedumpfile: what a program was built with, and what its options mean.

What it can do is read from the program itself, which need not run for that: ``makedumpfile -v``
prints strings that are in the file (show_version() of print_info.c). It takes ``-p`` without
snappy, writes the pages as they are, and returns 0.
"""

from __future__ import annotations

import getopt
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pageproof_kdump.filter import LEVELS

PLACES: Final = tuple(
    f"{directory}/makedumpfile"
    for directory in ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin")
)
#: Options that compress; zlib is always there.
COMPRESSIONS: Final = {"-c": "zlib", "-l": "lzo", "-p": "snappy", "-z": "zstd"}
#: By the name of a format, as the capture environment has it.
OPTIONS: Final = {**{name: option for option, name in COMPRESSIONS.items()}, "elf": "-E"}
_VERSION: Final = re.compile(rb"makedumpfile: version ([0-9][0-9A-Za-z.+~-]*)")
#: makedumpfile.c, main(), after 1.7.9.
_SHORT: Final = "b:cDd:eEFfg:hi:lL:pRvXx:z"
_FLAGS: Final = (
    "split reassemble dump-dmesg partial-dmesg help non-mmap mem-usage check-params dry-run "
    "show-stats"
)
_WITH_VALUE: Final = (
    "xen-syms xen-vmcoreinfo xen_phys_start message-level vtop config diskset cyclic-buffer eppic "
    "splitblock-size work-dir num-threads extension"
)
_LONG: Final = [*_FLAGS.split(), *(f"{name}=" for name in _WITH_VALUE.split())]


@dataclass(frozen=True)
class Program:
    """A makedumpfile.

    Attributes:
        path: where it is.
        version: "" if the program does not have it as text.
        compressions: what it was built with; None if the program does not say so.
        data: the program's bytes.
    """

    path: str
    version: str
    compressions: frozenset[str] | None
    data: bytes

    @property
    def name(self) -> str:
        """It in a sentence."""
        return f"makedumpfile {self.version}" if self.version else self.path


def program_of(path: str, data: bytes) -> Program:
    """Return what a program can do."""
    found = _VERSION.search(data)
    built: set[str] | None = {"zlib"}
    for name in ("lzo", "snappy", "zstd"):
        is_on, is_off = (f"{name}\t{word}".encode() in data for word in ("enabled", "disabled"))
        # zstd came with 1.7.2; an older program has neither text.
        if is_on and is_off:
            built = None
        if is_on and built is not None:
            built.add(name)
    if found is None or not (b"lzo\tenabled" in data or b"lzo\tdisabled" in data):
        built = None
    version = found[1].decode() if found else ""
    return Program(path, version, None if built is None else frozenset(built), data)


@dataclass(frozen=True)
class Wanted:
    """Parsed arguments of makedumpfile.

    Attributes:
        text: its arguments.
        levels: dump levels, in the order in which it tries them.
        compression: "" for none.
    """

    text: str
    levels: tuple[int, ...] = (0,)
    compression: str = ""


def parse_arguments(text: str) -> Wanted | None:
    """Return what arguments mean; None if makedumpfile refuses them."""
    try:
        options, _ = getopt.gnu_getopt(shlex.split(text), _SHORT, _LONG)
    except (getopt.GetoptError, ValueError):
        return None
    levels: tuple[int, ...] | None = (0,)
    compression = ""
    for name, value in options:
        if name == "-d":
            levels = _levels(value.split(","))
            if levels is None:
                return None
        elif name in COMPRESSIONS:
            compression = COMPRESSIONS[name]
        elif name == "-E":
            compression = ""
    assert levels is not None
    return Wanted(text, levels, compression)


def _levels(words: Sequence[str]) -> tuple[int, ...] | None:
    try:
        found = tuple(map(int, filter(None, words)))
    except ValueError:
        return None
    return found if found and all(one in LEVELS for one in found) else None
