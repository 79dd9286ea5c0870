# SPDX-License-Identifier: GPL-2.0-or-later
"""A device that no finder knows: its user says where the kernel has the pages, or nobody does."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import drgn
from drgn.helpers.linux.fs import d_path

from pageproof.errors import PageproofError
from pageproof.find.expression import UserSide, evaluate, kernel_address
from pageproof.find.page import PAGE_BYTES
from pageproof.find.pagelist import page_addresses
from pageproof.find.paths import path_of
from pageproof.find.shared.finder import Claim, Finder, Sparse, adjoining

DEVICE: Final = "device"
_NUMBERS: Final = re.compile(r"(\d+):(\d+)")
#: ``MINORBITS`` of include/linux/kdev_t.h.
_MINOR_BITS: Final = 20


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


#: Nothing was said of the kernel's side.
UNSAID: Final = KernelSide()


def is_of_device(device: str) -> Callable[[drgn.Object], bool]:
    """What tells whether a ``struct vm_area_struct *`` maps a device, by path or MAJOR:MINOR."""
    numbers = _NUMBERS.fullmatch(device)
    wanted = None if numbers is None else int(numbers[1]) << _MINOR_BITS | int(numbers[2])
    known: dict[int, bool] = {}

    def is_it(vma: drgn.Object) -> bool:
        file = vma.vm_file
        if not file or not stat.S_ISCHR(int(file.f_inode.i_mode)):
            return False
        if wanted is not None:
            return int(file.f_inode.i_rdev) == wanted
        path = path_of(file)
        dentry = path.dentry.value_()
        if dentry not in known:
            known[dentry] = d_path(path) == device.encode()
        return known[dentry]

    return is_it


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
        pages = _kernel_pages(vma.prog_, one)
        return one if kernel.length_bytes is not None else replace(one, pages=len(pages))

    def _kernel_pages(prog: drgn.Program, one: Claim) -> Sequence[int | None]:
        user = UserSide(int(one.part, 16) if one.part else 0, one.owner)
        try:
            if kernel.pages is not None:
                return page_addresses(evaluate(prog, kernel.pages, user), one.pages)
            if kernel.address is not None:
                address = kernel_address(prog, kernel.address, user)
                return adjoining(address & -PAGE_BYTES, one.pages)
        except PageproofError as error:
            raise ValueError(str(error)) from None
        return Sparse(one.pages, {})

    return Finder(
        kind=DEVICE,
        help="a device's memory, its kernel side as the user says",
        operations=(),
        claim=claim,
        kernel_pages=_kernel_pages,
    )
