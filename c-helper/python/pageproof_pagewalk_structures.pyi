# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's structures in bulk: a part of the module pageproof_pagewalk.

This file is a stub only. Import these names from pageproof_pagewalk.
"""

from array import array
from typing import Final

from pageproof_pagewalk import Walker, _Root

FAULT_WORDS: Final[int]
"""Words of a fault: number of the row, address of the first byte that cannot be read, reason (an
index into KINDS)."""
MM_WORDS: Final[int]
"""Words of an mm in the result of vmas(): address; pgd; map_count before and after the walks
(unsigned 32-bit numbers); number of its first VMA in the result; number of its VMAs; number of its
losses, of which the first LOSSES_KEPT are in the result; number of walks."""
VMA_WORDS: Final[int]
"""Words of a VMA before its fields: number of its mm, address."""
RUN_WORDS: Final[int]
"""Words of a run of an XArray: first index, number of indices, entry of the first index."""
LOSS_WORDS: Final[int]
"""Words of a loss: owner (the number of the mm; of an XArray: the first index that is missing),
kind (LOSS_*), address, value, reason (index into KINDS for the kinds of loss that are unreadable
memory, else 0)."""
LOSSES_KEPT: Final[int]
"""Losses of an mm or of an XArray in a result. Further ones are only counted."""

LOSS_MM: Final[int]
"""Unreadable: pgd or map_count of the mm at address; value is the address that cannot be read."""
LOSS_ROOT: Final[int]
"""Unreadable: the word at address that leads to the tree or to the list; value is address."""
LOSS_NODE: Final[int]
"""Unreadable: the node at address; value is the address of the first byte that cannot be read."""
LOSS_LINK: Final[int]
"""Unreadable: vm_next of the VMA at address; value is the address that cannot be read."""
LOSS_NODE_TWICE: Final[int]
"""The node at address is in the tree twice. It was walked once."""
LOSS_NODES: Final[int]
"""The tree does not end after value nodes; address is the first one that was not visited. A
maple tree's walk ends there. An XArray has a loss for each node beyond the limit."""
LOSS_NODE_TYPE: Final[int]
"""The node at address has the unknown type value."""
LOSS_NODE_SHIFT: Final[int]
"""The node at address has the shift value, which does not belong there."""
LOSS_ENTRY: Final[int]
"""Entry at index owner of an XArray is a node where none can be; value is the entry."""
LOSS_INDEX: Final[int]
"""Entry at the slot number value of the node at address would have an index above 2**64 - 1."""
LOSS_VMA_TWICE: Final[int]
"""The VMA at address is in the tree twice. It is in the result once."""
LOSS_CIRCLE: Final[int]
"""The list of VMAs goes in circles at the VMA at address."""
LOSS_VMAS: Final[int]
"""A limit: the list of VMAs, the VMAs of an mm in the result, or the runs of an XArray were cut
after value of them. address is the first VMA that was left out; 0 if it is not known."""
LOSS_CHANGING: Final[int]
"""The VMAs keep changing: value walks differed, each from the one before."""
LOSS_MAP_COUNT: Final[int]
"""Only `address` VMAs of value (mm->map_count) were found."""

_Words = memoryview | array[int] | bytes
"""A buffer of 64-bit words: one dimension, items of 8 bytes (or bytes, a multiple of 8 of them).
It need not be contiguous, so a column of a result (``words[1::width]``) is one."""
_Field = tuple[int, int]
"""Offset in the structure, and size in bytes: 1, 2, 4 or 8. Values are zero-extended."""
_MapleNode = tuple[int, int, int, int]
"""Offsets and sizes in ``struct maple_range_64`` or ``maple_arange_64``: offset of pivot, number of
pivots, offset of slot, offset of meta.end. There is one slot more than pivots."""
_MmLayout = tuple[int, int, int, tuple[_MapleNode, _MapleNode] | int, tuple[_Field, ...]]
"""Offset of pgd, of map_count and of the first word (mm_mt.ma_root, or mmap) in ``struct
mm_struct``; maple_range_64 and maple_arange_64, or (before 6.1) the offset of vm_next in ``struct
vm_area_struct``; the fields of ``struct vm_area_struct`` to read, at most 16."""
_XaLayout = tuple[int, int, int]
"""Of ``struct xa_node``: offset of shift, offset of slots, number of slots (a power of two, at most
64)."""

class Structures:
    """Reads the kernel's structures in bulk. Immutable; threads may share it.

    Results are memoryviews of 64-bit words (format "Q", one dimension), row after row. Take a
    column with ``words[number::width]``. Nothing that is read makes a call fail: faults and losses
    are data. Each call reads a page of the target's memory when it first needs it and may keep it
    until the call returns, except that the walks of vmas() read it again. Methods release the GIL.
    """

    def __new__(
        cls, walker: Walker, root: _Root, direct_map: tuple[int, int, int], /
    ) -> Structures:
        """Describe the kernel's memory.

        Args:
            walker: the target's memory, and the form of its page tables.
            root: of the kernel's page tables.
            direct_map: first and last virtual address of the direct map (both inclusive), and the
                physical address of the first. Addresses in it are not walked. Empty if first is
                after last. Everything else is translated by the kernel's page tables.

        Raises:
            ValueError: a number is out of its range.
            TypeError: an argument has the wrong type.
        """

    def gather(
        self, addresses: _Words, fields: tuple[_Field, ...], /
    ) -> tuple[memoryview, memoryview]:
        """Read fields of many structures.

        Args:
            addresses: of the structures, in any order. Address 0 gives a row of zeros.
            fields: 1 to 16.

        Returns:
            a row for each address, with one word for each field; and the faults (FAULT_WORDS), at
            most one for each row, sorted by row. A field that cannot be read is 0.

        Raises:
            ValueError: the buffer has no items of 8 bytes, or a field is not valid.
        """

    def vmas(
        self,
        mms: _Words,
        layout: _MmLayout,
        /,
        *,
        still: bool = False,
        max_nodes: int = 0,
        max_vmas: int = 0,
        max_records: int = 0,
    ) -> tuple[memoryview, memoryview, memoryview, memoryview]:
        """Read the VMAs of many address spaces.

        Each address space is walked until two consecutive walks find the same VMAs. The fields are
        read between these two walks.

        Args:
            mms: addresses of ``struct mm_struct``.
            layout: offsets from the target's debug info.
            still: the target cannot change, so walk once.
            max_nodes: limit of nodes in a tree; 0: 2**17.
            max_vmas: limit of VMAs in a list; 0: 2**20.
            max_records: limit of VMAs in the result; 0: 2**23. What is beyond it is a loss
                (LOSS_VMAS).

        Returns:
            a row for each mm (MM_WORDS), in the order of mms; a row for each VMA (VMA_WORDS and
            the fields), in order of mm and of address; faults of these rows (FAULT_WORDS), as in
            gather(); losses (LOSS_WORDS) in order of mm. VMAs that were mapped or unmapped during
            the walks are not a loss.

        Raises:
            ValueError: the buffer has no items of 8 bytes, or the layout is not valid.
        """

    def xarray(
        self,
        head: int,
        layout: _XaLayout,
        /,
        step: int = 0,
        *,
        max_nodes: int = 0,
        max_runs: int = 0,
    ) -> tuple[memoryview, memoryview, int]:
        """Read all entries of an XArray, in one walk.

        Args:
            head: address of xa_head (``struct xarray``) or of rnode before 4.20.
            layout: offsets from the target's debug info.
            step: entries at following indices merge if each is the one before plus step (for page
                caches the size of ``struct page``); 0: none merge. Only pointers merge: an entry
                with one of its two low bits set is a run of its own.
            max_nodes: limit of nodes; 0: 2**20.
            max_runs: limit of runs in the result; 0: 2**24.

        Returns:
            runs (RUN_WORDS) in order of index; losses (LOSS_WORDS); number of losses. A multi-index
            entry covers all its indices: with a step it is as if each index had an entry that is
            the one before plus step, without one it is a run of its own.

        Raises:
            ValueError: the layout is not valid.
        """
