# SPDX-License-Identifier: GPL-2.0-or-later
"""The owner of a page of vmalloc space: a task's stack, per-CPU memory, a module, a driver."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import drgn

from pageproof import arch
from pageproof.find.bounded import list_entries
from pageproof.find.kernel.areas import VM_ALLOC, VM_IOREMAP, area_at
from pageproof.find.kernel.modules import all_modules, module_at
from pageproof.find.kernel.symbols import code_words
from pageproof.find.process.tasks import read_tasks
from pageproof.model import AreaOwner, OwnerKind

#: Errors on damaged or missing data. ValueError includes DamagedError.
BROKEN: Final = (
    drgn.FaultError,
    LookupError,
    AttributeError,
    ValueError,
    NotImplementedError,
)


#: Addresses of tasks by the address of their stack.
Stacks = dict[int, int]


def task_stacks(prog: drgn.Program) -> Stacks:
    """Return the stacks of all tasks, except those that cannot be read."""
    try:
        tasks, _ = read_tasks(prog)
    except BROKEN:
        return {}
    return {task.stack: task.address for task in tasks if task.stack}


def area_owner(prog: drgn.Program, address: int, stacks: Stacks) -> AreaOwner | None:
    """Return the owner of the vmalloc area at an address.

    Args:
        prog: the target.
        address: a kernel address.
        stacks: the stacks of tasks.

    Returns:
        None if there is no area, or it maps a device (``ioremap()``).

    Raises:
        FaultError: its data cannot be read.
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
    task = drgn.Object(prog, "struct task_struct *", stacks.get(start, 0))
    # Read again: the task may have ended, and another one may use its memory.
    if task and task.stack.value_() == start:
        pid, comm = task.pid.value_(), task.comm.string_().decode("utf-8", "replace")
        return AreaOwner(OwnerKind.STACK, start, end, True, words, pid=pid, comm=comm)
    module = module_name(prog, caller) if _is_call_of_allocator(prog, caller) else ""
    return AreaOwner(OwnerKind.VMALLOC, start, end, owns, words, module)


def _is_call_of_allocator(prog: drgn.Program, caller: int) -> bool:
    """Return whether the code before a return address calls an allocator.

    Many drivers allocate in their init function, whose memory is freed afterwards. By now another
    module may have its code there, and that module did not allocate the area.
    """
    try:
        target = arch.of_program(prog).called_by(prog, caller)
        name = "" if target is None else prog.symbol(target).name
    except BROKEN:
        return False
    return "alloc" in name or "vmap" in name


def module_name(prog: drgn.Program, address: int) -> str:
    """Return the name of the module at an address; "" if there is none."""
    try:
        module = module_at(prog, address)
        return "" if module is None else module.name.string_().decode("utf-8", "replace")
    except BROKEN:
        return ""


def are_related(prog: drgn.Program, one: str, other: str) -> bool | None:
    """Return whether two modules use each other, directly or through other modules.

    One module may allocate memory that another maps, such as the library videobuf2. Two modules
    that cannot call each other share memory only through the kernel itself.

    Returns:
        None if it is not known: one name is "", or the kernel has no list of users (without
        CONFIG_MODULE_UNLOAD).
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
    """Yield (user, used module)."""
    for module in all_modules(prog):
        used = module.name.string_().decode("utf-8", "replace")
        users = list_entries("struct module_use", module.source_list.address_of_(), "source_list")
        for use in users:
            yield use.source.name.string_().decode("utf-8", "replace"), used
