# SPDX-License-Identifier: GPL-2.0-or-later
"""What a program's debug info says: asked once, for it stays the same while memory changes."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from functools import wraps
from typing import TypeVar, cast

import drgn

_Said = TypeVar("_Said")


def of_program(ask: Callable[[drgn.Program], _Said]) -> Callable[[drgn.Program], _Said]:
    """Keep what a function gives for a program; a look-up by name may take drgn a millisecond.

    For what holds no object of drgn's only: the program would keep itself alive.
    """
    key = f"{ask.__module__}.{ask.__qualname__}"

    @wraps(ask)
    def answer(prog: drgn.Program) -> _Said:
        if key not in prog.cache:
            prog.cache[key] = ask(prog)
        return cast(_Said, prog.cache[key])

    return answer


def load_module_debug_info(prog: drgn.Program, modules: Collection[str]) -> None:
    """Load debug info of the named modules, of those that are loaded and as far as drgn finds it.

    That some is missing is said where the types are needed.
    """
    wanted = [
        module
        for module, _ in prog.loaded_modules()
        if module.name in modules and module.wants_debug_file()
    ]
    if wanted:
        with suppress(drgn.MissingDebugInfoError):
            prog.load_module_debug_info(*wanted)
