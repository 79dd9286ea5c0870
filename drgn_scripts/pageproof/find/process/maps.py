# SPDX-License-Identifier: GPL-2.0-or-later
"""The lines of ``/proc/PID/maps``, from the same data (``show_map_vma()``, fs/proc/task_mmu.c)."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import drgn
from drgn import cast, container_of

from pageproof import arch
from pageproof.errors import TornError
from pageproof.find.bounded import Losses
from pageproof.find.kernel.debuginfo import of_program
from pageproof.find.kernel.symbols import symbol_name
from pageproof.find.process.devices import major_minor
from pageproof.find.process.mappings import address_space
from pageproof.find.process.paths import d_path, path_of
from pageproof.find.process.spaces import BROKEN
from pageproof.find.process.vmas import mm_object
from pageproof.find.strings import bytes_of
from pageproof.find.words import VM_FLAGS, vm_flags_words
from pageproof.model import MappingFacts, PagingFacts, VmaFacts, VmaLine
from pageproof.space.units import ADDRESS_LAST, PAGE_SHIFT

_READ, _WRITE, _EXEC, _MAYSHARE = 1, 2, 4, 0x80


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
    """Read the VMAs of a process as procfs shows them, including the vsyscall page.

    Raises:
        PageproofError: there is no such process, or it has no address space.
        TornError: the process cannot be read.
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
    """Return the line of procfs for a VMA.

    Raises:
        FaultError: the VMA cannot be read.
    """
    vma = cast("struct vm_area_struct *", drgn.Object(prog, "unsigned long", facts.vma))
    number = inode = offset = 0
    if vma.vm_file:
        node = _user_inode(vma.vm_file)
        number, inode = int(node.i_sb.s_dev.value_()), int(node.i_ino.value_())
        # procfs shifts it as a loff_t and prints it as an unsigned long long.
        offset = facts.pgoff_pages << PAGE_SHIFT & ADDRESS_LAST
    major, minor = major_minor(number)
    return VmaLine(
        vma=facts,
        permissions=permission_letters(facts.vm_flags),
        offset_bytes=offset,
        device_major=major,
        device_minor=minor,
        inode_number=inode,
        name=_name(prog, vma).decode("utf-8", "surrogateescape"),
    )


def permission_letters(vm_flags: int) -> str:
    """Return ``vm_flags`` as letters, such as "rw-p"."""
    letters = zip("rwx", (_READ, _WRITE, _EXEC), strict=True)
    access = "".join(letter if vm_flags & bit else "-" for letter, bit in letters)
    return access + ("s" if vm_flags & _MAYSHARE else "p")


def _name(prog: drgn.Program, vma: drgn.Object) -> bytes:
    anonymous = _anonymous_name(vma)
    if vma.vm_file:
        return b"[anon_shmem:%b]" % anonymous if anonymous else _path(vma.vm_file)
    special = _special_name(prog, vma)
    if special:
        return special
    mm = vma.vm_mm
    start, end = vma.vm_start.value_(), vma.vm_end.value_()
    if _is_heap(prog, start, end, mm.start_brk.value_(), mm.brk.value_()):
        return b"[heap]"
    if start <= mm.start_stack.value_() <= end:
        return b"[stack]"
    return b"[anon:%b]" % anonymous if anonymous else b""


def _is_heap(prog: drgn.Program, start: int, end: int, first: int, last: int) -> bool:
    """Return whether a VMA is shown as the heap. Before 6.6 a neighbour of the heap is too."""
    if _heap_has_neighbours(prog):
        return start <= last and end >= first
    return start < last and end > first


@of_program
def _heap_has_neighbours(prog: drgn.Program) -> bool:
    """Return whether the kernel lacks "mm: factor out VMA stack and heap checks" (6.6).

    That commit left no trace in types: its functions are inline. "mm: remove enum page_entry_size"
    came by the same pull request, and kernels with backports take over mm/ as a whole.
    """
    try:
        prog.type("enum page_entry_size")
    except LookupError:
        return False
    return True


def _anonymous_name(vma: drgn.Object) -> bytes:
    """Return the name that PR_SET_VMA_ANON_NAME gave a VMA; b"" for none."""
    try:
        name = vma.anon_name  # since 5.17: 9a10064f5625, if configured
    except AttributeError:
        return b""
    if vma.vm_file and name.address_ == vma.shared.address_:
        # Until d09e8ca6cb93 (6.2) it is in a union with ``shared``, which file mappings use.
        return b""
    return bytes_of(name.name) if name else b""


def _special_name(prog: drgn.Program, vma: drgn.Object) -> bytes:
    """Return the name of a special mapping, such as [vdso]; b"" for other VMAs."""
    try:
        ops = prog["special_mapping_vmops"].address_
    except LookupError:
        return b""
    if vma.vm_ops.value_() != ops:
        return b""
    mapping = cast("struct vm_special_mapping *", vma.vm_private_data)
    return bytes_of(mapping.name)


def _path(file: drgn.Object) -> bytes:
    """Return the path of a file as procfs prints it: only newlines are escaped."""
    user = _user_path(file)
    return d_path(path_of(file) if user is None else user).replace(b"\n", b"\\012")


def _user_inode(file: drgn.Object) -> drgn.Object:
    """Return ``file_user_inode()`` of include/linux/fs.h."""
    user = _user_path(file)
    return file.f_inode if user is None else user.dentry.d_inode


def _user_path(file: drgn.Object) -> drgn.Object | None:
    """Return ``struct path`` that a process opened for a file of overlayfs; None for other files.

    Since 6.8 the mapped file has the lower path: def3ae83da02 ("fs: store real path instead of fake
    path in backing file f_path").
    """
    if not int(file.f_mode) >> _backing_bit(file.prog_) & 1:
        return None
    try:
        return container_of(file, file.prog_.type("struct backing_file"), "file").user_path
    except (LookupError, AttributeError):
        return None


@of_program
def _backing_bit(prog: drgn.Program) -> int:
    """Return the bit of ``FMODE_BACKING``, which debug info does not have.

    "fsnotify: opt-in for permission events at file open time" (6.14, and stable kernels of 6.12)
    took bit 25 for another flag.
    """
    # The first became inline, and BTF has no inline functions; newer kernels have the second.
    for name in ("file_set_fsnotify_mode", "fsnotify_open_perm_and_set_mode"):
        with suppress(LookupError):
            prog.function(name)
            return 24
    return 25


def _gate(prog: drgn.Program, mm: drgn.Object) -> list[VmaLine]:
    """Return the line of the VMA that is in no process (``get_gate_vma()``), if there is one."""
    architecture = arch.of_program(prog)
    found = architecture.gate_vma(prog, mm)
    if found is None:
        return []
    gate, name = found
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
        vm_page_prot_words=architecture.page_prot_words(prot),
        vm_ops_symbol=symbol_name(prog, ops) if ops else "",
        file=None,
    )
    return [VmaLine(facts, permission_letters(vm_flags), 0, 0, 0, 0, name)]
