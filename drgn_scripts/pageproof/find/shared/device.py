# SPDX-License-Identifier: GPL-2.0-or-later
"""A device without a finder: the user gives the kernel side, or it is unknown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import drgn

from pageproof.errors import PageproofError
from pageproof.find.frame.extent import extent_of
from pageproof.find.frame.pagelist import page_addresses
from pageproof.find.identify.memory import slab_at
from pageproof.find.kernel.expression import UserSide, check_syntax, evaluate, kernel_address
from pageproof.find.shared.finder import Claim, Finder, Runs, adjoining
from pageproof.model.asked import KernelSide
from pageproof.space.units import PAGE_BYTES

DEVICE: Final = "device"


def check_kernel_side(kernel: KernelSide) -> None:
    """Refuse what is not an expression, even if nothing is mapped that needs it.

    Raises:
        PageproofError: its syntax is invalid.
    """
    for text in (kernel.address, kernel.pages):
        if isinstance(text, str):
            check_syntax(text)


@dataclass(frozen=True)
class Resolved:
    """The kernel side of several pages.

    Attributes:
        pages: address of each page; None for a missing page.
        by_value: see :class:`pageproof.find.kernel.expression.KernelAddress`.
        ends: the kernel object that limits the region; "" if it is as large as requested.
        offset_bytes: offset of the address in its page.
        is_object: a slab object starts at the address. Either the driver maps the object's page by
            mistake, or the user named the context of the file instead of a member.
    """

    pages: Sequence[int | None]
    by_value: str = ""
    ends: str = ""
    offset_bytes: int = 0
    is_object: bool = False


def user_side(prog: drgn.Program, vma: int) -> UserSide:
    """Return the user side of the ``struct vm_area_struct`` at an address, which may be 0."""
    if not vma:
        return UserSide()
    file = drgn.Object(prog, "struct vm_area_struct *", vma).vm_file
    operations = file.f_op.value_() if file else 0
    return UserSide(vma, file.value_(), operations)


def resolve(prog: drgn.Program, kernel: KernelSide, user: UserSide, pages: int) -> Resolved:
    """Resolve the kernel side that the user gave.

    Args:
        prog: the target.
        kernel: the user's expressions.
        user: objects that the expressions may name.
        pages: number of pages. The result may be shorter, and for a list longer.

    Raises:
        PageproofError: the expression does not give an address or list of pages.
        ValueError, FaultError: the list cannot be read.
    """
    if kernel.pages is not None:
        return Resolved(page_addresses(evaluate(prog, kernel.pages, user), pages))
    if kernel.address is None:
        return Resolved(Runs(pages))
    taken = kernel_address(prog, kernel.address, user)
    first = taken.address & -PAGE_BYTES
    extent = extent_of(prog, taken.address)
    ends = ""
    if extent is not None and extent.end < first + pages * PAGE_BYTES:
        pages, ends = (extent.end - first) // PAGE_BYTES, extent.words
    offset = taken.address - first
    slab = slab_at(prog, taken.address) if offset else None
    is_object = slab is not None and slab.start == taken.address
    return Resolved(adjoining(first, pages), taken.by_value, ends, offset, is_object)


def resolve_claim(prog: drgn.Program, kernel: KernelSide, claim: Claim) -> Resolved:
    """Resolve the kernel side of a region of :func:`device_finder`.

    Raises:
        as :func:`resolve`.
    """
    file = drgn.Object(prog, "struct file *", claim.owner)
    vma = int(claim.part, 16) if claim.part else 0
    found = resolve(prog, kernel, UserSide(vma, claim.owner, file.f_op.value_()), claim.pages)
    if found.offset_bytes and not found.is_object:
        raise PageproofError(misaligned(kernel, found))
    return found


def misaligned(kernel: KernelSide, found: Resolved) -> str:
    """Return the message for an address that is not the start of a page."""
    address = (found.pages[0] or 0) + found.offset_bytes
    return (
        f"--kernel gives {address:#x}, which is not the beginning of a page, {kernel.address!r}; "
        "name the region's first page: is a member of a structure missing (->ring)?"
    )


def device_finder(device: str, kernel: KernelSide) -> Finder:
    """Return a finder for any VMA, with the kernel side of the user, or an unknown one."""

    def claim(vma: drgn.Object) -> Claim:
        # If the expression uses the VMA, each VMA may have its own memory.
        own = re.search(r"\bvma\b", str(kernel.address or kernel.pages or ""))
        end = int(vma.vm_pgoff) + (int(vma.vm_end) - int(vma.vm_start)) // PAGE_BYTES
        one = Claim(
            owner=vma.vm_file.value_(),
            owner_type="struct file",
            part=f"{vma.value_():x}" if own else "",
            name=device,
            pages=end if kernel.length_bytes is None else -(-kernel.length_bytes // PAGE_BYTES),
            first_page=int(vma.vm_pgoff),
        )
        pages = len(_kernel_pages(vma.prog_, one))
        listed = kernel.pages is not None and kernel.length_bytes is not None
        return one if listed else replace(one, pages=pages)

    def _kernel_pages(prog: drgn.Program, one: Claim) -> Sequence[int | None]:
        try:
            return resolve_claim(prog, kernel, one).pages
        except PageproofError as error:
            raise ValueError(str(error)) from None

    return Finder(
        kind=DEVICE,
        help="a device's memory, with the kernel side that the user gave",
        operations=(),
        claim=claim,
        kernel_pages=_kernel_pages,
    )
