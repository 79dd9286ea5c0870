# SPDX-License-Identifier: GPL-2.0-or-later
"""The place of a finding, as data. :func:`pageproof.render.where.where_words` writes it as text."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Final

from pageproof.model.hexint import Address, Pfn

#: A field that not every kind of place has. JSON leaves it out where it has no value.
_OF_SOME: Final = {"added": True}


@dataclass(frozen=True)
class Space:
    """An address space.

    Attributes:
        pid, comm: its process; None and "" for one of the kernel's own.
        tables: name of the kernel's own: "init_mm", "poking_mm"; None for a process's.
    """

    pid: int | None
    comm: str = ""
    tables: str | None = None

    def __str__(self) -> str:
        return f"pid {self.pid} ({self.comm})" if self.tables is None else self.tables


#: The kernel's own address space.
INIT_MM: Final = Space(None, tables="init_mm")


class WhereKind(StrEnum):
    """What a place is, and so which fields of :class:`Where` it has."""

    NOWHERE = "nowhere"
    """No place: the finding is about the whole run, or about many places."""
    FRAMES = "frames"
    """``frame``, or all from it to ``last_frame``."""
    SECTION = "section"
    """A memory section: ``section`` and its first ``frame``."""
    VMA = "vma"
    """A VMA, by its ``address``, of a process that is not named."""
    KERNEL = "kernel"
    """Kernel addresses from ``address`` to ``last``."""
    SPACE = "space"
    """``address``, or all to ``last``, of an address space: ``pid`` and ``comm``, or ``tables``."""
    ENTRY = "entry"
    """``entry`` of a topmost table of an address space."""
    PROCESS = "process"
    """``pid``, at an ``address``; with a ``page``'s number, or the name of the ``region``."""
    TASK = "task"
    """A task, by ``pid`` and ``comm``."""
    ROW = "row"
    """A ``row`` of the kernel's memory map, and its first ``address``."""
    TABLES = "tables"
    """All ``tables`` of an address space, by name."""
    REGION = "region"
    """A ``region``, by name."""


@dataclass(frozen=True)
class Where:
    """The place of a finding.

    Attributes:
        kind: what it is; the other fields are None unless the kind has them.
        region: name of the shared region.
        page: number of a page in the region.
        pid: the process.
        comm: its name, where the text of the place has it.
        user_half: the half of a PTI pair of tables that user mode runs on.
        address: the first one.
        last: the last one, inclusive.
        frame: the first PFN.
        last_frame: the last PFN, inclusive.
        entry: index in a topmost table.
        section: number of a memory section.
        row: name of a row of the kernel's memory map.
        tables: name of an address space's tables: "init_mm", "efi_mm", "pid 7".
    """

    kind: WhereKind
    region: str | None = field(default=None, metadata=_OF_SOME)
    page: int | None = field(default=None, metadata=_OF_SOME)
    pid: int | None = field(default=None, metadata=_OF_SOME)
    comm: str | None = field(default=None, metadata=_OF_SOME)
    user_half: bool | None = field(default=None, metadata=_OF_SOME)
    address: Address | None = field(default=None, metadata=_OF_SOME)
    last: Address | None = field(default=None, metadata=_OF_SOME)
    frame: Pfn | None = field(default=None, metadata=_OF_SOME)
    last_frame: Pfn | None = field(default=None, metadata=_OF_SOME)
    entry: int | None = field(default=None, metadata=_OF_SOME)
    section: int | None = field(default=None, metadata=_OF_SOME)
    row: str | None = field(default=None, metadata=_OF_SOME)
    tables: str | None = field(default=None, metadata=_OF_SOME)

    def __post_init__(self) -> None:
        lacking = [name for name in _NEEDED[self.kind] if getattr(self, name) is None]
        if self.kind in (WhereKind.SPACE, WhereKind.ENTRY) and self.tables is None:
            lacking += [name for name in ("pid", "comm") if getattr(self, name) is None]
        if lacking:
            raise ValueError(f"a place of kind {self.kind} needs {', '.join(lacking)}")

    @property
    def space(self) -> Space:
        """The address space of a place of kind SPACE or ENTRY."""
        return Space(self.pid, self.comm or "", self.tables)

    @property
    def order(self) -> tuple[object, ...]:
        """Key to sort places by: kind, then the fields in their order, None first."""
        values = (getattr(self, one.name) for one in fields(self)[1:])
        kind = list(WhereKind).index(self.kind)
        return kind, *(() if value is None else (value,) for value in values)


_NEEDED: Final[dict[WhereKind, tuple[str, ...]]] = {
    WhereKind.NOWHERE: (),
    WhereKind.FRAMES: ("frame",),
    WhereKind.SECTION: ("section", "frame"),
    WhereKind.VMA: ("address",),
    WhereKind.KERNEL: ("address", "last"),
    WhereKind.SPACE: ("address",),
    WhereKind.ENTRY: ("entry",),
    WhereKind.PROCESS: ("pid",),
    WhereKind.TASK: ("pid", "comm"),
    WhereKind.ROW: ("row", "address"),
    WhereKind.TABLES: ("tables",),
    WhereKind.REGION: ("region",),
}

#: The place of a finding that has none.
NOWHERE: Final = Where(WhereKind.NOWHERE)


def in_process(
    pid: int, address: int | None = None, *, page: int | None = None, region: str | None = None
) -> Where:
    """Return a place of a process.

    Args:
        pid: the process.
        address: of a page or of a VMA's start; None for the process as a whole.
        page: the page's number in its region; None for a VMA, and outside a region.
        region: name of the region, for a finding about all its pages in a VMA.
    """
    return Where(WhereKind.PROCESS, pid=pid, address=address, page=page, region=region)


def in_space(space: Space, address: int, last: int | None = None) -> Where:
    """Return addresses of an address space; ``last`` is inclusive."""
    comm = None if space.pid is None else space.comm
    return Where(
        WhereKind.SPACE,
        pid=space.pid,
        comm=comm,
        tables=space.tables,
        address=address,
        last=last,
    )


def top_entry(space: Space, entry: int, *, user_half: bool = False) -> Where:
    """Return an entry of a topmost table."""
    comm = None if space.pid is None else space.comm
    return Where(
        WhereKind.ENTRY,
        pid=space.pid,
        comm=comm,
        tables=space.tables,
        user_half=user_half or None,
        entry=entry,
    )


def task(pid: int, comm: str) -> Where:
    """Return a task."""
    return Where(WhereKind.TASK, pid=pid, comm=comm)


def named_region(name: str) -> Where:
    """Return a shared region as a whole."""
    return Where(WhereKind.REGION, region=name)


def frames(first: int, last: int | None = None) -> Where:
    """Return a frame, or frames up to ``last``, inclusive; both are PFNs."""
    return Where(WhereKind.FRAMES, frame=first, last_frame=last)


def all_tables(name: str) -> Where:
    """Return all page tables of an address space, by their name."""
    return Where(WhereKind.TABLES, tables=name)
