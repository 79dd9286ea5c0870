# SPDX-License-Identifier: GPL-2.0-or-later
"""Mappings in user address spaces, from the kernel's lists of tasks and VMAs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

import drgn

from pageproof import arch
from pageproof.errors import PageproofError, TornError
from pageproof.find.bounded import Losses
from pageproof.find.kernel.debuginfo import of_program
from pageproof.find.kernel.image import is_loaded
from pageproof.find.kernel.symbols import symbol_name
from pageproof.find.process.paths import name_of, path_of
from pageproof.find.process.tasks import all_tasks, find_task
from pageproof.find.process.vmas import for_each_vma
from pageproof.find.words import VM_FLAGS, i_mode_words, vm_flags_words
from pageproof.model import FileFacts, MappingFacts, PagingFacts, TaskFault, VmaFacts

#: Errors of drgn for data that is not valid, for example because it changes while it is read.
BROKEN: Final = (drgn.FaultError, ValueError, NotImplementedError)


@dataclass(frozen=True)
class Mappings:
    """The result of a search: mappings, and tasks that could not be searched completely."""

    found: tuple[MappingFacts, ...]
    faults: tuple[TaskFault, ...]


@dataclass
class _Space:
    """One address space and the thread groups that use it: thread group id -> comm."""

    mm: drgn.Object
    groups: dict[int, str] = field(default_factory=dict)
    threads: int = 0


def find_mappings(
    prog: drgn.Program, paging: PagingFacts, fops: int, pid: int | None = None
) -> Mappings:
    """Find every VMA of every process whose file has the given file operations.

    Threads that share an address space are one mapping, with the name of their group's leader. An
    error in one task is recorded and the search continues.

    Args:
        prog: the target.
        paging: its paging form.
        fops: address of ``struct file_operations``.
        pid: only the address space of this process.
    """

    def wanted(vma: drgn.Object) -> bool:
        file = vma.vm_file
        return bool(file) and file.f_op.value_() == fops

    return search(prog, paging, wanted, pid)


def search(
    prog: drgn.Program,
    paging: PagingFacts,
    wanted: Callable[[drgn.Object], bool],
    pid: int | None = None,
) -> Mappings:
    """Find every VMA that is ``wanted``, in order of process and address."""
    faults: list[TaskFault] = []
    found: list[MappingFacts] = []
    for space in _spaces(prog, pid, faults):
        found += _mappings_of(prog, paging, space, wanted, faults)
    found.sort(key=lambda m: (m.pid, m.vma.start if m.vma else 0))
    return Mappings(tuple(found), tuple(faults))


def mapping_at(prog: drgn.Program, paging: PagingFacts, pid: int, address: int) -> MappingFacts:
    """Return the mapping of one process at an address; without a VMA if none covers it.

    Raises:
        PageproofError: there is no such process, or it has no address space.
        TornError: no VMA was found, and some VMAs cannot be read.
    """
    found, lost = process_at(prog, paging, pid, address)
    if lost:
        raise _unreadable(pid, lost)
    return found


def process_at(
    prog: drgn.Program, paging: PagingFacts, pid: int, address: int
) -> tuple[MappingFacts, str]:
    """Return the mapping of one process at an address; without a VMA if none is found.

    Returns:
        The mapping, and why its VMA is not known. The reason is "" if the VMA is known, or if it is
        known that there is none.

    Raises:
        PageproofError: there is no such process, or it has no address space.
        TornError: the address space cannot be read.
    """
    faults: list[TaskFault] = []
    space = _space_of(prog, pid, faults)
    covering = _mappings_of(
        prog,
        paging,
        space,
        lambda vma: vma.vm_start.value_() <= address < vma.vm_end.value_(),
        faults,
    )
    found = next(covering, None)
    if found is not None:
        return found, ""
    return _as_such(prog, paging, space, pid), faults[-1].message if faults else ""


def check_process(prog: drgn.Program, pid: int) -> None:
    """Raise PageproofError if there is no such process, or if it has no address space.

    Raises:
        TornError: the list of tasks cannot be read to the end.
    """
    _space_of(prog, pid, [])


def address_spaces(prog: drgn.Program, paging: PagingFacts) -> Mappings:
    """Find every address space, without its VMAs, in order of process."""
    faults: list[TaskFault] = []
    found = []
    for space in _spaces(prog, None, faults):
        try:
            found.append(_mapping(prog, paging, space, None))
        except BROKEN as error:
            faults.append(_fault(space, error))
    return Mappings(tuple(found), tuple(faults))


def address_space(
    prog: drgn.Program, paging: PagingFacts, pid: int
) -> tuple[MappingFacts, tuple[MappingFacts, ...], str]:
    """Return a process's address space and its VMAs.

    Returns:
        The address space without a VMA; one mapping for each VMA that can be read; and why others
        are missing, "" if none is.

    Raises:
        PageproofError: there is no such process, or it has no address space.
        TornError: the address space cannot be read.
    """
    faults: list[TaskFault] = []
    space = _space_of(prog, pid, faults)
    vmas = tuple(_mappings_of(prog, paging, space, lambda vma: True, faults))
    return _as_such(prog, paging, space, pid), vmas, faults[-1].message if faults else ""


def _as_such(prog: drgn.Program, paging: PagingFacts, space: _Space, pid: int) -> MappingFacts:
    """Return an address space without a VMA.

    Raises:
        TornError: the address space cannot be read.
    """
    try:
        return _mapping(prog, paging, space, None)
    except BROKEN as error:
        raise _unreadable(pid, str(error)) from None


def _unreadable(pid: int, reason: str) -> TornError:
    return TornError(f"process {pid} can't be read: {reason}")


def _space_of(prog: drgn.Program, pid: int, faults: list[TaskFault]) -> _Space:
    """Return the address space of a process.

    Raises:
        PageproofError: there is no such process, or it has no address space.
        TornError: the list of tasks cannot be read to the end.
    """
    for space in _spaces(prog, pid, faults):
        faults.clear()  # they belong to other tasks
        return space
    ours = [fault for fault in faults if fault.pid in (0, pid)]
    if ours:
        raise _unreadable(pid, ours[0].message)
    if not find_task(prog, pid):
        raise PageproofError(f"there is no process {pid} in the target")
    raise PageproofError(
        f"process {pid} has no user address space", "", "it is a kernel thread, or it is exiting"
    )


def _spaces(prog: drgn.Program, pid: int | None, faults: list[TaskFault]) -> Iterator[_Space]:
    """Yield the address spaces, in order of their lowest thread group id."""
    spaces: dict[int, _Space] = {}
    try:
        tasks, lost = all_tasks(prog)
    except BROKEN as error:
        tasks, lost = [], str(error)
    if lost:
        faults.append(TaskFault(0, "?", f"the list of tasks: {lost}"))
    unreadable: dict[int, TaskFault] = {}
    for task in tasks:
        number, comm = 0, "?"
        try:
            number = task.tgid.value_()
            comm = task.group_leader.comm.string_().decode("utf-8", "replace")
            mm = task.mm.read_()  # read once: exec() and exit() change it
            if not mm:
                continue
            space = spaces.setdefault(mm.value_(), _Space(mm))
            space.groups[number] = comm
            space.threads += 1
        except drgn.FaultError as error:
            unreadable[task.value_()] = TaskFault(number, comm, str(error))
    if unreadable:
        # A task that has exited since may be other memory by now, even all zeros.
        faults += _of_existing(prog, unreadable)
    for space in sorted(spaces.values(), key=lambda s: min(s.groups, default=0)):
        if pid is None or pid in space.groups:
            yield space


def _of_existing(prog: drgn.Program, faults: dict[int, TaskFault]) -> list[TaskFault]:
    """Return the faults, by address of the task, of tasks that still exist."""
    try:
        there = {task.value_() for task in all_tasks(prog)[0]}
    except BROKEN:
        return list(faults.values())
    return [fault for address, fault in faults.items() if address in there]


def _mappings_of(
    prog: drgn.Program,
    paging: PagingFacts,
    space: _Space,
    wanted: Callable[[drgn.Object], bool],
    faults: list[TaskFault],
) -> Iterator[MappingFacts]:
    """Yield the VMAs that are wanted. Record one fault for all that cannot be read."""
    losses = Losses()
    try:
        for vma in for_each_vma(space.mm):
            try:
                if wanted(vma):
                    yield _mapping(prog, paging, space, vma)
            except BROKEN as error:
                losses.add(f"VMA {vma.value_():#x}: {error}")
    except BROKEN as error:
        losses.add(str(error))
    if losses:
        faults.append(_fault(space, losses))


def _fault(space: _Space, error: object) -> TaskFault:
    leader = min(space.groups)
    return TaskFault(leader, space.groups[leader], str(error))


def _mapping(
    prog: drgn.Program, paging: PagingFacts, space: _Space, vma: drgn.Object | None
) -> MappingFacts:
    """Return facts about an address space, and about one of its VMAs.

    Raises:
        FaultError: the data cannot be read.
        ValueError: the data is not valid: it was created or freed while it was read.
    """
    leader = min(space.groups)
    pgd = space.mm.pgd.value_() - paging.page_offset_base
    if pgd & 0xFFF or pgd <= 0:
        raise ValueError(f"page tables at physical address {pgd:#x} are not valid")
    return MappingFacts(
        pid=leader,
        comm=space.groups[leader],
        threads=space.threads,
        other_pids=tuple(sorted(group for group in space.groups if group != leader)),
        mm=space.mm.value_(),
        root=arch.of_program(prog).user_root(pgd) if paging.pti else pgd,
        kernel_half_root=pgd,
        vma=None if vma is None else _vma(prog, vma),
    )


def _vma(prog: drgn.Program, vma: drgn.Object) -> VmaFacts:
    """Return facts about a VMA.

    Raises:
        ValueError: the data is not valid: it was created or freed while it was read.
    """
    architecture = arch.of_program(prog)
    start, end = vma.vm_start.value_(), vma.vm_end.value_()
    if not start < end or (start | end) & 0xFFF or end > architecture.user_end:
        raise ValueError(f"a VMA from {start:#x} to {end:#x} is not valid")
    flags = _vm_flags(vma)
    prot = vma.vm_page_prot.pgprot.value_()
    ops = vma.vm_ops.value_()
    file = _file(prog, vma.vm_file) if vma.vm_file else None
    operations = (("vm_ops", ops), ("f_op", file.f_op if file else 0))
    gone = tuple(one for one in operations if one[1] and not is_loaded(prog, one[1]))
    return VmaFacts(
        vma=vma.value_(),
        start=start,
        end=end,
        pgoff_pages=vma.vm_pgoff.value_(),
        vm_flags=flags,
        vm_flags_words=vm_flags_words(flags, _vm_flag_names(prog)),
        vm_page_prot=prot,
        vm_page_prot_words=architecture.page_prot_words(prot),
        vm_ops_symbol=symbol_name(prog, ops) if ops else "",
        file=file,
        gone=gone,
        has_fault=bool(gone) or _has_fault(vma),
    )


def _has_fault(vma: drgn.Object) -> bool:
    """Return whether a page fault in the VMA can get a page (``do_fault()`` of mm/memory.c)."""
    ops = vma.vm_ops.read_()
    return not ops or bool(ops.fault) or bool(ops.huge_fault)


def _vm_flags(vma: drgn.Object) -> int:
    return int(vma.vm_flags.value_())


@of_program
def _vm_flag_names(prog: drgn.Program) -> dict[int, str]:
    """Return our table with names added from the target's enumerators (``VMA_*_BIT``, 7.0)."""
    names = {**VM_FLAGS, **arch.of_program(prog).vm_flags}
    try:
        enumeration = prog.constant("VMA_READ_BIT").type_
    except LookupError:
        return names
    for enumerator in enumeration.enumerators or ():
        name = enumerator.name.removeprefix("VMA_").removesuffix("_BIT")
        if not name.startswith(("ARCH_", "HIGH_ARCH_")):
            names.setdefault(enumerator.value, name)
    return names


def _file(prog: drgn.Program, file: drgn.Object) -> FileFacts:
    dentry = path_of(file).dentry.read_()
    inode = file.f_inode
    mode = inode.i_mode.value_()
    f_op = file.f_op.value_()
    return FileFacts(
        file=file.value_(),
        f_op=f_op,
        f_op_symbol=symbol_name(prog, f_op),
        dentry_name=name_of(dentry).decode("utf-8", "surrogateescape"),
        inode=inode.value_(),
        inode_number=inode.i_ino.value_(),
        i_mode=mode,
        i_mode_words=i_mode_words(mode),
        private_data=file.private_data.value_(),
    )
