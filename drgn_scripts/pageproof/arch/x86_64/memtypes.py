# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory types of x86_64, named as ``enum page_cache_mode`` of the kernel names them."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class X86MemoryType(StrEnum):
    """How the processor caches a page: what PAT makes of PWT, PCD and the PAT bit."""

    WB = "WB"
    WC = "WC"
    UC_MINUS = "UC-"
    UC = "UC"
    WT = "WT"
    WP = "WP"


#: What ``pat_bp_init()`` writes to the PAT MSR if the CPU has all of PAT
#: (``arch/x86/mm/pat/memtype.c``), by PAT index.
LINUX_PAT: Final = (
    X86MemoryType.WB,
    X86MemoryType.WC,
    X86MemoryType.UC_MINUS,
    X86MemoryType.UC,
    X86MemoryType.WB,
    X86MemoryType.WP,
    X86MemoryType.UC_MINUS,
    X86MemoryType.WT,
)
