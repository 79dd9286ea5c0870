# SPDX-License-Identifier: GPL-2.0-or-later
"""What ``/proc/PID/maps`` says (``show_map_vma()`` of fs/proc/task_mmu.c), from the same data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import drgn
from drgn import cast
from drgn.helpers.linux.fs import d_path

from pageproof.errors import TornError
from pageproof.find.bounded import Losses
from pageproof.find.mappings import BROKEN, address_space, mm_object, path_of
from pageproof.find.words import VM_FLAGS, page_prot_words, vm_flags_words
from pageproof.model import MappingFacts, PagingFacts, VmaFacts, VmaLine

_PAGE_SHIFT: Final = 12
_READ, _WRITE, _EXEC, _MAYSHARE = 1, 2, 4, 0x80
#: ``MINORBITS`` of include/linux/kdev_t.h.
_MINOR_BITS: Final = 20
#: ``MM_CONTEXT_HAS_VSYSCALL`` of arch/x86/include/asm/mmu.h: bit 1, as BIT(1) before 6.4.
_HAS_VSYSCALL: Final = 1 << 1


@dataclass(frozen=True)
class ProcessMaps:
    """An address space and its VMAs in order of address.

    Attributes:
        lost: why some of its VMAs are missing; "" if none is.
    """

    process: MappingFacts
    lines: tuple[VmaLine, ...]
    pgtables_bytes: int
    lost: str


def process_maps(prog: drgn.Program, paging: PagingFacts, pid: int) -> ProcessMaps:
    """Read the VMAs of a process as procfs shows them, the vsyscall page with them.

    Raises:
        PageproofError: there is no such process, or it has no address space.
        TornError: it cannot be read.
    """
    process, mappings, lost = address_space(prog, paging, pid)
    losses = Losses(lost)
    lines = []
    for vma in (one.vma for one in mappings if one.vma is not None):
        try:
            lines.append(vma_line(prog, vma))
        except BROKEN as error:
            losses.add(f"VMA {vma.vma:#x}: {error}")
    try:
        mm = mm_object(prog, process.mm)
        lines += _gate(prog, mm)
        pgtables = int(mm.pgtables_bytes.counter.value_())
    except BROKEN as error:
        raise TornError(f"process {pid} can't be read: {error}") from None
    return ProcessMaps(process, tuple(lines), pgtables, str(losses))


def vma_line(prog: drgn.Program, facts: VmaFacts) -> VmaLine:
    """What procfs says of a VMA.

    Raises:
        FaultError: it can't be read.
    """
    vma = cast("struct vm_area_struct *", drgn.Object(prog, "unsigned long", facts.vma))
    device = inode = offset = 0
    if vma.vm_file:
        node = vma.vm_file.f_inode
        device, inode = int(node.i_sb.s_dev.value_()), int(node.i_ino.value_())
        offset = facts.pgoff_pages << _PAGE_SHIFT
    return VmaLine(
        vma=facts,
        permissions=permission_letters(facts.vm_flags),
        offset_bytes=offset,
        device_major=device >> _MINOR_BITS,
        device_minor=device & (1 << _MINOR_BITS) - 1,
        inode_number=inode,
        name=_name(prog, vma).decode("utf-8", "replace"),
    )


def permission_letters(vm_flags: int) -> str:
    """``vm_flags`` as "rw-p"."""
    letters = zip("rwx", (_READ, _WRITE, _EXEC), strict=True)
    access = "".join(letter if vm_flags & bit else "-" for letter, bit in letters)
    return access + ("s" if vm_flags & _MAYSHARE else "p")


def _name(prog: drgn.Program, vma: drgn.Object) -> bytes:
    anonymous = _anonymous_name(vma)
    if vma.vm_file:
        return b"[anon_shmem:%b]" % anonymous if anonymous else _path(prog, vma.vm_file)
    special = _special_name(prog, vma)
    if special:
        return special
    mm = vma.vm_mm
    start, end = vma.vm_start.value_(), vma.vm_end.value_()
    # vma_is_initial_heap(), vma_is_initial_stack() of include/linux/mm.h
    if start < mm.brk.value_() and end > mm.start_brk.value_():
        return b"[heap]"
    if start <= mm.start_stack.value_() <= end:
        return b"[stack]"
    return b"[anon:%b]" % anonymous if anonymous else b""


def _anonymous_name(vma: drgn.Object) -> bytes:
    """What PR_SET_VMA_ANON_NAME gave it; b"" for none."""
    try:
        name = vma.anon_name  # since 5.17: 9a10064f5625, if configured
    except AttributeError:
        return b""
    if vma.vm_file and name.address_ == vma.shared.address_:
        # A union with ``shared``, of which files use the other part, until d09e8ca6cb93 (6.2).
        return b""
    return bytes(name.name.string_()) if name else b""


def _special_name(prog: drgn.Program, vma: drgn.Object) -> bytes:
    """[vdso], [vvar] and their like; b"" for others."""
    try:
        ops = prog["special_mapping_vmops"].address_
    except LookupError:
        return b""
    if vma.vm_ops.value_() != ops:
        return b""
    mapping = cast("struct vm_special_mapping *", vma.vm_private_data)
    return bytes(mapping.name.string_())


def _path(prog: drgn.Program, file: drgn.Object) -> bytes:
    """The path of a file as procfs prints it; a newline as the four characters ``\\012``."""
    path = path_of(file)
    dentry = path.dentry
    name = bytes(dentry.d_name.name.string_())
    made_by = _function(prog, dentry.d_op.d_dname if dentry.d_op else None)
    if made_by == "simple_dname":  # memfd, shared anonymous memory
        text = b"/%b (deleted)" % name
    elif made_by == "anon_inodefs_dname":
        text = b"anon_inode:" + name
    else:
        text = d_path(path)
        # d_unlinked(): not in the hash, and not the root of its tree
        unhashed = not dentry.d_hash.pprev
        if unhashed and dentry.d_parent != dentry:
            text += b" (deleted)"
    return text.replace(b"\n", b"\\012")


def _function(prog: drgn.Program, pointer: drgn.Object | None) -> str:
    if pointer is None or not pointer:
        return ""
    try:
        return str(prog.symbol(pointer.value_()).name)
    except LookupError:
        return ""


def _gate(prog: drgn.Program, mm: drgn.Object) -> list[VmaLine]:
    """The vsyscall page, which has a VMA but in no process (``get_gate_vma()``)."""
    try:
        gate, mode = prog["gate_vma"], prog["vsyscall_mode"]
        names = {e.value: e.name for e in mode.type_.enumerators or ()}
        if names[mode.value_()] == "NONE":
            return []
        flags = mm.context.flags
    except (LookupError, AttributeError):
        return []
    if not flags.value_() & _HAS_VSYSCALL:
        return []
    vm_flags, prot = int(gate.vm_flags.value_()), gate.vm_page_prot.pgprot.value_()
    ops = gate.vm_ops.value_()
    facts = VmaFacts(
        vma=gate.address_ or 0,
        start=gate.vm_start.value_(),
        end=gate.vm_end.value_(),
        pgoff_pages=0,
        vm_flags=vm_flags,
        vm_flags_words=vm_flags_words(vm_flags, VM_FLAGS),
        vm_page_prot=prot,
        vm_page_prot_words=page_prot_words(prot),
        vm_ops_symbol=str(prog.symbol(ops).name) if ops else "",
        file=None,
    )
    return [VmaLine(facts, permission_letters(vm_flags), 0, 0, 0, 0, "[vsyscall]")]
