# SPDX-License-Identifier: GPL-2.0-or-later
"""The architectures that pageproof supports, and the one of a target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pageproof.arch.architecture import Architecture
from pageproof.arch.x86_64 import X86_64
from pageproof.errors import PageproofError

if TYPE_CHECKING:
    import drgn  # diff works without drgn

#: The architecture of a dump whose header does not name one.
ASSUMED: Final[Architecture] = X86_64
#: By name. A new architecture adds one line here.
ARCHITECTURES: Final[dict[str, Architecture]] = {each.name: each for each in (X86_64,)}

#: Names of the known architectures, for messages.
ONLY: Final = ", ".join(ARCHITECTURES)


def row_names() -> tuple[str, ...]:
    """Return the names of rows of all architectures' memory maps."""
    return tuple(dict.fromkeys(row for each in ARCHITECTURES.values() for row in each.row_texts))


def supports_machine(machine: int) -> bool:
    """Return whether ELF files with an ``e_machine`` are of a known architecture."""
    return machine in (each.elf_machine for each in ARCHITECTURES.values())


def of(name: str) -> Architecture:
    """Return the architecture with a name, as :attr:`TargetFacts.arch` has it."""
    return ARCHITECTURES[name]


def of_program(prog: drgn.Program, where: str = "") -> Architecture:
    """Return the architecture of a target.

    Args:
        prog: the target.
        where: for the message.

    Raises:
        PageproofError: it is not supported.
    """
    platform = prog.platform
    name = platform.arch.name if platform else "an unknown machine"
    for each in ARCHITECTURES.values():
        if each.platform == name:
            return each
    raise PageproofError(f"the target is {name}", where, f"only {ONLY} is supported")
