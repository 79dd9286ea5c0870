# SPDX-License-Identifier: GPL-2.0-or-later
"""Per-CPU variables of the kernel's image."""

from __future__ import annotations

import drgn
from drgn.helpers.linux.cpumask import for_each_possible_cpu
from drgn.helpers.linux.percpu import per_cpu

from pageproof.errors import PageproofError
from pageproof.find.kernel.expression import find_address


def static_range(prog: drgn.Program) -> tuple[int, int]:
    """Return the start and end of the per-CPU pointers of the image's variables.

    They count from 0 before 6.15, and are inside the image since then.

    Raises:
        LookupError: the kernel was built without CONFIG_SMP.
    """
    start, end = prog.symbol("__per_cpu_start"), prog.symbol("__per_cpu_end")
    return int(start.address), int(end.address)


def find_copy(prog: drgn.Program, text: str, cpu: int | None) -> int:
    """Return the address that a text names; for a per-CPU variable, the address of one copy.

    Args:
        prog: the target.
        text: as the user wrote it.
        cpu: number of the CPU; None if the user gave none.

    Raises:
        PageproofError: the text names nothing, a per-CPU variable was given without a CPU,
            something else with a CPU, or the CPU is not possible.
    """
    used = False

    def choose(variable: drgn.Object) -> drgn.Object:
        nonlocal used
        if not _is_per_cpu(prog, variable):
            return variable
        if cpu is None:
            raise PageproofError("this is a per-CPU variable", text, "name a CPU with --cpu CPU")
        used = True
        return _copy(prog, variable, cpu)

    address = find_address(prog, text, choose)
    if cpu is not None and not used:
        raise PageproofError("this is not a per-CPU variable", text, "leave --cpu out")
    return address


def _is_per_cpu(prog: drgn.Program, variable: drgn.Object) -> bool:
    try:
        start, end = static_range(prog)
    except LookupError:
        return False
    return variable.address_ is not None and start <= variable.address_ < end


def _copy(prog: drgn.Program, variable: drgn.Object, cpu: int) -> drgn.Object:
    possible = list(for_each_possible_cpu(prog))
    if cpu not in possible:
        raise PageproofError(
            f"there is no CPU {cpu}", f"--cpu {cpu}", f"the target has 0 to {max(possible)}"
        )
    return per_cpu(variable, cpu)
