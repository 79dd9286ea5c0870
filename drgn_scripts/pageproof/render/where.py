# SPDX-License-Identifier: GPL-2.0-or-later
"""The place of a finding as text. Reports, JSON and baselines name a place in these words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pageproof.model.where import Where, WhereKind
from pageproof.space.units import PAGE_BYTES


def where_words(where: Where) -> str:
    """Return the text of a place; "" for none.

    :func:`pageproof.files.places.read_where` reads these texts back. Change both together, and
    remember that users keep baselines with them.
    """
    return _WRITERS[where.kind](where)


def _frames(where: Where) -> str:
    last = "" if where.last_frame is None else f"-0x{where.last_frame:x}"
    return f"PFN 0x{where.frame:x}{last}"


def _section(where: Where) -> str:
    return f"section {where.section}, PFN 0x{where.frame:x}"


def _vma(where: Where) -> str:
    return f"VMA at 0x{where.address:x}"


def _kernel(where: Where) -> str:
    return f"{where.address:016x}-{where.last:016x}"


def _space(where: Where) -> str:
    last = "" if where.last is None else f"-{where.last:x}"
    return f"{where.space}, {where.address:x}{last}"


def _entry(where: Where) -> str:
    half = ", user half" if where.user_half else ""
    return f"{where.space}{half}, entry {where.entry}"


def _process(where: Where) -> str:
    region = "" if where.region is None else f"{where.region}, "
    address = "" if where.address is None else f" at 0x{where.address:x}"
    page = "" if where.page is None else f"page {where.page}, "
    if where.address is not None and where.last is not None:
        address += f"-0x{where.last:x}"
        if where.page is not None:
            last = where.page + (where.last - where.address) // PAGE_BYTES
            page = f"pages {where.page}-{last}, "
    return f"{region}{page}pid {where.pid}{address}"


def _task(where: Where) -> str:
    return f"pid {where.pid} {where.comm}"


def _row(where: Where) -> str:
    return f"{where.row} at {where.address:016x}"


_WRITERS: Final[dict[WhereKind, Callable[[Where], str]]] = {
    WhereKind.NOWHERE: lambda where: "",
    WhereKind.FRAMES: _frames,
    WhereKind.SECTION: _section,
    WhereKind.VMA: _vma,
    WhereKind.KERNEL: _kernel,
    WhereKind.SPACE: _space,
    WhereKind.ENTRY: _entry,
    WhereKind.PROCESS: _process,
    WhereKind.TASK: _task,
    WhereKind.ROW: _row,
    WhereKind.TABLES: lambda where: str(where.tables),
    WhereKind.REGION: lambda where: str(where.region),
}
