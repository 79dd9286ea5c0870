# SPDX-License-Identifier: GPL-2.0-or-later
"""Rules about the rights and memory types of both walks."""

from __future__ import annotations

from typing import Final

from pageproof.judge.rules.views import PageView
from pageproof.model import MemoryType, Outcome, Permissions, SecondOpinion, Severity, Walk
from pageproof.model.rule import Rule, Shown
from pageproof.space.units import PAGE_SHIFT

SECOND_OPINION_KERNEL: Final = Rule(
    id="second-opinion-kernel",
    severity=Severity.ERROR,
    sentence="drgn translates the kernel address to another frame than our walk: one of the two is "
    "wrong, please report it",
    cause="One of the two page-table walkers, which share no code, has a bug, or the tables "
    "changed between the two walks.",
    fix="Report it, with the JSON report.",
    reference="drgn's helper follow_phys()",
)
SECOND_OPINION_USER: Final = Rule(
    id="second-opinion-user",
    severity=Severity.ERROR,
    sentence="drgn translates the user address to another frame than our walk: one of the two is "
    "wrong, please report it",
    cause=SECOND_OPINION_KERNEL.cause,
    fix=SECOND_OPINION_KERNEL.fix,
    reference=SECOND_OPINION_KERNEL.reference,
)


def second_opinion_kernel(view: PageView) -> Shown | None:
    return _disputed(view.evidence.kernel_walk, view.evidence.kernel_second)


def second_opinion_user(view: PageView) -> Shown | None:
    return _disputed(view.evidence.user_walk, view.evidence.user_second)


def _disputed(walk: Walk, second: SecondOpinion) -> Shown | None:
    if not second.contradicts:
        return None
    return (
        ("our PFN", _frame(walk.paddr)),
        ("drgn's PFN", _frame(second.paddr)),
        ("drgn says", second.message),
    )


def _frame(paddr: int | None) -> str:
    return "none" if paddr is None else f"0x{paddr >> PAGE_SHIFT:x}"


def _granted(walk: Walk) -> Permissions | None:
    """Return the rights of a walk. An entry without PRESENT grants nothing, whatever its bits."""
    return walk.permissions if walk.outcome is Outcome.MAPPED else None


def _type_in_use(walk: Walk) -> MemoryType | None:
    """Return the memory type of accesses; None for an entry without PRESENT."""
    return walk.memory_type if walk.outcome is Outcome.MAPPED else None


def memory_type_conflict(view: PageView) -> Shown | None:
    """Compare both mappings; if they agree, also with the direct map, which always maps RAM."""
    kernel, user = _type_in_use(view.evidence.kernel_walk), _type_in_use(view.evidence.user_walk)
    if not view.same_frame or kernel is None or user is None:
        return None
    effective_types = view.architecture.effective_types
    if len(effective_types((kernel, user))) > 1:
        return ("kernel", kernel), ("user", user)
    physmap, page = view.evidence.physmap_walk, view.mapped
    if physmap is None or page is None or page.reserved:
        return None
    direct = _type_in_use(physmap)
    if direct is None or physmap.pfn != view.evidence.user_walk.pfn:
        return None
    if len(effective_types((kernel, direct))) < 2:
        return None
    return ("region", kernel), ("direct map", direct)


USER_WRITES_KERNEL_EXECUTES: Final = Rule(
    id="user-writes-kernel-executes",
    severity=Severity.ERROR,
    sentence="user mode can write memory that the kernel's mapping can execute: a process that "
    "maps it controls the kernel",
    cause="The region is in memory that was allocated for code (module_alloc(), PAGE_KERNEL_EXEC, "
    "set_memory_x()).",
    fix="Share data pages only; never make shared memory executable.",
    reference="arch/x86/mm/pat/set_memory.c, set_memory_x()",
)


def user_writes_kernel_executes(view: PageView) -> Shown | None:
    kernel, user = _granted(view.evidence.kernel_walk), _granted(view.evidence.user_walk)
    if not view.same_frame or kernel is None or user is None:
        return None
    return () if kernel.execute and user.write and user.user else None


def kernel_open_to_user(view: PageView) -> Shown | None:
    permissions = _granted(view.evidence.kernel_walk)
    return () if permissions is not None and permissions.user else None


USER_ADDRESS_CLOSED_TO_USER: Final = Rule(
    id="user-address-closed-to-user",
    severity=Severity.WARNING,
    sentence="user mode cannot use its own mapping (US is clear on some level): each access raises "
    "SIGSEGV",
    cause="The driver built vm_page_prot from the kernel's PAGE_KERNEL.",
    fix="Use vma->vm_page_prot, and change it only with pgprot_…().",
    reference="mm/memory.c, remap_pfn_range()",
)


def user_address_closed_to_user(view: PageView) -> Shown | None:
    permissions = _granted(view.evidence.user_walk)
    return () if permissions is not None and not permissions.user else None


USER_MAPPING_EXECUTABLE: Final = Rule(
    id="user-mapping-executable",
    severity=Severity.WARNING,
    sentence="user mode can execute the shared memory: data that the kernel writes there can run "
    "as code",
    cause="mmap() was called with PROT_EXEC, and the driver did not refuse it.",
    fix="In mmap(): if (vma->vm_flags & VM_EXEC) return -EPERM; and clear VM_MAYEXEC.",
    reference="mm/mmap.c, do_mmap()",
)


def user_mapping_executable(view: PageView) -> Shown | None:
    permissions = _granted(view.evidence.user_walk)
    return () if permissions is not None and permissions.execute else None


USER_WRITES_KERNEL_READ_ONLY: Final = Rule(
    id="user-writes-kernel-read-only",
    severity=Severity.WARNING,
    sentence="user mode can write memory that the kernel's mapping can only read: data that is "
    "protected even from the kernel can change",
    cause="The kernel's alias was made read-only (set_memory_ro(), vmap(PAGE_KERNEL_RO), const "
    "data), and mmap() of it still accepts PROT_WRITE.",
    fix="Refuse VM_WRITE in mmap() and clear VM_MAYWRITE.",
    reference="arch/x86/mm/pat/set_memory.c, set_memory_ro()",
)


def user_writes_kernel_read_only(view: PageView) -> Shown | None:
    kernel, user = _granted(view.evidence.kernel_walk), _granted(view.evidence.user_walk)
    if not view.same_frame or kernel is None or user is None:
        return None
    return () if user.write and not kernel.write else None


RAW_FRAME_IN_ORDINARY_VMA: Final = Rule(
    id="raw-frame-in-ordinary-vma",
    severity=Severity.ERROR,
    sentence="the entry is a raw frame (pte_special) in a VMA of ordinary pages: get_user_pages(), "
    'fork() and munmap() treat it as an ordinary page ("BUG: Bad page map")',
    cause="remap_pfn_range() into part of a VMA whose flags were put back, or an entry set by "
    "hand.",
    fix="VM_PFNMAP (remap_pfn_range()) or VM_MIXEDMAP (vmf_insert_mixed()) for the whole VMA.",
    reference="mm/memory.c, vm_normal_page() and print_bad_pte()",
)


def raw_frame_in_ordinary_vma(view: PageView) -> Shown | None:
    vma = view.mapping.vma
    if vma is None or not view.is_special or view.evidence.zero_page:
        return None
    if vma.has_flag("PFNMAP") or vma.has_flag("MIXEDMAP"):
        return None
    return (("vm_flags", vma.vm_flags_words),)


PROT_NONE: Final = Rule(
    id="prot-none",
    severity=Severity.NOTE,
    sentence="the user's entry is PROT_NONE: it names the frame, but it allows no access now",
    cause="mprotect(PROT_NONE), or the kernel samples which node uses the page (NUMA balancing).",
    fix="Nothing is wrong.",
    reference="arch/x86/include/asm/pgtable_types.h, _PAGE_PROTNONE",
)


def prot_none(view: PageView) -> Shown | None:
    return () if view.evidence.user_walk.outcome is Outcome.PROT_NONE else None
