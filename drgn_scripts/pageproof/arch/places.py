# SPDX-License-Identifier: GPL-2.0-or-later
"""Addresses in areas of the memory map in which each place has its own meaning."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from pageproof.model import PagingFacts
from pageproof.model.kmap import LayoutFacts

if TYPE_CHECKING:
    import drgn


class Missing(Exception):
    """An answer is expected but was not found. The question stays open."""


class AreaPlace(Protocol):
    """An address to identify.

    Attributes:
        prog: the target.
        region: the name of the row of the memory map that has the address.
        pid: of the process whose tables are used; None for the kernel's own.
    """

    @property
    def prog(self) -> drgn.Program: ...
    @property
    def paging(self) -> PagingFacts: ...
    @property
    def layout(self) -> LayoutFacts: ...
    @property
    def region(self) -> str: ...
    @property
    def address(self) -> int: ...
    @property
    def pid(self) -> int | None: ...


#: Returns facts of one kind, or None if the address is not of that kind.
AreaQuestion: TypeAlias = Callable[[AreaPlace], Any]
