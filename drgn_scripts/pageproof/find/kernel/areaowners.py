# SPDX-License-Identifier: GPL-2.0-or-later
"""Whose memory a page of vmalloc space is: a task's stack, per-CPU memory, a module, a driver's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import drgn

from pageproof.find.bounded import list_entries
from pageproof.find.kernel.areas import VM_ALLOC, VM_IOREMAP, area_at
from pageproof.find.kernel.modules import all_modules, module_at
from pageproof.find.kernel.symbols import code_words
from pageproof.find.process.tasks import all_tasks
from pageproof.model import AreaOwner, OwnerKind
from pageproof.space.units import ADDRESS_LAST

#: ``call rel32`` of x86_64 (Intel SDM 2A, CALL).
_CALL: Final = 0xE8
_CALL_BYTES: Final = 5
#: What may be wrong with a target's data (DamagedError among it), or not there at all.
BROKEN: Final = (
    drgn.FaultError,
    LookupError,
    AttributeError,
    ValueError,
    NotImplementedError,
)


#: Tasks by the address of their stack.
Stacks = dict[int, drgn.Object]


def task_stacks(prog: drgn.Program) -> Stacks:
    """The stacks of all tasks; those that can't be read are left out."""
    try:
        tasks, _ = all_tasks(prog)
    except BROKEN:
        return {}
    found: Stacks = {}
    for task in tasks:
        try:
            found[task.stack.value_()] = task
        except drgn.FaultError:
            continue
    return found


def area_owner(prog: drgn.Program, address: int, stacks: Stacks) -> AreaOwner | None:
    """The owner of the area of vmalloc space that has an address.

    Args:
        prog: the target.
        address: a kernel address.
        stacks: of tasks.

    Returns:
        None where there is no area, or it maps a device (``ioremap()``).

    Raises:
        FaultError: its data can't be read.
    """
    area = area_at(prog, address)
    if area is None or area.flags & VM_IOREMAP:
        return None
    start, end, caller = area.start, area.end, area.caller
    if not area.has_vm:  # vm_map_ram() maps pages of its caller
        return AreaOwner(OwnerKind.VMALLOC, start, end, owns=False, caller="vm_map_ram")
    words = code_words(prog, caller)
    # vmap() gives its pages to the area only with VM_MAP_PUT_PAGES. DMA memory has the array too.
    owns = bool(area.flags & VM_ALLOC or area.pages)
    if words.startswith("pcpu_get_vm_areas+"):
        return AreaOwner(OwnerKind.PER_CPU, start, end, owns=True, caller=words)
    module = module_name(prog, address)
    if module:
        return AreaOwner(OwnerKind.MODULE, start, end, owns=True, caller=words, module=module)
    task = stacks.get(start)
    # Once more: it may have ended, and its memory be another task's.
    if task is not None and task.stack.value_() == start:
        pid, comm = task.pid.value_(), task.comm.string_().decode("utf-8", "replace")
        return AreaOwner(OwnerKind.STACK, start, end, True, words, pid=pid, comm=comm)
    module = module_name(prog, caller) if _is_call_of_allocator(prog, caller) else ""
    return AreaOwner(OwnerKind.VMALLOC, start, end, owns, words, module)


def _is_call_of_allocator(prog: drgn.Program, caller: int) -> bool:
    """Whether a call of an allocator returns to an address.

    Many drivers allocate in their init function, whose memory is freed then. The code of another
    module may have that place by now, and has asked for nothing.
    """
    if caller < _CALL_BYTES:
        return False
    try:
        call = prog.read(caller - _CALL_BYTES, _CALL_BYTES)
        target = caller + int.from_bytes(call[1:], "little", signed=True) & ADDRESS_LAST
        name = prog.symbol(target).name
    except BROKEN:
        return False
    return call[0] == _CALL and ("alloc" in name or "vmap" in name)


def module_name(prog: drgn.Program, address: int) -> str:
    """The module that has an address; "" for the kernel's image and all else."""
    try:
        module = module_at(prog, address)
        return "" if module is None else module.name.string_().decode("utf-8", "replace")
    except BROKEN:
        return ""


def are_related(prog: drgn.Program, one: str, other: str) -> bool | None:
    """Whether two modules use each other, directly or by way of others.

    A library of drivers (videobuf2) may allocate what another module maps. Two modules of which
    neither can call the other have no memory in common by any but the kernel's own means.

    Returns:
        None where that is not known: one of them is "", or the kernel keeps no list of users
        (CONFIG_MODULE_UNLOAD).
    """
    if not one or not other:
        return None
    if one == other:
        return True
    users: dict[str, set[str]] = {}
    try:
        for user, used in _uses(prog):
            users.setdefault(user, set()).add(used)
            users.setdefault(used, set()).add(user)
    except BROKEN:
        return None
    seen, todo = {one}, [one]
    while todo:
        fresh = users.get(todo.pop(), set()) - seen
        seen |= fresh
        todo += fresh
    return other in seen


def _uses(prog: drgn.Program) -> Iterator[tuple[str, str]]:
    """(module that uses, module that is used)."""
    for module in all_modules(prog):
        used = module.name.string_().decode("utf-8", "replace")
        users = list_entries("struct module_use", module.source_list.address_of_(), "source_list")
        for use in users:
            yield use.source.name.string_().decode("utf-8", "replace"), used
