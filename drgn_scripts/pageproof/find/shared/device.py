# SPDX-License-Identifier: GPL-2.0-or-later
"""A device that no finder knows: its user says where the kernel has the pages, or nobody does."""

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
from pageproof.find.shared.finder import Claim, Finder, Sparse, adjoining
from pageproof.space.units import PAGE_BYTES

DEVICE: Final = "device"


@dataclass(frozen=True)
class KernelSide:
    """Where the pages of a device's region are, in the user's words; all None if not said.

    Attributes:
        address: expression for the address of the region's first page.
        pages: expression for a list of its pages.
        length_bytes: how large it is; by default, as far as it is mapped.
    """

    address: str | None = None
    pages: str | None = None
    length_bytes: int | None = None

    @property
    def said(self) -> bool:
        return self.address is not None or self.pages is not None

    def check(self) -> None:
        """Refuse what can't be an expression, also if nothing is mapped that it is needed for.

        Raises:
            PageproofError: it has no valid syntax.
        """
        for text in (self.address, self.pages):
            if text is not None:
                check_syntax(text)


#: Nothing was said of the kernel's side.
UNSAID: Final = KernelSide()


@dataclass(frozen=True)
class Resolved:
    """The kernel's side of some pages.

    Attributes:
        pages: the address of each; None for one that is not there.
        by_value: see :class:`pageproof.find.kernel.expression.KernelAddress`.
        ends: the kernel object after whose end no page counts; "" if it is as large as was asked.
        offset_bytes: of the address in its page.
        is_object: a slab object begins at the address. A driver may map the page that it is in, by
            mistake; or the user has named the context of the file, and no member of it.
    """

    pages: Sequence[int | None]
    by_value: str = ""
    ends: str = ""
    offset_bytes: int = 0
    is_object: bool = False


def user_side(vma: drgn.Object) -> UserSide:
    """What an expression may name, from a ``struct vm_area_struct *``, which may be NULL."""
    if not vma:
        return UserSide()
    file = vma.vm_file
    operations = file.f_op.value_() if file else 0
    return UserSide(vma.value_(), file.value_(), operations)


def resolve(prog: drgn.Program, kernel: KernelSide, user: UserSide, pages: int) -> Resolved:
    """The kernel's side as the user says it.

    Args:
        prog: the target.
        kernel: the user's words.
        user: what they may name.
        pages: how many are wanted; there may be fewer, and in a list more.

    Raises:
        PageproofError: the words give no address or list of pages.
        ValueError, FaultError: the list can't be read.
    """
    if kernel.pages is not None:
        return Resolved(page_addresses(evaluate(prog, kernel.pages, user), pages))
    if kernel.address is None:
        return Resolved(Sparse(pages, {}))
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
    """The kernel's side of a region of :func:`device_finder`.

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
    """Why an address that is not the beginning of a page cannot be the region's."""
    address = (found.pages[0] or 0) + found.offset_bytes
    return (
        f"--kernel gives {address:#x}, which is not the beginning of a page, {kernel.address!r}; "
        "name the region's first page: is a member of a structure missing (->ring)?"
    )


def device_finder(device: str, kernel: KernelSide) -> Finder:
    """A finder of any VMA, with the kernel's side as the user says; without one, all unknown."""

    def claim(vma: drgn.Object) -> Claim:
        # Each VMA may have memory of its own where the expression hangs on it.
        own = re.search(r"\bvma\b", kernel.address or kernel.pages or "")
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
        help="a device's memory, its kernel side as the user says",
        operations=(),
        claim=claim,
        kernel_pages=_kernel_pages,
    )
