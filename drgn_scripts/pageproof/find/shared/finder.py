# SPDX-License-Identifier: GPL-2.0-or-later
"""What a finder is: it recognises one kind of shared memory by the VMAs that map it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import drgn

from pageproof.space.runs import Runs
from pageproof.space.units import PAGE_BYTES

__all__ = [
    "Claim",
    "Finder",
    "Runs",
    "UnknownPart",
    "adjoining",
    "begins_with",
    "behind_the_end",
    "is_shared",
    "not_private",
    "owner_of",
]

#: ``VM_MAYSHARE``, which ``/proc/PID/maps`` shows as shared. VM_SHARED is not set if the file was
#: opened for reading only (``do_mmap()``).
_VM_MAYSHARE: Final = 0x80

#: Members of a VMA that Finder.linear may name, and the name of VmaRecord's.
LINEAR_MEMBERS: Final = {
    "vm_flags": "vm_flags",
    "vm_page_prot": "page_prot",
    "vm_ops": "vm_ops",
    "vm_file": "file",
    "vm_private_data": "private_data",
}
#: The beginning of a path that goes on in ``struct mm_struct``.
LINEAR_MM: Final = "vm_mm."


class UnknownPart(Exception):
    """A VMA maps an unknown part of a file that the finder recognises.

    The message names the part, such as "a ring of provided buffers".
    """


@dataclass(frozen=True, slots=True)
class Claim:
    """The region that one VMA maps. Claims of the same region differ in first_page only.

    Attributes:
        owner: address of the kernel object that owns the pages.
        owner_type: its C type, such as ``struct perf_event``.
        part: name of the region among the object's regions; "" if there is only one.
        name: name of the region, for people.
        pages: size of the region in pages.
        first_page: index in the region of the VMA's first page.
    """

    owner: int
    owner_type: str
    part: str
    name: str
    pages: int
    first_page: int


def owner_of(prog: drgn.Program, claim: Claim) -> drgn.Object:
    """Return a pointer to the kernel object that owns a region's pages."""
    return drgn.Object(prog, f"{claim.owner_type} *", claim.owner)


def is_shared(vma: drgn.Object) -> bool:
    """Return whether a VMA is shared. A private one shares pages only until they are written."""
    return bool(int(vma.vm_flags) & _VM_MAYSHARE)


def not_private(vma: drgn.Object) -> None:
    """Check that a mapping is not private; a private one shares pages only until it writes them.

    Raises:
        UnknownPart: the mapping is private.
    """
    if not is_shared(vma):
        raise UnknownPart("a private mapping of it")


def behind_the_end(of: str) -> UnknownPart:
    """Return the error for a VMA that starts after the last page of its file."""
    return UnknownPart(f"pages after the end of {of}")


def adjoining(address: int, pages: int) -> range:
    """Return the addresses of contiguous pages."""
    return range(address, address + pages * PAGE_BYTES, PAGE_BYTES)


def _unknown_content(claim: Claim, page: int) -> str:
    return ""


def begins_with(name: str, part: str | None = None) -> Callable[[Claim, int], str]:
    """Return a Finder.content for regions whose first page begins with a struct.

    Args:
        name: the C type.
        part: the part of the object that has it; None for all.
    """

    def content(claim: Claim, page: int) -> str:
        return name if page == 0 and part in (None, claim.part) else ""

    return content


@dataclass(frozen=True)
class Finder:
    """One kind of shared memory.

    ``claim`` and ``kernel_pages`` try the newest layout of the kernel's data first and fall back to
    older ones. Their errors (``drgn.FaultError``, ``LookupError``, ``AttributeError``,
    ``ValueError``) are reported, and the search continues.

    Attributes:
        kind: its name on the command line.
        help: one line about the memory, for readers of the finder.
        operations: names of the ``struct file_operations`` of its files, or of the
            ``struct vm_operations_struct`` of its VMAs. Files of anonymous inodes have no path, so
            a path cannot be used. If empty, the finder is tried for every VMA that no other finder
            claims.
        claim: returns the region that a ``struct vm_area_struct *`` with these operations maps;
            None if it is not of this kind after all. Raises :class:`UnknownPart` for shared memory
            of this kind that it does not recognise.
        kernel_pages: returns the kernel virtual address of each page of a region; None for a
            missing page. :class:`Runs` for regions that may have millions of pages.
        module: name of the kernel module whose debug info is loaded if ``claim`` raises
            ``LookupError``, because vmlinux may lack the types; "" for none.
        linear: what a claim depends on beside ``vm_pgoff``: members of the VMA (LINEAR_MEMBERS), or
            of its mm_struct through pointers, such as "vm_mm.context.vdso_image". If two VMAs have
            the same values there, their claims differ in first_page only, by the difference of
            their ``vm_pgoff``. Then ``claim`` is called for one of them. If empty, it is called for
            each VMA.
        content: returns the C type of what is at the beginning of a page of a region, by its
            number; "" if that is not known.
    """

    kind: str
    help: str
    operations: tuple[str, ...]
    claim: Callable[[drgn.Object], Claim | None]
    kernel_pages: Callable[[drgn.Program, Claim], Sequence[int | None]]
    module: str = ""
    linear: tuple[str, ...] = ()
    content: Callable[[Claim, int], str] = _unknown_content

    def __post_init__(self) -> None:
        for path in self.linear:
            if path not in LINEAR_MEMBERS and not path.startswith(LINEAR_MM):
                raise ValueError(f"{path!r} is not what a claim can depend on")
