# SPDX-License-Identifier: GPL-2.0-or-later
"""What a finder is: it knows one kind of shared memory by the VMAs that map it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, overload

import drgn

from pageproof.space.units import PAGE_BYTES

#: What ``/proc/PID/maps`` calls shared. VM_SHARED is not set where the file was opened for
#: reading only (``do_mmap()``).
_VM_MAYSHARE: Final = 0x80


class UnknownPart(Exception):
    """A VMA maps a part of a file that a finder knows, but no part that it knows.

    The message names the part: "a ring of provided buffers".
    """


@dataclass(frozen=True)
class Claim:
    """A region as one VMA shows it. Claims of the same region differ in first_page only.

    Attributes:
        owner: address of the kernel object that has the pages.
        owner_type: its C type, such as ``struct perf_event``.
        part: which of the object's regions; "" for the only one.
        name: what it is, for people.
        pages: size of the region.
        first_page: page of the region that the VMA's first page is.
    """

    owner: int
    owner_type: str
    part: str
    name: str
    pages: int
    first_page: int


def owner_of(prog: drgn.Program, claim: Claim) -> drgn.Object:
    """The kernel object that has a region's pages, by a pointer."""
    return drgn.Object(prog, f"{claim.owner_type} *", claim.owner)


def is_shared(vma: drgn.Object) -> bool:
    """Whether a VMA is shared; a private one shares pages only until they are written."""
    return bool(int(vma.vm_flags) & _VM_MAYSHARE)


def not_private(vma: drgn.Object) -> None:
    """Refuse a private mapping, which shares pages with the kernel until they are written.

    Raises:
        UnknownPart: it is one.
    """
    if not is_shared(vma):
        raise UnknownPart("a private mapping of it")


def behind_the_end(of: str) -> UnknownPart:
    """For a VMA that starts behind the last page of what its file has now."""
    return UnknownPart(f"pages behind the end of {of}")


def adjoining(address: int, pages: int) -> range:
    """Addresses of pages that lie one after the other."""
    return range(address, address + pages * PAGE_BYTES, PAGE_BYTES)


class Lazy(Sequence[int | None]):
    """Of a region of terabytes: where a page is is worked out when it is asked for."""

    def __init__(self, pages: int, address: Callable[[int], int | None]) -> None:
        self._pages, self._address = pages, address

    def __len__(self) -> int:
        return self._pages

    @overload
    def __getitem__(self, page: int) -> int | None: ...
    @overload
    def __getitem__(self, page: slice) -> Sequence[int | None]: ...
    def __getitem__(self, page: int | slice) -> int | Sequence[int | None] | None:
        numbers = range(self._pages)[page]
        if isinstance(numbers, range):
            return [self._address(number) for number in numbers]
        return self._address(numbers)


class Sparse(Lazy):
    """Of a file of terabytes most pages may not be there."""

    def __init__(self, pages: int, there: Mapping[int, int]) -> None:
        super().__init__(pages, there.get)


@dataclass(frozen=True)
class Finder:
    """One kind of shared memory.

    ``claim`` and ``kernel_pages`` try the newest layout of the kernel's data
    first and fall back; what they raise (``drgn.FaultError``, ``LookupError``,
    ``AttributeError``, ``ValueError``) is reported, and the search goes on.

    Attributes:
        kind: its name on the command line.
        help: one line: what memory it is.
        operations: names of the ``struct file_operations``, or of the
            ``struct vm_operations_struct`` of a VMA without a file of its own,
            by which its VMAs are known. Files of anonymous inodes have no path. Empty: it is
            asked for every VMA that nobody else claims.
        claim: the region that a ``struct vm_area_struct *`` with these
            operations maps; None if it is not of this kind after all. Raises
            :class:`UnknownPart` for shared memory of this kind that it does not know.
        kernel_pages: kernel virtual address of each page of a region; None for
            one that is not there (yet).
        module: name of the kernel module whose debug info is loaded if ``claim`` raises
            ``LookupError``: if vmlinux does not have the types. "": none.
    """

    kind: str
    help: str
    operations: tuple[str, ...]
    claim: Callable[[drgn.Object], Claim | None]
    kernel_pages: Callable[[drgn.Program, Claim], Sequence[int | None]]
    module: str = ""
