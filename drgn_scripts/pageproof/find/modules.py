# SPDX-License-Identifier: GPL-2.0-or-later
"""Debug info of a kernel module, loaded once a type of it is missed.

It takes seconds, and whoever asks about one thing may have that module loaded for another; and
vmlinux has many a module's types.
"""

from __future__ import annotations

import drgn
from drgn.helpers.linux.module import address_to_module

from pageproof.target.debuginfo import load_module_debug_info


def load_when_missed(prog: drgn.Program, module: str) -> bool:
    """Load a module's debug info, as far as drgn finds it; once. False if that was tried before."""
    tried: set[str] = prog.cache.setdefault("pageproof modules", set())
    if module in tried:
        return False
    tried.add(module)
    load_module_debug_info(prog, [module])
    return True


def module_at(prog: drgn.Program, address: int) -> drgn.Object | None:
    """``struct module *`` of the module that has an address; None if none has.

    A kernel without CONFIG_MODULES has no list of modules to look in.
    """
    try:
        prog["modules"]
    except LookupError:
        return None
    return address_to_module(prog, address) or None


def no_debug_info(prog: drgn.Program, module: str) -> str:
    """What to say of a module that lacks its debug info; "" of one that has it, or of none."""
    if not any(one.name == module and one.wants_debug_file() for one in prog.modules()):
        return ""
    release = prog["UTS_RELEASE"].string_().decode()
    return (
        f"no debug info for {module}.ko: install the kernel's debug package (Debian: "
        f"linux-image-{release}-dbg) or give {module}.ko, unstripped, with -s"
    )
