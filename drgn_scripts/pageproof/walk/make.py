# SPDX-License-Identifier: GPL-2.0-or-later
"""The choice of a walker: the engine in C if it was built, or the slow one in Python.

The tests compare both on random tables.
"""

from __future__ import annotations

from pageproof.arch import Paging
from pageproof.arch.engine import CompressedMemory, DirectMemory, FileMemory
from pageproof.errors import PageproofError
from pageproof.model.asked import WalkerChoice
from pageproof.walk.engine import EngineWalker
from pageproof.walk.protocol import Walker
from pageproof.walk.python import PythonWalker
from pageproof.walk.walker import ReadPhysical


def make_walker(
    read_physical: ReadPhysical,
    paging: Paging,
    choice: WalkerChoice = WalkerChoice.AUTO,
    direct: DirectMemory = (),
    compressed: CompressedMemory = (),
    file: FileMemory | None = None,
) -> Walker:
    """Make a walker: the only place that knows of more than one.

    Args:
        read_physical: gives all physical memory that there is.
        paging: the form of the tables.
        choice: what the user asked for.
        direct: memory that the engine in C need not ask for.
        compressed: memory that it decompresses itself.
        file: memory that it reads itself.

    Raises:
        PageproofError: the engine in C was asked for and can't be loaded.
    """
    if choice is not WalkerChoice.PYTHON:
        try:
            return EngineWalker(read_physical, paging, direct, compressed, file)
        except ImportError as error:
            if choice is WalkerChoice.C:
                raise PageproofError(
                    f"the page-table engine in C can't be loaded: {error}",
                    "",
                    "build it (make engine), or omit --walker",
                ) from None
    return PythonWalker(read_physical, paging)
