# SPDX-License-Identifier: GPL-2.0-or-later
"""Accesses to shared memory over time: the places that are watched, and what happened there."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pageproof.model.facts import PagingFacts, TargetFacts
from pageproof.model.hexint import Address, Paddr, Pfn
from pageproof.model.report import Finding

WATCH_SCHEMA: Final = "pageproof/watch-1"


class Access(StrEnum):
    """How memory was accessed."""

    READ = "read"
    WRITE = "write"
    ACCESS = "access"
    """Read or written; which one cannot be told."""


class Mode(StrEnum):
    """What the CPU ran in when it accessed the memory, and the half that an address is in."""

    KERNEL = "kernel"
    USER = "user"


class Context(StrEnum):
    """What the kernel did: work for the current task, or an interrupt that came in between."""

    TASK = "task"
    SOFTIRQ = "softirq"
    HARDIRQ = "hardirq"
    NMI = "nmi"


@dataclass(frozen=True)
class WatchedField:
    """Bytes of the frame that are watched as one.

    Attributes:
        name: as shown: "rztee_kreq.id", "payload[0:8]", "bytes 4 to 11".
        offset_bytes: of the first byte, in the frame.
        type_name: C type, to show values in its words; "" for plain bytes.
    """

    name: str
    offset_bytes: int
    length_bytes: int
    type_name: str = ""


@dataclass(frozen=True)
class Place:
    """A watched field at one of the frame's virtual addresses.

    Attributes:
        number: index in the report's ``places``.
        field: index in the report's ``fields``.
        paddr: physical address of the first byte.
        side: the half that the address is in.
        row: of the kernel's memory map; "" for a user address.
        pid, comm: of the process; 0 and "" for a kernel address.
        mm: address of its ``struct mm_struct``; 0 for a kernel address.
        roots: physical addresses of the tables in which the address counts, both halves of a PTI
            pair; empty for a kernel address, which counts in all.
        refused: why it could not be armed; "" if it is.
        since_seconds: when it was armed, from the start of the watch.
    """

    number: int
    field: int
    address: Address
    length_bytes: int
    paddr: Paddr
    side: Mode
    row: str = ""
    pid: int = 0
    comm: str = ""
    mm: Address = 0
    roots: tuple[Paddr, ...] = ()
    refused: str = ""
    since_seconds: float = 0.0


@dataclass(frozen=True)
class CodePlace:
    """An instruction.

    Attributes:
        symbol: "function+0x1f"; "" if it is unknown.
        module: kernel module, or file name of the program; "" for the kernel's image.
        source: "file.c:123"; "" without debug info.
    """

    address: Address
    symbol: str = ""
    module: str = ""
    source: str = ""


@dataclass(frozen=True)
class Event:
    """One access.

    Attributes:
        number: counts from 1.
        seconds: since the start of the watch.
        place: index in the report's ``places``.
        mode: what the CPU ran in. Kernel code can use a user address (``copy_to_user()``).
        pid, tid, comm: of the task that ran on the CPU.
        before, after: the field's value in words; "" if it is not known. Before is what the watch
            saw last.
        state: of the protocol before the access: a name of the driver's, or with ``--owner`` who
            owned the page; "" if it is not known.
        code: the instruction after the access, as the CPU reports it.
        stack: return addresses, the innermost first; empty unless wanted.
        wrong: why it breaks the protocol; "" if it does not, or that is not checked.
    """

    number: int
    seconds: float
    cpu: int
    place: int
    access: Access
    mode: Mode
    context: Context
    pid: int
    tid: int
    comm: str
    before: str
    after: str
    state: str
    code: CodePlace
    stack: tuple[CodePlace, ...] = ()
    wrong: str = ""


@dataclass(frozen=True)
class AccessCount:
    """How many accesses of one kind there were, of one function to one field."""

    field: int
    side: Mode
    access: Access
    function: str
    count: int


@dataclass(frozen=True)
class WatchStart:
    """What is watched: the first record of a report.

    Attributes:
        how: "gdb", "perf" or "sample".
        pfn: the frame.
    """

    schema: str
    version: str
    target: TargetFacts
    paging: PagingFacts
    how: str
    pfn: Pfn
    fields: tuple[WatchedField, ...]
    places: tuple[Place, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class WatchEnd:
    """The sum: the last record of a report.

    Attributes:
        lost: events that the kernel counted but could not deliver.
        missed: reads of a value that no event had written: a write was not seen.
        why: what ended it, in words.
        notes: what is worth knowing of the end.
    """

    seconds: float
    events: int
    lost: int
    missed: int
    why: str
    notes: tuple[str, ...]
    counts: tuple[AccessCount, ...]
    findings: tuple[Finding, ...]
    exit_code: int
