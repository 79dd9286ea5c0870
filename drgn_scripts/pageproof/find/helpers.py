# SPDX-License-Identifier: GPL-2.0-or-later
"""drgn's helpers, loaded one by one."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any, Final

_HELPERS: Final = "drgn.helpers.linux"


def load_helpers_singly() -> None:
    """Let the import of one of drgn's helpers for Linux load that helper and no other.

    drgn.helpers.linux imports all of its modules to offer their names, which takes a tenth of a
    short command's time. Here it does so when a name is used that no import has given it.
    """
    if _HELPERS in sys.modules:
        return
    spec = importlib.util.find_spec(_HELPERS)
    if spec is None or spec.loader is None:
        return
    loader, module = spec.loader, importlib.util.module_from_spec(spec)

    def load(name: str) -> Any:
        module.__dict__.pop("__getattr__", None)
        loader.exec_module(module)
        return getattr(module, name)

    module.__dict__["__getattr__"] = load
    sys.modules[_HELPERS] = module
    package, _, name = _HELPERS.rpartition(".")
    setattr(sys.modules[package], name, module)


def load_all_helpers() -> None:
    """Load all of drgn's helpers for Linux; drgn's own code reads __all__ in their ``__dict__``."""
    import drgn.helpers.linux

    getattr(drgn.helpers.linux, "__all__")  # noqa: B009  # the name loads the package
