# SPDX-License-Identifier: GPL-2.0-or-later
"""What the user asks of each command. Each question refuses options that do not fit together.

The command line, drgn's shell and :func:`pageproof.verify` all make these.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from pageproof.errors import PageproofError

PAGE_BYTES: Final = 4096
#: A device, as the user names it.
_DEVICE: Final = re.compile(r"/.+|\d+:\d+", re.DOTALL)
#: A member, as the user names it: ``id``, ``req.id``, ``words[3]``, ``payload[0:8]``.
MEMBER: Final = re.compile(
    r"(?P<path>[A-Za-z_]\w*(\.[A-Za-z_]\w*)*)(\[(?P<first>\d+)(:(?P<end>\d+))?\])?"
)
#: An address: a number, or an expression as the user wrote it (hex, a symbol, a variable).
AddressText = str | int


class WalkerChoice(StrEnum):
    """Which walker walks the page tables."""

    AUTO = "auto"
    """The engine in C if it was built, else Python."""
    C = "c"
    PYTHON = "python"


class Expectation(StrEnum):
    """The intent of a driver's author, which the kernel's data does not contain."""

    READ_ONLY = "read-only"
    NO_CHILD = "no-child"
    NO_EXEC = "no-exec"


@dataclass(frozen=True)
class KernelSide:
    """The kernel pages that the user gave to compare with; all None if none were given.

    Attributes:
        address: of the first page.
        pages: expression for a list of pages.
        length_bytes: size of the memory; the mapped part if None.
    """

    address: AddressText | None = None
    pages: str | None = None
    length_bytes: int | None = None

    @property
    def said(self) -> bool:
        """Whether the user gave a kernel side."""
        return self.address is not None or self.pages is not None


#: The user gave no kernel side.
UNSAID = KernelSide()


@dataclass(frozen=True)
class VerifyAsked:
    """What to verify: by default all regions in all processes.

    Attributes:
        kinds: regions of these kinds only.
        pid: only this process.
        device: only VMAs of this device, by path or MAJOR:MINOR.
        user: an address in the process, instead of what its VMAs map.
        kernel: what the pages are compared with. By default what finders know of the VMAs; for an
            address also the page of the module's region that belongs there, derived from the
            process's other mappings of it. Where no finder knows, the report shows the kernel's
            mappings of the frames instead.
        walker: which one walks the tables; their answers are the same.
        every_page: give the evidence of all pages of large regions too.
        expected: what the author of the device's driver intends.
    """

    kinds: tuple[str, ...] = ()
    pid: int | None = None
    device: str | None = None
    user: AddressText | None = None
    kernel: KernelSide = UNSAID
    walker: WalkerChoice = WalkerChoice.AUTO
    every_page: bool = False
    expected: frozenset[Expectation] = frozenset()

    def __post_init__(self) -> None:
        if self.device is not None and not _DEVICE.fullmatch(self.device):
            raise PageproofError(
                f"{self.device!r} is not a device", "--device", "give a path from /, or MAJOR:MINOR"
            )
        option = self._kernel_option()
        if option and self.user is None and self.device is None:
            raise PageproofError(
                f"{option} goes with --user or --device",
                "",
                "add --pid PID --user ADDRESS, or --device PATH",
            )
        if self.user is not None and (self.kinds or self.device is not None):
            option = "--kind" if self.kinds else "--device"
            raise PageproofError(
                f"{option} narrows the search, but --user gives the address", "", f"omit {option}"
            )
        if self.kinds and self.kernel.said:
            raise PageproofError(
                "--kind takes the kernel's side from a finder, but it is given here",
                "",
                "omit --kind",
            )
        if self.expected and self.device is None:
            raise PageproofError("--expect goes with --device", "", "add --device PATH")
        if self.user is not None and self.pid is None:
            raise PageproofError("--user is an address in a process", "", "add --pid PID")

    def _kernel_option(self) -> str:
        """Return the option that says something of the kernel's side; "" if none does."""
        if self.kernel.address is not None:
            return "--kernel"
        if self.kernel.pages is not None:
            return "--pages"
        return "" if self.kernel.length_bytes is None else "--length"

    @property
    def strict(self) -> bool:
        """Whether a page that nobody touched counts as undecided: the user selected its region."""
        return bool(self.kinds or self.device or self.user is not None)


def expectations(words: Iterable[str]) -> frozenset[Expectation]:
    """Return what a driver's author intends.

    Raises:
        PageproofError: a word is unknown.
    """
    known = {one.value: one for one in Expectation}
    words = tuple(words)
    for word in words:
        if word not in known:
            raise PageproofError(
                f"unknown expectation {word!r}", "", f"choose from {', '.join(known)}"
            )
    return frozenset(known[word] for word in words)


@dataclass(frozen=True)
class RegionsAsked:
    """Which regions: all, or those of some kinds, of one process, with a word in their name."""

    kinds: tuple[str, ...] = ()
    pid: int | None = None
    name: str | None = None


@dataclass(frozen=True)
class WalkAsked:
    """Which address, in which page tables.

    Attributes:
        pid: in this process's tables; None for the kernel's own.
        user_tables: in the half of the pair that user mode runs on.
    """

    address: str
    pid: int | None = None
    user_tables: bool = False

    def __post_init__(self) -> None:
        if self.user_tables and self.pid is None:
            raise PageproofError("--user-tables needs a process", "", "add --pid PID")


@dataclass(frozen=True)
class AliasAsked:
    """Which frame: its number, or an address that leads to it.

    Attributes:
        pid: an address in this process; None for a frame's number or a kernel address.
    """

    address: str
    pid: int | None = None


@dataclass(frozen=True)
class WhatisAsked:
    """Which address.

    Attributes:
        pid: in this process's tables; None for the kernel's own.
        cpu: the copy of a per-CPU variable; None for other addresses.
        aliases: look for every mapping of the frame too, in all page tables.
    """

    address: str
    pid: int | None = None
    cpu: int | None = None
    aliases: bool = False


class Watching(StrEnum):
    """Which accesses to watch."""

    ANY = "any"
    WRITES = "write"


@dataclass(frozen=True)
class FrameAsked:
    """Which frame: one of a region's, or by an address, or by its number.

    Attributes:
        kinds, pid, device: narrow the search for the region, as for ``verify``.
        page: number of the page in the region.
        user: an address in the process ``pid``.
        kernel: a kernel address, a symbol or a variable.
        pfn: number of the frame.
    """

    kinds: tuple[str, ...] = ()
    pid: int | None = None
    device: str | None = None
    page: int | None = None
    user: AddressText | None = None
    kernel: AddressText | None = None
    pfn: int | None = None

    def __post_init__(self) -> None:
        if self.device is not None and not _DEVICE.fullmatch(self.device):
            raise PageproofError(
                f"{self.device!r} is not a device", "--device", "give a path from /, or MAJOR:MINOR"
            )
        named = [
            option
            for option, value in (
                ("--user", self.user),
                ("--kernel", self.kernel),
                ("--frame", self.pfn),
            )
            if value is not None
        ]
        if len(named) > 1:
            raise PageproofError(f"{named[0]} and {named[1]} each name a frame", "", "give one")
        searched = self.kinds or self.device is not None or self.page is not None
        if named and searched:
            raise PageproofError(
                f"{named[0]} names the frame, so there is no region to search",
                "",
                "omit --kind, --device and --page",
            )
        if self.user is not None and self.pid is None:
            raise PageproofError("--user is an address in a process", "", "add --pid PID")
        if named and self.user is None and self.pid is not None:
            raise PageproofError(f"{named[0]} needs no process", "", "omit --pid")


@dataclass(frozen=True)
class WatchAsked:
    """What to watch, how, and until when.

    Attributes:
        fields: members of the type, such as "id" or "payload[0:8]"; empty for all.
        type_name: C type at the beginning of the frame; None for the one that the finder knows.
        offset, length: bytes of the frame, instead of members.
        gdb: the socket of QEMU's gdb stub, or HOST:PORT.
        sample: read accessed and dirty bits, instead of stopping at each access.
        count, seconds: end after this number of events, of seconds; None for no limit.
        owner: expression over the members, for who may write.
        stacks: the kernel's stack of each event.
        programs: ELF files of user programs.
    """

    frame: FrameAsked
    fields: tuple[str, ...] = ()
    type_name: str | None = None
    offset: int | None = None
    length: int | None = None
    watching: Watching = Watching.ANY
    gdb: str | None = None
    sample: bool = False
    count: int | None = None
    seconds: float | None = None
    owner: str | None = None
    stacks: bool = False
    programs: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        for text in self.fields:
            if not MEMBER.fullmatch(text):
                raise PageproofError(
                    "this is not a member", f"--field {text!r}", "write it as in C: payload[0:8]"
                )
        if self.fields and self.offset is not None:
            raise PageproofError("--field and --offset both name bytes", "", "give one of them")
        if (self.offset is None) != (self.length is None):
            given, missing = ("length", "offset") if self.offset is None else ("offset", "length")
            raise PageproofError(f"--{given} goes with --{missing}", "", f"add --{missing} BYTES")
        first, length = self.offset or 0, 1 if self.length is None else self.length
        if not first < first + length <= PAGE_BYTES:
            raise PageproofError(
                f"bytes {first} to {first + length - 1} are not in one page",
                "",
                f"a page has the bytes 0 to {PAGE_BYTES - 1}",
            )
        useless = (
            ("--gdb", self.gdb is not None),
            ("--field", bool(self.fields)),
            ("--type", self.type_name is not None),
            ("--offset", self.offset is not None),
            ("--owner", self.owner is not None),
        )
        for name, is_given in useless if self.sample else ():
            if is_given:
                raise PageproofError(
                    f"--sample sees whole pages, without a gdb stub, so {name} has no meaning",
                    "",
                    f"omit {name}",
                )
