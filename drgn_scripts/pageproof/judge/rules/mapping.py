# SPDX-License-Identifier: GPL-2.0-or-later
"""Rules about a VMA itself: its flags, its operations, its processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pageproof.judge.rules.views import MappingView
from pageproof.judge.words import run_list
from pageproof.model import Severity
from pageproof.model.asked import Expectation
from pageproof.model.rule import Rule, Shown

_OPERATIONS_GONE: Final = Rule(
    id="operations-gone",
    severity=Severity.ERROR,
    sentence="the operations of this mapping are not in loaded code: the module that made it is "
    "gone, and the next fault, fork or munmap() jumps into freed memory",
    cause="struct file_operations lacks .owner = THIS_MODULE, or the memory outlives the file: "
    "nothing keeps the module loaded while the file is open.",
    fix="Set .owner; take a reference to the module for what outlives the file.",
    reference="include/linux/fs.h, struct file_operations; fs/char_dev.c, chrdev_open() takes the "
    "reference",
)


def operations_gone(view: MappingView) -> Shown | None:
    return tuple((name, f"0x{address:x}") for name, address in view.vma.gone) or None


REGION_IS_FREED: Final = Rule(
    id="region-is-freed",
    severity=Severity.ERROR,
    sentence="private_data of the open file points to freed memory: each use of the file is a use "
    "after free, and the region's pages are no longer known",
    cause="The driver frees its context when the device is removed or the last ioctl() ends, while "
    "a file is still open: an open file lives as long as any mapping of it.",
    fix="Count references: one for the device, one for each open file; free in release() at the "
    "earliest.",
    reference="Documentation/core-api/kref.rst",
)


def region_is_freed(view: MappingView) -> Shown | None:
    if not view.data_is_freed or view.vma.file is None:
        return None
    return (("private_data", f"0x{view.vma.file.private_data:x}"),)


_INHERITED: Final = Rule(
    id="inherited",
    severity=Severity.ERROR,
    sentence="another process maps the same open file, although --expect no-child was given: the "
    "child inherited the mapping through fork(), or the file was passed to it",
    cause="fork() copies each shared mapping that does not have VM_DONTCOPY; with VM_PFNMAP the "
    "entries too.",
    fix="Set VM_DONTCOPY in mmap(), and VM_IO, which keeps madvise(MADV_DOFORK) from clearing it.",
    reference="mm/mmap.c, dup_mmap(); mm/madvise.c, MADV_DOFORK",
)


def inherited(view: MappingView) -> Shown | None:
    if Expectation.NO_CHILD not in view.expected or not view.handed_on:
        return None
    return (("vm_flags", view.vma.vm_flags_words),)


_MAY_BE_INHERITED: Final = Rule(
    id="may-be-inherited",
    severity=Severity.WARNING,
    sentence="a child would inherit this mapping through fork(), although --expect no-child was "
    "given",
    cause=_INHERITED.cause,
    fix=_INHERITED.fix,
    reference=_INHERITED.reference,
)


def may_be_inherited(view: MappingView) -> Shown | None:
    if Expectation.NO_CHILD not in view.expected or view.handed_on:
        return None
    return None if view.vma.has_flag("DONTCOPY") else (("vm_flags", view.vma.vm_flags_words),)


_WRITABLE: Final = Rule(
    id="writable-read-only",
    severity=Severity.ERROR,
    sentence="user mode can write here, although --expect read-only was given",
    cause="mmap() accepts PROT_WRITE on a file that is open for writing unless the driver refuses "
    "it.",
    fix="In mmap(): if (vma->vm_flags & VM_WRITE) return -EPERM; and clear VM_MAYWRITE.",
    reference="kernel/bpf/ringbuf.c, ringbuf_map_mmap_kern()",
)


def writable_read_only(view: MappingView) -> Shown | None:
    if Expectation.READ_ONLY not in view.expected or not view.vma.has_flag("WRITE"):
        return None
    return (("vm_flags", view.vma.vm_flags_words),)


_MAY_BECOME_WRITABLE: Final = Rule(
    id="may-become-writable",
    severity=Severity.ERROR,
    sentence="mprotect(PROT_WRITE) can make this mapping writable, although --expect read-only was "
    "given",
    cause="do_mmap() sets VM_MAYWRITE if the file is open for writing: a driver that only refuses "
    "VM_WRITE in mmap() does not stop mprotect().",
    fix="Clear VM_MAYWRITE in mmap(): vm_flags_clear(vma, VM_MAYWRITE).",
    reference="mm/mprotect.c, do_mprotect_pkey(); kernel/bpf/ringbuf.c, ringbuf_map_mmap_kern()",
)


def may_become_writable(view: MappingView) -> Shown | None:
    if Expectation.READ_ONLY not in view.expected or view.vma.has_flag("WRITE"):
        return None
    if not view.vma.has_flag("MAYWRITE"):
        return None
    return (("vm_flags", view.vma.vm_flags_words),)


_MAY_BECOME_EXECUTABLE: Final = Rule(
    id="may-become-executable",
    severity=Severity.WARNING,
    sentence="mprotect(PROT_EXEC) can make this mapping executable, although --expect no-exec was "
    "given",
    cause="do_mmap() sets VM_MAYEXEC unless the device's node is on a file system mounted noexec.",
    fix="Clear VM_MAYEXEC in mmap(), and refuse VM_EXEC.",
    reference="mm/mmap.c, do_mmap(); mm/mprotect.c",
)


def may_become_executable(view: MappingView) -> Shown | None:
    if Expectation.NO_EXEC not in view.expected or not view.vma.has_flag("MAYEXEC"):
        return None
    if view.vma.has_flag("EXEC"):
        return None  # user-mapping-executable reports it
    return (("vm_flags", view.vma.vm_flags_words),)


_PFNMAP_FLAGS: Final = Rule(
    id="pfnmap-flags",
    severity=Severity.WARNING,
    sentence="raw frames are mapped (VM_PFNMAP) without VM_DONTDUMP and the flags that belong with "
    "it: a core dump treats the mapping as ordinary memory",
    cause="A driver sets VM_PFNMAP itself, for a fault handler that uses vmf_insert_pfn(), and "
    "forgets the other flags that remap_pfn_range() sets.",
    fix="Call vm_flags_set(vma, VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP).",
    reference="mm/memory.c, remap_pfn_range(); fs/coredump.c, vma_dump_size()",
)


def pfnmap_flags(view: MappingView) -> Shown | None:
    """Check VM_DONTDUMP only: perf's rings lack VM_IO, and mremap() refuses to grow VM_PFNMAP."""
    if not view.vma.has_flag("PFNMAP") or view.vma.has_flag("DONTDUMP"):
        return None
    missing = [word for word in ("IO", "DONTEXPAND", "DONTDUMP") if not view.vma.has_flag(word)]
    return ("vm_flags", view.vma.vm_flags_words), ("missing", "|".join(missing))


_MAPPING_INCOMPLETE: Final = Rule(
    id="mapping-incomplete",
    severity=Severity.WARNING,
    sentence="pages of the region in this mapping have no entry, and its operations have no "
    "fault() to make one: an access raises SIGBUS",
    cause="mmap() maps less than requested without an error, or the process has dropped the pages "
    "(MADV_DONTNEED).",
    fix="Map vma_pages(vma) pages or return -EINVAL.",
    reference="mm/memory.c, do_fault()",
)


def mapping_incomplete(view: MappingView) -> Shown | None:
    return (("lacking", run_list(view.lacking)),) if view.lacking else None


MAPPING_RULES: Final[tuple[tuple[Rule, Callable[[MappingView], Shown | None]], ...]] = (
    (_OPERATIONS_GONE, operations_gone),
    (REGION_IS_FREED, region_is_freed),
    (_INHERITED, inherited),
    (_WRITABLE, writable_read_only),
    (_MAY_BECOME_WRITABLE, may_become_writable),
    (_MAY_BE_INHERITED, may_be_inherited),
    (_MAY_BECOME_EXECUTABLE, may_become_executable),
    (_PFNMAP_FLAGS, pfnmap_flags),
    (_MAPPING_INCOMPLETE, mapping_incomplete),
)

#: Rules of severity error that need an expectation.
EXPECTING: Final[dict[Rule, Expectation]] = {
    _INHERITED: Expectation.NO_CHILD,
    _WRITABLE: Expectation.READ_ONLY,
    _MAY_BECOME_WRITABLE: Expectation.READ_ONLY,
}
