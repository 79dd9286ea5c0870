# SPDX-License-Identifier: GPL-2.0-or-later
"""The page-table engine in C (c-helper/pagewalk): thin, with batches of plain tuples and buffers.

Use pageproof.walk, which makes dataclasses of these. Kinds are indices into KINDS. Memory types
are indices into the memory_types of the form, which is MEMORY_TYPES for x86_64. Levels are numbers
from 1, the last level.
"""

from array import array
from collections.abc import Callable, Sequence
from mmap import mmap
from typing import Final

from pageproof_pagewalk_btf import *  # noqa: F403  # re-exports all of it
from pageproof_pagewalk_structures import *  # noqa: F403  # re-exports all of it
from pageproof_pagewalk_watch import *  # noqa: F403  # the same

_Buffer = bytes | bytearray | memoryview | mmap

KINDS: Final[tuple[str, ...]]
"""Values of EntryKind and, from "non-canonical" on, of Outcome only. The outcome of a mapped walk
is "leaf"."""
MEMORY_TYPES: Final[tuple[str, ...]]
"""The memory types of x86_64."""
RANGE_FORMAT: Final[str]
"""struct's format of one range of a sweep (56 bytes): start, last, paddr (2**64 - 1: none), entry,
table, shared_with, level, kind ("table": shared), rights, memory type, length of a gap."""
SPAN_FORMAT: Final[str]
"""struct's format of one span of sides(): index of the first page, pages, address."""
SIDE_FORMAT: Final[str]
"""struct's format of one run of sides(): index of the first page, pages, paddr of the first page
(2**64 - 1: none), number of the span, kind, whether the frames are the expected ones."""
WRITE: Final[int]
EXECUTE: Final[int]
"""For both modes, or for the kernel only if the form has the right "user-execute"."""
USER: Final[int]
ACCESS: Final[int]
USER_EXECUTE: Final[int]
"""For user mode. Set only if the form has the right "user-execute"."""
MERGE_NOTHING: Final[int]
MERGE_FRAMES: Final[int]
MERGE_LIKE: Final[int]
INDEX_SPACES: Final[int]

USE_SPECIAL: Final[int]
USE_NORMAL: Final[int]

def classify(
    records: _Buffer,
    record_bytes: int,
    classes: tuple[tuple[int, int, int, int], ...],
    follows: int,
    /,
) -> bytes:
    """Classify an array of records, such as struct page.

    Args:
        records: one after the other.
        classes: (offset, mask, value, bit of the class): a record is of the class if the eight
            bytes at offset, little-endian and masked, equal value.
        follows: a record of one of these classes also gets the classes of the record before it.

    Returns:
        one byte per record, the bits of its classes.

    Raises:
        ValueError: an offset is outside a record.
    """

def account_merge(
    uses: bytearray, counts: bytearray, other_uses: _Buffer, other_counts: _Buffer, /
) -> None:
    """Add the accounts of another sweep. Releases the GIL.

    Raises:
        ValueError: the arrays differ in length.
    """

def guard_mappings(message: bytes, exit_code: int, /) -> None:
    """Handle SIGBUS from now on: write a message to standard error and exit.

    The process reads a mapped file behind its end if another process has truncated it. Any other
    SIGBUS ends the process as before.

    Raises:
        ValueError: the message has more than 8192 bytes.
    """

def read_heads(pid: int, address: int, pages: int, page_bytes: int, head_bytes: int, /) -> bytes:
    """Read the first bytes of each page of another process. Releases the GIL.

    Args:
        pid: the process.
        address: of the first page there.

    Returns:
        head_bytes of each page; zeros for a page that cannot be read.

    Raises:
        ValueError: more than 1 GiB, or more bytes than a page has.
        OSError: the process cannot be read.
    """

_Rule = tuple[str, int, int, int, bool]
"""kind, mask, value, reserved, inverted.

The first rule of a level with ``entry & mask == value`` decides. The last rule of a level, and
only that one, has mask 0. kind is one of KINDS up to "reserved-bits". If the entry has a bit of
reserved, it is "reserved-bits" instead. A rule of kind "swap" leaves the kind to the swap layout of
the target (Walker's swap). inverted: the bits of the address are stored inverted.
"""
_Bit = tuple[str, int, int, int]
"""name, mask, value, shift.

The name of a bit, reported if ``entry & mask == value``. With value 0 it is a field instead:
reported as name and number, ``(entry & mask) >> shift``, unless that is 0. shift is 0 for a bit.
"""
_Right = tuple[str, int, int]
"""right ("write", "execute", "user" or "user-execute"), mask, value.

An entry leaves the right only if ``entry & mask == value``. A right may be in a list several times:
then each condition must hold.
"""
_Level = tuple[
    str, int, tuple[_Rule, ...], tuple[_Bit, ...], tuple[_Bit, ...], tuple[int, int, int]
]
"""name, index_bits, rules, table_bits, other_bits, type_bits.

Attributes:
    index_bits: log2 of the entries of a table, 1 to 16. Entries have 8 bytes.
    rules: at most 16.
    table_bits, other_bits: names of the bits of entries that point at tables, and of others. At
        most 64 each.
    type_bits: of a leaf, the masks of bits 0, 1 and 2 of its index into Walker's memory_types; 0
        for a bit that the level lacks.
"""

class Form:
    """A paging form as plain data: what an architecture's page tables look like. Immutable."""

    def __new__(
        cls,
        name: str,
        page_shift: int,
        levels: tuple[_Level, ...],
        address_mask: int,
        root_mask: int,
        leaf_rights: tuple[_Right, ...],
        memory_types: tuple[str, ...],
        *,
        roots: int = 1,
        address_shift: int = 0,
        high_mask: int = 0,
        high_shift: int = 0,
        table_rights: tuple[_Right, ...] = (),
        ignorable: int = 0,
        swap: tuple[int, int, int, int, bool] = (0, 0, 0, 0, False),
    ) -> Form:
        """Check and copy the data.

        The physical address in an entry is ``(entry & address_mask) << address_shift |
        (entry & high_mask) << high_shift``. The bits of address_mask adjoin, and the address that
        they give names each page. Rules, rights and type_bits must not depend on bits of a frame's
        address, nor on ignorable bits: then a merged range agrees with single walks.

        Names are 1 to 15 visible ASCII characters without blanks; the form's may have 31.

        Args:
            page_shift: log2 of the bytes of a page, 10 to 24.
            levels: from the top, 1 to 5. An entry of the last level spans a page, an entry of
                another level spans a table of the level below. The topmost table may be smaller
                than a page; other tables are aligned to 256 bytes at least.
            address_mask: see above. A physical address has at most 40 bits above page_shift.
            root_mask: the bits of the topmost table's address in the register that holds it.
            leaf_rights: what a leaf leaves of the rights from above. At most 16.
            memory_types: their names, 1 to 6.
            roots: 1 if both halves of the address space share a topmost table, of which the upper
                half uses the upper entries (x86_64, riscv); 2 if each half has its own (arm64).
                Canonical addresses have all bits alike above the bits that the tables translate;
                with one root, the highest translated bit must be the same too. At most 44 bits
                above page_shift in a half.
            address_shift, high_mask, high_shift: see above.
            table_rights: what an entry that points at a table leaves of the rights of everything
                below it. At most 16. A right that neither list names is never taken away, except
                "user-execute", which the form then does not have.
            ignorable: bits that may differ inside a merged range: accessed, dirty, software.
            swap: type_shift, type_bits (at most 8), offset_shift, offset_bits (at most 63),
                offset_inverted.

        Raises:
            ValueError: the data is not a form, and why.
            TypeError: an item has the wrong type.
        """

_Step = tuple[int, int, int, int, int, str, int | None]
_Stats = tuple[int, int, int, int]

_Root = int | tuple[int, int]
"""Physical address of the topmost table, or the value of the register that holds it (CR3). A tuple
has the root of the lower and of the upper half; an int is for both."""

class Walker:
    """A paging form and memory. Immutable; threads may share it."""

    def __new__(
        cls,
        form: Form | str,
        memory_types: bytes,
        *,
        encrypt_mask: int = 0,
        swap: tuple[tuple[int, int], tuple[int, int], tuple[int, int], tuple[int, int]]
        | None = None,
        zero_fills: bool = False,
        read: Callable[[int, int], _Buffer | int] | None = None,
        direct: Sequence[tuple[int, _Buffer | int]] = (),
        reserved_mask: int = 0,
        kdump: Kdump | None = None,
        file: FileMemory | None = None,
    ) -> Walker:
        """Describe a target.

        Args:
            form: a Form, or the name of a built-in one: "x86_64-4" or "x86_64-5", by the number of
                levels.
            memory_types: 8 bytes, by a leaf's index (of the PAT, of MAIR_EL1): a memory type.
            encrypt_mask: SME's C-bit; removed from every physical address.
            swap: (first, count) of the swap types that mean hwpoison, migration, device memory and
                markers; None: not known.
            zero_fills: the target gives zeros for memory that it lacks, so a table of zeros is
                reported as "zero-filled".
            read: read(paddr, length) returns that many bytes, or the number of a kind ("excluded",
                "zero-filled", "unreadable"). An exception of it ends the call.
            direct: (paddr, buffer) of physical memory, used before read; or (paddr, length) of
                memory that the dump omits.
            reserved_mask: physical address bits that the processor lacks. An entry with one of them
                is "reserved-bits".
            kdump: a compressed dump, used before read. Without the GIL.
            file: memory in a file, used before read. Without the GIL.

        Raises:
            ValueError: unknown form, a number is out of its range, or ranges of direct overlap.
            TypeError: an argument has the wrong type.
        """

    def walk(
        self, root: _Root, address: int, /
    ) -> tuple[
        int,
        int,
        int | None,
        int,
        int,
        int,
        int,
        int,
        int,
        int,
        int,
        int,
        tuple[_Step, ...],
    ]:
        """Walk for one address.

        Returns:
            outcome, root, paddr, leaf bytes (0: no leaf), rights, memory type, swap type (-1:
            none), swap offset, level, table, paddr and length (0: none) of the read that failed,
            and the steps: level, table, index, entry, kind, names of bits, base.
        """

    def sweep(
        self,
        root: _Root,
        first: int,
        last: int,
        *,
        merge: int = ...,
        ignore: int = 0,
        skip: int = 0,
        shared_once: bool = True,
        max_entries: int = 0,
    ) -> tuple[memoryview, _Stats, int | None]:
        """Sweep the addresses first to last, both inclusive. Releases the GIL.

        Args:
            merge: MERGE_NOTHING, MERGE_FRAMES (adjoining and alike), MERGE_LIKE (frames anywhere).
            ignore: bits that may differ in a range; only the ignorable bits of the form count.
            skip: bit n: do not report ranges of kind n.
            shared_once: report a table that was walked whole instead of walking it again.
            max_entries: the bound on work; 0: 2**32.

        Returns:
            ranges one after the other (RANGE_FORMAT); counts of tables read, entries, gaps and
            shared tables; None, or the address where the bound on work ended the sweep.

        Raises:
            ValueError: first is after last.
        """

    def sides(
        self,
        root: _Root,
        spans: _Buffer | array[int],
        expected: _Buffer | None = None,
        *,
        max_entries: int = 0,
    ) -> tuple[bytes, int | None]:
        """Report what walk() finds for each page of many spans, as runs. Releases the GIL.

        Pages without an entry, and those between the halves of the address space, are left out. A
        run goes on while kind and frame do, but not into the next span.

        Args:
            spans: SPAN_FORMAT, quickest in order of address. They may overlap. An address need not
                be aligned to a page.
            expected: the result of an earlier call, in order of index and apart. Pages at the frame
                that it has for their index, both "leaf" or "prot-none", become runs without paddr
                that go on whatever their frames are.
            max_entries: the bound on work; 0: 2**32.

        Returns:
            runs one after the other (SIDE_FORMAT), in the order of the spans; None, or the address
            where the bound on work ended the call.

        Raises:
            ValueError: a span goes beyond 2**64, or a buffer is not an array of records.
        """

    def account(
        self,
        root: _Root,
        first: int,
        last: int,
        uses: bytearray | None,
        *,
        counts: bytearray | None = None,
        marked: bytes | bytearray | None = None,
        special: int = 0,
        most_places: int = 0,
        max_entries: int = 0,
        alike: bool = False,
    ) -> tuple[memoryview, _Stats, int | None]:
        """Sweep, and add the mappings to accounts of all frames. Releases the GIL.

        Args:
            uses: by PFN: 1 << memory type | USE_NORMAL or USE_SPECIAL. Bits are added. None: only
                report marked frames.
            counts: by PFN: number of last-level entries, less special ones, up to 255. Is added to.
            marked: by PFN: report where the frame is mapped.
            special: the bit of special entries.
            most_places: limit of reported runs of marked frames.
            alike: report ranges as sweep() does with MERGE_LIKE, without empty ones, after all
                ignorable bits were ignored. Not together with marked.

        Returns:
            as sweep(). The ranges are entries that point at tables ("table", paddr is the table's)
            and runs of marked frames, or what alike adds.

        Raises:
            ValueError: the range does not consist of whole pages, the arrays differ in length, or
                there are none.
        """

class Kdump:
    """The pages of a kdump-compressed dump. Immutable; threads may share it.

    A page that has no data there, or whose data is damaged or compressed by another method than
    LZO or (if zlib was found when the engine was built) zlib, is left to Walker's read.
    """

    def __new__(
        cls,
        file: _Buffer,
        parts: _Buffer | array[int],
        bitmap_at: int,
        first: int,
        end: int,
        descriptors_at: int,
        next: Kdump | None = None,
    ) -> Kdump:
        """Describe a dump whose headers were checked.

        Args:
            file: the whole file.
            parts: 64-bit numbers: offset in the content, length, offset in the file, for each part;
                sorted and apart. A flattened dump has many.
            bitmap_at: offset in the content of the bit of page 0.
            first, end: the pages that have bits.
            descriptors_at: offset in the content.
            next: another part of the same dump, for pages that this one does not have.

        Raises:
            ValueError: a part is not in the file, or the layout is none.
        """

    def read(self, paddr: int, /) -> bytes | None:
        """The page at an address; None if it must be read otherwise."""

class FileMemory:
    """Physical memory in a file that may change, such as /proc/PID/mem. Immutable; threads may
    share it.

    Memory outside the parts, and memory that the file does not give, is left to Walker's read.
    """

    def __new__(cls, descriptor: int, parts: _Buffer | array[int]) -> FileMemory:
        """Duplicate a descriptor, and describe what is in the file.

        Args:
            descriptor: of a file that can be read at any offset.
            parts: 64-bit numbers: paddr, length, offset in the file, for each part; sorted and
                apart.

        Raises:
            ValueError: the parts are not sorted, overlap or are too large.
            OSError: the descriptor cannot be duplicated.
        """

    def read(self, paddr: int, length: int, /) -> bytes | None:
        """Memory inside a part; None if it must be read otherwise."""

class Index:
    """For a frame, all its mappings. One thread at a time: RuntimeError otherwise."""

    def __new__(cls, wanted: _Buffer | array[int] | None = None) -> Index:
        """Make an empty index.

        Args:
            wanted: 64-bit PFNs; the index is of these only, which is faster. None: of all frames.
        """

    def add(
        self,
        walker: Walker,
        space: int,
        root: _Root,
        first: int,
        last: int,
        *,
        max_entries: int = 0,
    ) -> tuple[_Stats, bool]:
        """Add the mappings of a range of an address space. Releases the GIL.

        Args:
            space: the caller's number for the space, below INDEX_SPACES.

        Returns:
            the counts of sweep(), and False if max_entries ended it early.

        Raises:
            ValueError: no such space, first is after last, or another page size than before.
        """

    def finish(self) -> None:
        """Sort, after the last add and before the first lookup."""

    def lookup(self, pfn: int, /) -> list[tuple[int, int, int, int, int]]:
        """All mappings of a frame, sorted: space, address, level, rights, memory type.

        Raises:
            ValueError: the frame is not a wanted one.
        """

    def size(self) -> tuple[int, int]:
        """Records (16 bytes each), and the pages that they represent."""
