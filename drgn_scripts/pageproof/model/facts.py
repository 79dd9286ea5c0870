# SPDX-License-Identifier: GPL-2.0-or-later
"""Facts read from a target, without drgn objects and judgement."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from pageproof.model.hexint import Address, Bits, Paddr, Pfn
from pageproof.model.walk import MemoryType

#: Marks a field that older reports of the same schema lack; reading them gives its default.
ADDED: Final = {"added": True}
#: Marks a text field that reports do not have. It is "" if a report is read.
UNSAVED: Final = {"unsaved": True}


class TargetKind(StrEnum):
    LIVE = "live"
    QEMU = "qemu"
    CORE = "core"


@dataclass(frozen=True)
class TargetFacts:
    """The target.

    Attributes:
        where: path of the socket or dump; "/proc/kcore" for live.
        format: source of memory: "kcore", "qmp", "elf", "kdump", "flattened", "raw", "lime",
            "avml", "given".
        release: ``uname -r`` of the kernel under test.
        live: True if memory can change while it is read.
        zero_fills: True if missing memory may read as zeros.
        arch: name of the architecture (:func:`pageproof.arch.of`).
        notes: remarks on the attachment.
    """

    kind: TargetKind
    where: str
    format: str
    release: str
    live: bool
    zero_fills: bool
    arch: str = field(compare=False, metadata=UNSAVED)
    notes: tuple[str, ...] = ()

    @property
    def may_be_torn(self) -> bool:
        """Whether pages may be of different moments, with no second look at them.

        LiME and AVML run in the machine whose memory they copy.
        """
        return self.format in ("lime", "avml")


@dataclass(frozen=True)
class SwapLayout:
    """Swap types that are not swap (``include/linux/swap.h``); they depend on the configuration.

    Each is (first type, number of types); the number is 0 if there are none.
    """

    hwpoison: tuple[int, int]
    migration: tuple[int, int]
    device: tuple[int, int]
    marker: tuple[int, int]


@dataclass(frozen=True)
class PagingFacts:
    """The paging form of the kernel under test, read from the target.

    Attributes:
        levels: 4 or 5, from the running kernel.
        levels_from: source of the number.
        kernel_root: physical address of ``init_mm.pgd``.
        sme_mask: the C-bit; 0 if there is none.
        pat: memory type per PAT index, as the kernel programmed the MSR.
        pti: True if user mode runs on its own half of the PGD.
        physical_bits: MAXPHYADDR; None if the target does not report it, and in older reports.
    """

    levels: int
    levels_from: str
    kernel_root: Paddr
    sme_mask: Bits
    pat: tuple[MemoryType, ...]
    pti: bool
    page_offset_base: Address
    vmalloc_base: Address | None
    vmemmap_base: Address | None
    phys_base: Paddr
    swap: SwapLayout | None
    physical_bits: int | None = field(default=None, metadata=ADDED)


@dataclass(frozen=True)
class RegionFacts:
    """Kernel memory that is shared on purpose, as described by the kernel's own data."""

    name: str
    kernel_address: Address
    length_bytes: int
    pages: int
    backing: str
    map: str


@dataclass(frozen=True, slots=True)
class FileFacts:
    """The open file behind a mapping."""

    file: Address
    f_op: Address
    f_op_symbol: str
    dentry_name: str
    inode: Address
    inode_number: int
    i_mode: Bits
    i_mode_words: str
    private_data: Address


@dataclass(frozen=True, slots=True)
class VmaFacts:
    """A ``struct vm_area_struct``.

    Attributes:
        gone: (name, address) of its operations ("vm_ops", "f_op") that are not in loaded code.
        has_fault: its operations have fault(), which creates an entry when a page is touched.
    """

    vma: Address
    start: Address
    end: Address
    pgoff_pages: int
    vm_flags: Bits
    vm_flags_words: str
    vm_page_prot: Bits
    vm_page_prot_words: str
    vm_ops_symbol: str
    file: FileFacts | None
    gone: tuple[tuple[str, Address], ...] = ()
    has_fault: bool = True

    @property
    def pages(self) -> int:
        """The number of 4 KiB pages that it covers."""
        return (self.end - self.start) >> 12

    def has_flag(self, word: str) -> bool:
        """Return whether it has a flag, given by name without VM_."""
        return word in self.vm_flags_words.split("|")


@dataclass(frozen=True, slots=True)
class MappingFacts:
    """One VMA of one address space.

    Attributes:
        pid, comm: of the thread group's leader, in the initial PID namespace.
        other_pids: other thread groups that run on the same mm (vfork, CLONE_VM).
        threads: number of tasks that run on the mm.
        root: physical address of the table to walk: the half that user mode runs on.
        kernel_half_root: physical address of ``mm->pgd``; equal to root without PTI.
        vma: None if the user named an address outside any VMA.
    """

    pid: int
    comm: str
    threads: int
    other_pids: tuple[int, ...]
    mm: Address
    root: Paddr
    kernel_half_root: Paddr
    vma: VmaFacts | None


@dataclass(frozen=True)
class TaskFault:
    """A task that could not be read completely, for example because it was exiting."""

    pid: int
    comm: str
    message: str


#: In ``page->mapping`` (include/linux/page-flags.h): anonymous memory, KSM's included.
PAGE_MAPPING_ANON: Final = 1


@dataclass(frozen=True)
class StructPageFacts:
    """``struct page`` of a frame.

    Attributes:
        flags: of the head; the words include the page's own PG_hwpoison.
        type_words: of the head: "slab", "buddy", "table", "large kmalloc" …; "" for none.
        refcount: ``_refcount`` of the head; 0 is sound for a frozen page (slab of newer kernels).
        mapcount: number of page-table entries that count as mappings; None if
            the field has another meaning (a typed page).
        buddy: it is free: in a block of the buddy allocator, or on a CPU's list of free pages.
        compound: it belongs to a compound page or a large folio.
        mapping: ``mapping`` of the head: bit 0 means anonymous, bits 0 and 1 KSM; otherwise it is a
            ``struct address_space *``; 0 for a typed page.
    """

    page: Address
    flags: Bits
    flags_words: str
    type_words: str
    refcount: int
    mapcount: int | None
    head: Address
    reserved: bool
    hwpoison: bool
    buddy: bool
    compound: bool
    mapping: Bits

    @property
    def is_anonymous(self) -> bool:
        """Whether it is anonymous memory of a process, or a KSM page."""
        return bool(self.mapping & PAGE_MAPPING_ANON)


class SlabState(StrEnum):
    """The state of a slab object."""

    ALLOCATED = "allocated"
    FREE = "free"
    UNKNOWN = "unknown"
    """The cache's free list is broken."""


@dataclass(frozen=True)
class SlabFacts:
    """An object of a slab cache.

    Attributes:
        object_bytes: usable size of an object.
        slot_bytes: distance from one object to the next.
    """

    cache: str
    start: Address
    offset_bytes: int
    object_bytes: int
    slot_bytes: int
    state: SlabState


class OwnerKind(StrEnum):
    """The kind of owner of an area of vmalloc space."""

    STACK = "kernel stack"
    PER_CPU = "per-CPU memory"
    MODULE = "module"
    VMALLOC = "vmalloc"
    """Memory that the kernel or a driver allocated, or pages that it maps there."""


@dataclass(frozen=True)
class AreaOwner:
    """The area of vmalloc space that contains a frame.

    Attributes:
        start, end: of the area.
        owns: the pages belong to the area; otherwise it only maps them (``vmap()``).
        caller: "symbol+offset" of its allocation; "" if the kernel does not know.
        module: the module that the memory belongs to or that allocated it; "" for the kernel's
            image.
        address: of the frame.
        pid, comm: of the task whose stack it is; 0 and "" for others.
        related: whether the module that allocated it and the one whose file is mapped use each
            other; None if that is unknown or was not checked.
    """

    kind: OwnerKind
    start: Address
    end: Address
    owns: bool
    caller: str = ""
    module: str = ""
    address: Address = 0
    pid: int = 0
    comm: str = ""
    related: bool | None = None

    @property
    def is_strangers(self) -> bool:
        """Whether it belongs to a module that is not related to the one that maps it."""
        return self.kind is OwnerKind.VMALLOC and self.owns and self.related is False


@dataclass(frozen=True)
class SlotFacts:
    """The typed content of a slot (``struct umh_shm_slot``).

    Attributes:
        id, payload, pl_hash: ``struct rztee_kreq``; text up to the first NUL,
            bytes other than ASCII text as ``\\xNN``.
        state: name of the enumerator, or the number.
        reply: the helper's last answer, which stays in the slot.
        words: the other numbers, by member.
        broken_hashes: members that should be the SHA-256 of a text and are not.
    """

    id: int
    payload: str
    pl_hash: str
    state: str
    reply: str
    words: tuple[tuple[str, int], ...]
    broken_hashes: tuple[str, ...] = ()


class Route(StrEnum):
    """A way to the bytes of a page."""

    KERNEL_VIRTUAL = "kernel-virtual"
    USER_VIRTUAL = "user-virtual"
    PHYSICAL = "physical"
    """The kernel side's frame, read physically."""
    USER_PHYSICAL = "user-physical"
    """The user side's frame, if it differs."""


@dataclass(frozen=True)
class RouteContent:
    """The result of one route: a digest, or why there is none."""

    route: Route
    sha256: str | None
    all_zero: bool
    error: str = ""


class Answer(StrEnum):
    """The answer of a second opinion. Silence is not contradiction."""

    AGREES = "agrees"
    CONTRADICTS = "contradicts"
    SILENT = "silent"


@dataclass(frozen=True)
class SecondOpinion:
    """The result of drgn's own translation, which shares no code with our walker.

    Attributes:
        paddr: None if drgn does not translate the address.
        message: drgn's reason if there is no ``paddr``.
        answer: compared with our walk; None in older reports.
        silence: for SILENT, why drgn has no opinion.
    """

    paddr: Paddr | None
    pfn: Pfn | None
    message: str = ""
    answer: Answer | None = field(default=None, metadata=ADDED)
    silence: str = field(default="", metadata=ADDED)

    @property
    def contradicts(self) -> bool:
        """Whether it was compared with our walk and is another frame."""
        return self.answer is Answer.CONTRADICTS
