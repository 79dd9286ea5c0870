# SPDX-License-Identifier: GPL-2.0-or-later
"""Rules about conditions that more than one command can see.

A condition has the same id and severity in every command. A condition that breaks isolation or
loses data is an error everywhere. A rule of a single command is defined beside its check.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pageproof.errors import Exit
from pageproof.model import Finding, Severity
from pageproof.model.rule import Rule

# The kernel's half (kmap, audit, verify)

WRITE_EXECUTE: Final = Rule(
    id="kernel-write-execute",
    severity=Severity.ERROR,
    sentence="kernel memory is writable and executable: anything that can write there can run code "
    "as the kernel",
    cause="set_memory_x() on memory that is still writable, or vmap() with PAGE_KERNEL_EXEC. The "
    "kernel's own check (CONFIG_DEBUG_WX) looks for it at boot only.",
    fix="Write first, then set_memory_rox(), or set_memory_ro() before set_memory_x().",
    reference="arch/x86/mm/dump_pagetables.c: note_wx(); include/linux/set_memory.h: "
    "set_memory_rox()",
)
OPEN_TO_USER: Final = Rule(
    id="kernel-open-to-user",
    severity=Severity.ERROR,
    sentence="user mode can use addresses of the kernel's half (US is set on all levels): every "
    "process can reach this memory, whether it mapped it or not",
    cause="A driver set _PAGE_USER in a kernel mapping, such as vmap() with a process's page "
    "protection, or an entry was written by hand. Only the vsyscall page is open by design.",
    fix="Use PAGE_KERNEL; share pages with user mode through mmap().",
    reference="Intel SDM 3A 4.6.1; arch/x86/entry/vsyscall/vsyscall_64.c",
)
TABLE_USED_TWICE: Final = Rule(
    id="table-used-twice",
    severity=Severity.ERROR,
    sentence="two upper entries lead to one page table: a mapping made in one place appears in the "
    "other, and the first one to be removed frees the table",
    cause="An entry was copied. Linux shares page tables of processes only for hugetlbfs "
    "(huge_pmd_share()), and the kernel's own only in KASAN's shadow and for espfix stacks.",
    fix="Find the code that copied the entry.",
    reference="mm/hugetlb.c: huge_pmd_share(); arch/x86/kernel/espfix_64.c",
)
#: Areas of the kernel's half where the kernel shares its own tables by design.
SHARED_TABLES_AREAS: Final = frozenset({"kasan", "espfix"})

# Frames that a process maps (verify, audit, alias)

FRAME_IS_FREE: Final = Rule(
    id="frame-is-free",
    severity=Severity.ERROR,
    sentence="a process maps a frame that is free: it can read and change what the next owner "
    "stores there",
    cause="The driver freed the page on close or error while it was still mapped: "
    "remap_pfn_range() does not take a reference.",
    fix="Free in the last vm_ops->close() or release(), unmap first (unmap_mapping_range()), or "
    "use vm_insert_page(), which takes references.",
    reference="mm/memory.c: remap_pfn_range(), vm_insert_page(); mm/page_alloc.c",
)
FRAME_IS_OTHERS: Final = Rule(
    id="frame-is-others",
    severity=Severity.ERROR,
    sentence="the frame also belongs to another owner: it was allocated again while it was mapped",
    cause="The page was freed while it was mapped or while the driver kept its address, and "
    "allocated again.",
    fix=FRAME_IS_FREE.fix,
    reference=FRAME_IS_FREE.reference,
)
USER_MAPS_STACK: Final = Rule(
    id="user-maps-stack",
    severity=Severity.ERROR,
    sentence="a process maps a page of a task's kernel stack: it can read the kernel's data of "
    "that task and change its return addresses",
    cause="A page was freed while it was mapped and became a stack, or a driver was given the "
    "address of a stack.",
    fix=FRAME_IS_FREE.fix,
    reference="kernel/fork.c, alloc_thread_stack_node()",
)
USER_MAPS_TABLE: Final = Rule(
    id="user-maps-table",
    severity=Severity.ERROR,
    sentence="a process maps a page table: it can map any memory for itself",
    cause="A frame was freed while mapped and became a page table, or the entry was made on "
    "purpose, as page-table exploits do.",
    fix="Find the owner of the mapping: pageproof alias shows all mappings of the frame.",
    reference="mm/memory.c: pte_alloc_one() and its like",
)
USER_MAPS_SLAB: Final = Rule(
    id="user-maps-slab",
    severity=Severity.ERROR,
    sentence="a process maps a slab page like an ordinary page: the kernel counts the mapping in a "
    "field where the slab keeps its own data",
    cause="An entry for kmalloc() memory lacks the special bit. vm_insert_page() refuses slab "
    "pages, so the entry was written by hand.",
    fix="Share pages from alloc_pages() or vmalloc_user(), never slab objects.",
    reference="mm/memory.c: validate_page_before_insert()",
)
SHARES_SLAB_PAGE: Final = Rule(
    id="shares-slab-page",
    severity=Severity.ERROR,
    sentence="the frame holds other objects of a slab cache too: the process can read, and may be "
    "able to write, data of other parts of the kernel",
    cause="kmalloc() memory was mapped that does not fill the page, or does not begin at a page "
    "boundary: a mapping always covers whole pages.",
    fix="Allocate memory that will be mapped with alloc_pages() or vmalloc_user().",
    reference="mm/slub.c; mm/memory.c, vm_insert_page() refuses such pages and remap_pfn_range() "
    "cannot",
)
OBJECT_IS_FREE: Final = Rule(
    id="object-is-free",
    severity=Severity.ERROR,
    sentence="the slab object that is mapped is free: the next kmalloc() of that size returns it "
    "and shares it with a process",
    cause="The buffer was freed with kfree() while it was mapped.",
    fix=FRAME_IS_FREE.fix,
    reference="mm/slub.c",
)
MAPCOUNT_WRONG: Final = Rule(
    id="mapcount-wrong",
    severity=Severity.ERROR,
    sentence="more entries map the frame than struct page counts: it may be freed or moved while "
    "it is mapped",
    cause="An entry was written by hand, a page was freed and allocated again under a mapping, or "
    "a mapcount was dropped twice.",
    fix="Map ordinary pages with vm_insert_page() or vmf_insert_page(), which count the mapping; "
    "use VM_PFNMAP for memory that must not be counted.",
    reference="mm/rmap.c: folio_add_file_rmap_ptes(), folio_remove_rmap_ptes()",
)
MEMORY_TYPE_CONFLICT: Final = Rule(
    id="memory-type-conflict",
    severity=Severity.ERROR,
    sentence="mappings of one frame have different memory types: a write through one may appear "
    "late, out of order or never through another",
    cause="pgprot_noncached() or pgprot_writecombine() on a mapping of ordinary RAM, vmap() with "
    "its own page protection, or set_memory_uc() on only one alias. The direct map is an alias "
    "too: kmap() and speculative accesses use it.",
    fix="Map RAM with vma->vm_page_prot unchanged. For another type, change all aliases "
    "(set_memory_wc()), the direct map first.",
    reference="Intel SDM volume 3A, 12.12.4; Documentation/arch/x86/pat.rst",
)

# Tasks that could not be searched (regions, verify, alias)

TASK_UNREADABLE: Final = Rule(
    id="task-unreadable",
    severity=Severity.WARNING,
    sentence="this task could not be searched for mappings",
    cause="It was exiting, its data changed while it was read, or the dump lacks it.",
    fix="Run the command again, or stop the guest first.",
    reference="include/linux/sched.h, struct task_struct",
)


def exit_of(findings: Iterable[Finding], *, undecided: bool) -> Exit:
    """Return 1 if there is an error, 3 if something is undecided, else 0."""
    if any(one.severity is Severity.ERROR for one in findings):
        return Exit.WRONG
    return Exit.UNDECIDED if undecided else Exit.SOUND
