# SPDX-License-Identifier: GPL-2.0-or-later
"""The paging form of the kernel under test, from its own data."""

from __future__ import annotations

import drgn

from pageproof import arch
from pageproof.arch.kernel import number_in, optional_number, vmcoreinfo
from pageproof.errors import PageproofError
from pageproof.model import PagingFacts

__all__ = ["number_in", "optional_number", "page_offset", "read_paging", "vmcoreinfo"]


def read_paging(prog: drgn.Program) -> PagingFacts:
    """Read the paging form of the kernel under test.

    Raises:
        PageproofError: the kernel's data does not have it.
    """
    try:
        return arch.of_program(prog).read_paging(prog)
    except drgn.FaultError as error:
        raise PageproofError(
            f"the kernel's data about its page tables can't be read: {error}",
            "",
            "the dump may be damaged or a part of one",
        ) from None


def page_offset(prog: drgn.Program) -> int:
    """Return the base of the direct map."""
    return arch.of_program(prog).page_offset(prog)
