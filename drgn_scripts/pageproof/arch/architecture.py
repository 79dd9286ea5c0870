# SPDX-License-Identifier: GPL-2.0-or-later
"""What an architecture implements."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pageproof.arch.cpu import Cpu
from pageproof.arch.image import ImagePlace
from pageproof.arch.paging import Paging
from pageproof.errors import PageproofError
from pageproof.model import MemoryType, PagingFacts

if TYPE_CHECKING:
    import drgn  # diff works without drgn

    from pageproof.arch.places import AreaQuestion
    from pageproof.model.kmap import LayoutFacts, MapRow


@dataclass(frozen=True)
class RowText:
    """Text on one kind of row of the memory map.

    Attributes:
        purpose: one line for the map.
        lives: what is in it.
        physical: how an address in it becomes physical.
        defined: the macro or variable that defines it, and the kernel's file.
    """

    purpose: str
    lives: str
    physical: str
    defined: str


@dataclass(frozen=True)
class TopTableForm:
    """Indexes and bits of a topmost table, for comparing two of them.

    Attributes:
        lower, upper: entries of the user half and of the kernel's half.
        set_by_processor: bits that the processor sets in each table alone.
        set_by_isolation: bits that page-table isolation sets in the kernel's table only.
    """

    lower: range
    upper: range
    set_by_processor: int
    set_by_isolation: int


class Architecture(ABC):
    """Facts of an architecture, and what to read of a target to learn the rest.

    Methods that take a program read the kernel's data. They raise drgn.FaultError if it cannot be
    read, and PageproofError if the kernel does not have it.

    Attributes:
        name: as in messages.
        platform: the name of its ``drgn.Architecture``.
        elf_machine: ``e_machine`` of its ELF files.
        memory_types: as :attr:`Paging.memory_types`.
        special_mask: as :attr:`Paging.special_mask`.
        write_back: the memory type of ordinary RAM.
        same_types: memory types that have the effect of another one, with that one.
        physical_bits: the most bits that a physical address can have.
        user_end: the end of user addresses, in the largest form.
        image_map: where the kernel's image is linked.
        huge_page_bytes: of a leaf of the level above the last.
        huge_table_bytes: of virtual memory under a table of such leaves.
        section_bits: log2 of the bytes of a memory section (``SECTION_SIZE_BITS``).
        flag_words: what the names of an entry's bits mean.
        vm_flags: names of bits of ``vm_flags`` that are the architecture's own.
        kvm_pages: page offsets of a vcpu's parts (``KVM_*_PAGE_OFFSET``).
        row_texts: by the names of rows of the memory map.
    """

    name: ClassVar[str]
    platform: ClassVar[str]
    elf_machine: ClassVar[int]
    memory_types: ClassVar[tuple[MemoryType, ...]]
    special_mask: ClassVar[int]
    write_back: ClassVar[MemoryType]
    same_types: ClassVar[dict[MemoryType, MemoryType]] = {}
    physical_bits: ClassVar[int]
    user_end: ClassVar[int]
    image_map: ClassVar[int]
    huge_page_bytes: ClassVar[int]
    huge_table_bytes: ClassVar[int]
    section_bits: ClassVar[int]
    flag_words: ClassVar[Mapping[str, str]]
    vm_flags: ClassVar[Mapping[int, str]] = {}
    kvm_pages: ClassVar[Mapping[str, int]] = {}
    row_texts: ClassVar[Mapping[str, RowText]] = {}

    # Addresses and page tables.

    @abstractmethod
    def paging(self, facts: PagingFacts, *, zero_fills: bool) -> Paging:
        """Return the form of a target's page tables.

        Args:
            facts: of the target.
            zero_fills: the target returns zeros for memory that it does not have.
        """

    @property
    def cpu(self) -> Cpu:
        """What a debugger sees of a CPU.

        Raises:
            PageproofError: pageproof does not know it.
        """
        raise PageproofError(f"watching through a gdb stub does not work on {self.name}")

    def is_upper(self, address: int) -> bool:
        """Return whether an address is in the kernel's half."""
        return address >> 63 != 0

    def user_root(self, root: int) -> int:
        """Return the root that user mode runs on, with page-table isolation.

        Args:
            root: of the pair, the kernel's.
        """
        return root

    def effective_types(self, types: Iterable[MemoryType | None]) -> frozenset[MemoryType]:
        """Return the memory types that differ in effect; more than one conflict."""
        same = self.same_types
        return frozenset(same.get(one, one) for one in types if one is not None)

    @abstractmethod
    def page_prot_words(self, prot: int) -> str:
        """Return ``vm_page_prot`` as names of bits joined with "|"."""

    # A kernel that nothing is known of but its VMCOREINFO.

    def image_place(self, info: Mapping[str, str]) -> ImagePlace:
        """Return where a VMCOREINFO places the kernel's image.

        Args:
            info: its lines; nothing in them is trusted.

        Raises:
            Unsuitable: it is not a whole one of this architecture.
        """
        raise NotImplementedError(f"kernels of {self.name} are not searched for")

    def cpu_roots(self, registers: str) -> tuple[frozenset[int], ...]:
        """Return for each CPU the physical addresses that its topmost table may have.

        Args:
            registers: of all CPUs, as QEMU's monitor prints them (``info registers -a``).
        """
        return ()

    # Facts that are read from a target.

    @abstractmethod
    def read_paging(self, prog: drgn.Program) -> PagingFacts:
        """Read the paging form of the kernel under test."""

    @abstractmethod
    def page_offset(self, prog: drgn.Program) -> int:
        """Return the base of the direct map."""

    @abstractmethod
    def physmap(self, prog: drgn.Program) -> range:
        """Return the addresses that the direct map may have, those of physical memory from 0 on."""

    @abstractmethod
    def kernel_half(self, prog: drgn.Program) -> range:
        """Return the addresses of the kernel's half."""

    @abstractmethod
    def physical_end(self, prog: drgn.Program) -> int:
        """Return the end of the physical addresses that the processor has."""

    # Facts for finders of kernel structures. An architecture may have none of these.

    def recorded_type(self, prog: drgn.Program) -> Callable[[int], MemoryType] | None:
        """Return a function from ``page->flags`` to the memory type in it; None for none."""
        return None

    def called_by(self, prog: drgn.Program, address: int) -> int | None:
        """Return the target of the call whose return address is given; None if there is no call."""
        return None

    def gate_vma(self, prog: drgn.Program, mm: drgn.Object) -> tuple[drgn.Object, str] | None:
        """Return the VMA that no process has in its list, with its name (``get_gate_vma()``)."""
        return None

    def exposed_pages(self, prog: drgn.Program) -> frozenset[int]:
        """Return addresses of pages that page-table isolation leaves in user mode's tables."""
        return frozenset()

    def area_questions(self) -> tuple[tuple[str, AreaQuestion], ...]:
        """Return the questions about an address in areas that only this architecture has."""
        return ()

    # The memory map.

    def read_layout(self, prog: drgn.Program, paging: PagingFacts, image_end: int) -> LayoutFacts:
        """Read where the areas of the kernel's half are.

        Args:
            prog: the target.
            paging: of the target.
            image_end: the end of the kernel's image.
        """
        raise NotImplementedError(f"{self.name} has no memory map")

    def memory_map(self, layout: LayoutFacts) -> tuple[MapRow, ...]:
        """Return rows that cover the 64-bit address space, every byte once, in order."""
        raise NotImplementedError(f"{self.name} has no memory map")

    def row_of(self, layout: LayoutFacts, region: str) -> MapRow:
        """Return the row of a name that every kernel has once."""
        return next(row for row in self.memory_map(layout) if row.region == region)

    def top_table(self, levels: int) -> TopTableForm:
        """Return the form of a topmost table."""
        raise NotImplementedError(f"{self.name} shares no table between its halves")

    def own_entry(self, paging: PagingFacts, layout: LayoutFacts) -> int | None:
        """Return the index of the topmost entry of the kernel's half that each process owns."""
        return None

    # Code for drgn.

    def walk_address_code(self, paging: PagingFacts) -> tuple[str, ...]:
        """Return lines that walk to ``address`` from ``table``."""
        raise NotImplementedError(f"no code for {self.name}")

    def walk_all_code(self, paging: PagingFacts) -> tuple[str, str]:
        """Return a generator of all leaves as code, and the call that yields those of init_mm."""
        raise NotImplementedError(f"no code for {self.name}")

    def area_code(self, region: str) -> tuple[str, ...]:
        """Return lines that identify ``address`` in a row that only this architecture has."""
        return ()
