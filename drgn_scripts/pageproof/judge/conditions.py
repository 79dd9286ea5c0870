# SPDX-License-Identifier: GPL-2.0-or-later
"""Rules about conditions that more than one command can see.

One condition has one id and one severity, whichever command reports it: what is an error in
``audit`` is not a warning in ``kmap``. A condition that breaks isolation or loses data is an error
everywhere. A rule of one command stands beside the code that looks for it.
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
    sentence="kernel memory is writable and executable: whoever can write there runs code as the "
    "kernel",
    cause="set_memory_x() on memory that is still writable, or vmap() with PAGE_KERNEL_EXEC. "
    "The kernel's own check (CONFIG_DEBUG_WX) looks for it at boot only.",
    fix="Write first, then set_memory_rox(), or set_memory_ro() before set_memory_x().",
    reference="arch/x86/mm/dump_pagetables.c: note_wx(); include/linux/set_memory.h: "
    "set_memory_rox()",
)
OPEN_TO_USER: Final = Rule(
    id="kernel-open-to-user",
    severity=Severity.ERROR,
    sentence="user mode may use addresses of the kernel's half (US is set on all levels): every "
    "process reaches this memory, whether it mapped it or not",
    cause="A driver that sets _PAGE_USER in a kernel mapping, such as vmap() with a process's "
    "page protection, or an entry written by hand. Only the vsyscall page is meant to be so.",
    fix="Use PAGE_KERNEL; share pages with user mode by mmap().",
    reference="Intel SDM 3A 4.6.1; arch/x86/entry/vsyscall/vsyscall_64.c",
)
TABLE_USED_TWICE: Final = Rule(
    id="table-used-twice",
    severity=Severity.ERROR,
    sentence="two upper entries lead to one page table: what is mapped in one place appears in the "
    "other, and the first to go frees it",
    cause="An entry that was copied. Linux shares tables of processes for hugetlbfs only "
    "(huge_pmd_share()), and the kernel its own in KASAN's shadow and for espfix's stacks.",
    fix="Look for who copied it.",
    reference="mm/hugetlb.c: huge_pmd_share(); arch/x86/kernel/espfix_64.c",
)
#: Regions of the kernel's half where it shares its own tables by design.
SHARED_TABLES_REGIONS: Final = frozenset({"kasan", "espfix"})

# Frames that a process maps (verify, audit, alias)

FRAME_IS_FREE: Final = Rule(
    id="frame-is-free",
    severity=Severity.ERROR,
    sentence="a process maps a frame that is free: it sees, and may change, what the next owner "
    "puts there",
    cause="The driver freed the page on close or error while a mapping still had it: "
    "remap_pfn_range() takes no reference.",
    fix="Free in the last vm_ops->close() or release(), unmap first (unmap_mapping_range()), or "
    "use vm_insert_page(), which takes references.",
    reference="mm/memory.c: remap_pfn_range(), vm_insert_page(); mm/page_alloc.c",
)
FRAME_IS_OTHERS: Final = Rule(
    id="frame-is-others",
    severity=Severity.ERROR,
    sentence="the frame is somebody else's too: it was given away while it was mapped",
    cause="The page was freed while it was mapped or while the driver kept its address, and "
    "allocated again.",
    fix=FRAME_IS_FREE.fix,
    reference=FRAME_IS_FREE.reference,
)
USER_MAPS_STACK: Final = Rule(
    id="user-maps-stack",
    severity=Severity.ERROR,
    sentence="a process maps a page of a task's kernel stack: it reads what the kernel does for "
    "that task, and may change where it returns to",
    cause="A page that was freed while it was mapped and became a stack, or a driver that was "
    "given the address of one.",
    fix=FRAME_IS_FREE.fix,
    reference="kernel/fork.c, alloc_thread_stack_node()",
)
USER_MAPS_TABLE: Final = Rule(
    id="user-maps-table",
    severity=Severity.ERROR,
    sentence="a process maps a page table: it can give itself any memory",
    cause="A frame that was freed while mapped and became a page table, or an entry made on "
    "purpose: this is what page-table exploits look like.",
    fix="Find whose mapping it is: pageproof alias shows all mappings of the frame.",
    reference="mm/memory.c: pte_alloc_one() and its like",
)
USER_MAPS_SLAB: Final = Rule(
    id="user-maps-slab",
    severity=Severity.ERROR,
    sentence="a process maps a slab page as if it were a page of its own: the kernel counts the "
    "mapping where the slab keeps its own data",
    cause="An entry for kmalloc() memory without the special bit: vm_insert_page() refuses slab "
    "pages, so that it was made by hand.",
    fix="Share pages of alloc_pages() or vmalloc_user(), and never slab objects.",
    reference="mm/memory.c: validate_page_before_insert()",
)
SHARES_SLAB_PAGE: Final = Rule(
    id="shares-slab-page",
    severity=Severity.ERROR,
    sentence="the frame holds other objects of a slab cache too: the process sees, and may write, "
    "what belongs to the rest of the kernel",
    cause="Memory of kmalloc() was mapped that does not fill the page, or does not begin where a "
    "page does: a mapping is of whole pages.",
    fix="alloc_pages() or vmalloc_user() for memory that is mapped.",
    reference="mm/slub.c; mm/memory.c, vm_insert_page() refuses such pages and remap_pfn_range() "
    "can't",
)
OBJECT_IS_FREE: Final = Rule(
    id="object-is-free",
    severity=Severity.ERROR,
    sentence="the slab object that is mapped is free: the next kmalloc() of that size gets it, and "
    "shares it with a process",
    cause="kfree() of the buffer while it is mapped.",
    fix=FRAME_IS_FREE.fix,
    reference="mm/slub.c",
)
MAPCOUNT_WRONG: Final = Rule(
    id="mapcount-wrong",
    severity=Severity.ERROR,
    sentence="more entries map the frame than struct page counts: it may be freed or moved while "
    "it is mapped",
    cause="An entry written by hand, a page that was freed and allocated again under a mapping, or "
    "a mapcount that was dropped twice.",
    fix="vm_insert_page() or vmf_insert_page() for ordinary pages, which count; VM_PFNMAP for what "
    "is not to be counted.",
    reference="mm/rmap.c: folio_add_file_rmap_ptes(), folio_remove_rmap_ptes()",
)
MEMORY_TYPE_CONFLICT: Final = Rule(
    id="memory-type-conflict",
    severity=Severity.ERROR,
    sentence="mappings of one frame have different memory types: what is written through one may "
    "be seen late, out of order or never through another",
    cause="pgprot_noncached() or pgprot_writecombine() on a mapping of ordinary RAM, vmap() with a "
    "page protection of its own, or set_memory_uc() on one alias only. The kernel's direct map "
    "is an alias too, which kmap() or a speculation uses.",
    fix="Map RAM with vma->vm_page_prot as it is; for another type change all aliases "
    "(set_memory_wc()), the direct map's first.",
    reference="Intel SDM volume 3A, 12.12.4; Documentation/arch/x86/pat.rst",
)

# What could not be looked at (regions, verify, alias)

TASK_UNREADABLE: Final = Rule(
    id="task-unreadable",
    severity=Severity.WARNING,
    sentence="this task could not be searched for mappings",
    cause="It was exiting, its data changed while it was read, or the dump lacks it.",
    fix="Look again, or stop the guest for the look.",
    reference="include/linux/sched.h, struct task_struct",
)


def exit_of(findings: Iterable[Finding], *, undecided: bool) -> Exit:
    """1 if there is an error, 3 if something could not be decided, else 0."""
    if any(one.severity is Severity.ERROR for one in findings):
        return Exit.WRONG
    return Exit.UNDECIDED if undecided else Exit.SOUND
