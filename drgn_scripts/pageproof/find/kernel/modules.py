# SPDX-License-Identifier: GPL-2.0-or-later
"""The loaded modules, and loading the debug info of one when a type is missing.

Loading takes seconds, and vmlinux may have the module's types already.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import drgn

from pageproof.find.bounded import list_entries, rb_find
from pageproof.find.kernel.debuginfo import load_module_debug_info

#: ``enum mod_mem_type`` without its prefix, as words.
_PARTS: Final = {
    "TEXT": "text",
    "DATA": "data",
    "RODATA": "rodata",
    "RO_AFTER_INIT": "data, read-only after init",
    "INIT_TEXT": "init text",
    "INIT_DATA": "init data",
    "INIT_RODATA": "init rodata",
}

#: Limit of modules: 2 GiB of module area, at least a page for each.
_MAX_MODULES: Final = 1 << 19


def all_modules(prog: drgn.Program) -> Iterator[drgn.Object]:
    """Yield ``struct module *`` of every loaded module.

    Raises:
        drgn.FaultError: a link of the list cannot be read.
        DamagedError: the list does not end.
    """
    try:
        head = prog["modules"].address_of_()
    except LookupError:
        return  # a kernel without CONFIG_MODULES
    yield from list_entries("struct module", head, "list", _MAX_MODULES)


def is_named(prog: drgn.Program, name: str) -> bool:
    """Return whether a module of that name is loaded.

    Raises:
        as :func:`all_modules`, if the module is not found before the error.
    """
    return any(module.name.string_() == name.encode() for module in all_modules(prog))


def module_at(prog: drgn.Program, address: int) -> drgn.Object | None:
    """Return ``struct module *`` of the module at an address; None if there is none.

    It is read from the tree of modules (``mod_find()`` of kernel/module/tree_lookup.c), or without
    CONFIG_MODULES_TREE_LOOKUP from their list.

    Raises:
        drgn.FaultError: some of it cannot be read.
        DamagedError: the tree or list does not end.
    """
    try:
        root = prog["mod_tree"].root
    except (AttributeError, LookupError):  # mod_tree may exist without a root
        return _in_list(prog, address)
    # Use the copy that is not being changed (include/linux/rbtree_latch.h).
    copy = int(root.seq.seqcount.sequence) & 1
    found = rb_find(
        _part_type(prog), root.tree[copy].address_of_(), f"mtn.node.node[{copy}]", address, _order
    )
    return found.mtn.mod.read_() if found else None


def _part_type(prog: drgn.Program) -> drgn.Type:
    """Return the type of the tree's entries."""
    try:
        # Since 6.4: ac3b43283923 ("module: replace module_layout with module_memory")
        return prog.type("struct module_memory")
    except LookupError:
        return prog.type("struct module_layout")


def _order(address: int, part: drgn.Object) -> int:
    start = int(part.base.value_())
    if address < start:
        return -1
    return int(address >= start + int(part.size.value_()))


def _in_list(prog: drgn.Program, address: int) -> drgn.Object | None:
    for module in all_modules(prog):
        try:
            parts = list(module.mem)
        except AttributeError:
            parts = [module.core_layout, module.init_layout]
        if any(not _order(address, part) for part in parts):
            return module
    return None


class ModulePart(NamedTuple):
    """A part of a module's memory, such as its text."""

    name: str
    start: int
    length_bytes: int


def part_at(module: drgn.Object, address: int) -> ModulePart:
    """Return the part of a module that contains an address.

    Raises:
        ValueError: no part contains it, though the kernel's tree of modules does.
    """
    for part in module_parts(module):
        if part.start <= address < part.start + part.length_bytes:
            return part
    raise ValueError(f"no part of the module {module_name(module)} has this address")


def module_name(module: drgn.Object) -> str:
    """Return the name of a module."""
    return str(module.name.string_().decode("utf-8", "replace"))


def module_parts(module: drgn.Object) -> Iterator[ModulePart]:
    """Yield the parts of a module's memory.

    Raises:
        drgn.FaultError: ``struct module`` cannot be read.
    """
    try:
        memory = module.mem  # since 6.4: ac3b43283923 ("module: replace module_layout …")
    except AttributeError:
        yield from _layout_parts(module.core_layout, "")
        yield from _layout_parts(module.init_layout, "init ")
        return
    for each in module.prog_.type("enum mod_mem_type").enumerators or ():
        name = each.name.removeprefix("MOD_")
        if name in _PARTS:
            one = memory[each.value]
            yield ModulePart(_PARTS[name], one.base.value_(), one.size.value_())


def _layout_parts(layout: drgn.Object, prefix: str) -> Iterator[ModulePart]:
    """Yield the parts of a ``struct module_layout``, which are contiguous."""
    start, done = layout.base.value_(), 0
    ends = (
        ("text", layout.text_size),
        ("rodata", layout.ro_size),
        ("data, read-only after init", layout.ro_after_init_size),
        ("data", layout.size),
    )
    for name, end in ends:
        size = end.value_() - done
        if size > 0:
            yield ModulePart(prefix + name, start + done, size)
            done += size


def load_when_missed(prog: drgn.Program, module: str) -> bool:
    """Load a module's debug info if drgn finds it. Return False if that was tried before."""
    tried: set[str] = prog.cache.setdefault("pageproof modules", set())
    if module in tried:
        return False
    tried.add(module)
    load_module_debug_info(prog, [module])
    return True


def no_debug_info(prog: drgn.Program, module: str) -> str:
    """Return a message if a module lacks its debug info; "" if it has it or is not loaded."""
    if not any(one.name == module and one.wants_debug_file() for one in prog.modules()):
        return ""
    release = prog["UTS_RELEASE"].string_().decode()
    return (
        f"no debug info for {module}.ko: install the kernel's debug package (Debian: "
        f"linux-image-{release}-dbg) or give {module}.ko, unstripped, with -s"
    )
