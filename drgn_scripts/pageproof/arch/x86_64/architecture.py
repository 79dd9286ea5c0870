# SPDX-License-Identifier: GPL-2.0-or-later
"""The facts of x86_64 that the rest of the package uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar, Final

from pageproof.arch.architecture import Architecture, RowText, TopTableForm
from pageproof.arch.cpu import Cpu
from pageproof.arch.image import ImagePlace
from pageproof.arch.paging import Paging
from pageproof.arch.x86_64 import drgncode, words
from pageproof.arch.x86_64.memtypes import X86MemoryType
from pageproof.arch.x86_64.paging import (
    ACCESSED,
    HALF_BITS,
    LEVELS,
    MOST_PHYSICAL_BITS,
    NX,
    SPECIAL,
    START_KERNEL_MAP,
    X86Paging,
)
from pageproof.arch.x86_64.rowtexts import ROW_TEXTS
from pageproof.model import MemoryType, PagingFacts
from pageproof.space.units import ADDRESS_END

if TYPE_CHECKING:
    import drgn  # diff works without drgn

    from pageproof.arch.places import AreaQuestion
    from pageproof.model.kmap import LayoutFacts, MapRow

#: ``PTI_USER_PGTABLE_MASK``, in a PGD's address and in CR3: the table of the pair that user mode
#: runs on.
PTI_USER_HALF: Final = 1 << 12


class X86(Architecture):
    """x86_64. The modules that read a kernel's data need drgn and are imported when they do."""

    name: ClassVar[str] = "x86_64"
    platform: ClassVar[str] = "X86_64"
    elf_machine: ClassVar[int] = 62
    memory_types: ClassVar[tuple[MemoryType, ...]] = tuple(X86MemoryType)
    special_mask: ClassVar[int] = SPECIAL
    write_back: ClassVar[MemoryType] = X86MemoryType.WB
    # UC- is UC unless an MTRR says write-combining, and Linux has no such MTRR for RAM.
    same_types: ClassVar[dict[MemoryType, MemoryType]] = {X86MemoryType.UC_MINUS: X86MemoryType.UC}
    physical_bits: ClassVar[int] = MOST_PHYSICAL_BITS
    user_end: ClassVar[int] = 1 << HALF_BITS[5]
    image_map: ClassVar[int] = START_KERNEL_MAP
    huge_page_bytes: ClassVar[int] = 2 << 20
    huge_table_bytes: ClassVar[int] = 1 << 30
    section_bits: ClassVar[int] = 27  # arch/x86/include/asm/sparsemem.h
    flag_words: ClassVar[Mapping[str, str]] = words.FLAG_WORDS
    vm_flags: ClassVar[Mapping[int, str]] = {24: "PAT"}
    # arch/x86/include/uapi/asm/kvm.h, part of the kernel's ABI.
    kvm_pages: ClassVar[Mapping[str, int]] = {
        "run": 0,
        "pio": 1,
        "coalesced_mmio": 2,
        "dirty_log": 64,
    }
    row_texts: ClassVar[Mapping[str, RowText]] = ROW_TEXTS

    def paging(self, facts: PagingFacts, *, zero_fills: bool) -> Paging:
        return X86Paging(
            levels=facts.levels,
            sme_mask=facts.sme_mask,
            pat=facts.pat,
            swap=facts.swap,
            zero_fills=zero_fills,
            physical_bits=facts.physical_bits or MOST_PHYSICAL_BITS,
        )

    @property
    def cpu(self) -> Cpu:
        from pageproof.arch.x86_64.cpu import X86Cpu  # here, because only watch needs it

        return X86Cpu()

    def user_root(self, root: int) -> int:
        return root | PTI_USER_HALF

    def page_prot_words(self, prot: int) -> str:
        return words.page_prot_words(prot)

    def image_place(self, info: Mapping[str, str]) -> ImagePlace:
        from pageproof.arch.x86_64.vmcoreinfo import image_place

        return image_place(info)

    def cpu_roots(self, registers: str) -> tuple[frozenset[int], ...]:
        from pageproof.arch.x86_64.vmcoreinfo import cpu_roots

        return cpu_roots(registers)

    def read_paging(self, prog: drgn.Program) -> PagingFacts:
        from pageproof.arch.x86_64.kernel import read_paging

        return read_paging(prog)

    def page_offset(self, prog: drgn.Program) -> int:
        from pageproof.arch.x86_64.kernel import page_offset

        return page_offset(prog)

    def physmap(self, prog: drgn.Program) -> range:
        from pageproof.arch.x86_64.layout import physmap

        return physmap(prog)

    def kernel_half(self, prog: drgn.Program) -> range:
        from pageproof.arch.kernel import vmcoreinfo
        from pageproof.arch.x86_64.kernel import read_levels

        levels, _ = read_levels(prog, vmcoreinfo(prog))
        return range(ADDRESS_END - (1 << HALF_BITS[levels]), ADDRESS_END)

    def physical_end(self, prog: drgn.Program) -> int:
        # The limit of valid_mmap_phys_addr_range() (arch/x86/mm/mmap.c).
        return 1 << int(prog["boot_cpu_data"].x86_phys_bits)

    def recorded_type(self, prog: drgn.Program) -> Callable[[int], MemoryType] | None:
        from pageproof.arch.x86_64.kernel import recorded_type

        return recorded_type(prog)

    def called_by(self, prog: drgn.Program, address: int) -> int | None:
        from pageproof.arch.x86_64.kernel import called_by

        return called_by(prog, address)

    def gate_vma(self, prog: drgn.Program, mm: drgn.Object) -> tuple[drgn.Object, str] | None:
        from pageproof.arch.x86_64.kernel import gate_vma

        return gate_vma(prog, mm)

    def exposed_pages(self, prog: drgn.Program) -> frozenset[int]:
        from pageproof.arch.x86_64.kernel import tss_pages

        return tss_pages(prog)

    def area_questions(self) -> tuple[tuple[str, AreaQuestion], ...]:
        from pageproof.arch.x86_64.areas import AREA_QUESTIONS

        return AREA_QUESTIONS

    def read_layout(self, prog: drgn.Program, paging: PagingFacts, image_end: int) -> LayoutFacts:
        from pageproof.arch.x86_64.layout import read_layout

        return read_layout(prog, paging, image_end)

    def memory_map(self, layout: LayoutFacts) -> tuple[MapRow, ...]:
        from pageproof.arch.x86_64.rows import memory_map

        return memory_map(layout)

    def top_table(self, levels: int) -> TopTableForm:
        entries = LEVELS[levels][0].entries
        return TopTableForm(
            lower=range(entries // 2),
            upper=range(entries // 2, entries),
            set_by_processor=ACCESSED,
            set_by_isolation=NX,
        )

    def own_entry(self, paging: PagingFacts, layout: LayoutFacts) -> int | None:
        # The LDT's, with PTI.
        return LEVELS[layout.levels][0].index_of(layout.ldt) if paging.pti else None

    def walk_address_code(self, paging: PagingFacts) -> tuple[str, ...]:
        return drgncode.walk_address_code(paging)

    def walk_all_code(self, paging: PagingFacts) -> tuple[str, str]:
        return drgncode.walk_all_code(paging)

    def area_code(self, region: str) -> tuple[str, ...]:
        return drgncode.area_code(region)
