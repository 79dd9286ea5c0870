# SPDX-License-Identifier: GPL-2.0-or-later
"""Facts from a program's debug info, which do not change while memory changes."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from functools import wraps
from typing import Final, TypeVar, cast

import drgn

_Said = TypeVar("_Said")

#: Where :mod:`pageproof.attach.btf` leaves what adds the types of modules, if it provides types.
#: It takes the names of modules, and returns those that have no BTF.
MODULE_TYPES: Final = "pageproof types of modules"


def of_program(ask: Callable[[drgn.Program], _Said]) -> Callable[[drgn.Program], _Said]:
    """Cache the result of a function for each program. One look-up by name may take a millisecond.

    The result must not hold a drgn object: the program would keep itself alive.
    """
    key = f"{ask.__module__}.{ask.__qualname__}"

    @wraps(ask)
    def answer(prog: drgn.Program) -> _Said:
        if key not in prog.cache:
            prog.cache[key] = ask(prog)
        return cast(_Said, prog.cache[key])

    return answer


def plain_type(kind: drgn.Type) -> drgn.Type:
    """Return the type that a typedef, or a typedef of one, stands for; another type itself."""
    while kind.kind is drgn.TypeKind.TYPEDEF:
        kind = kind.type
    return kind


def load_module_debug_info(prog: drgn.Program, modules: Collection[str]) -> None:
    """Load debug info of the named modules, if the target has loaded them and drgn finds it.

    Missing debug info is reported where the types are needed.
    """
    add = prog.cache.get(MODULE_TYPES)
    if add is not None:
        modules = add(modules)
        if not modules:
            return
    wanted = [
        module
        for module, _ in prog.loaded_modules()
        if module.name in modules and module.wants_debug_file()
    ]
    if wanted:
        with suppress(drgn.MissingDebugInfoError):
            prog.load_module_debug_info(*wanted)
