# SPDX-License-Identifier: GPL-2.0-or-later
"""VMCOREINFO that is looked for in physical memory, and what proves that it is a kernel's own."""

from __future__ import annotations

from pageproof.attach.vmcoreinfo.kernels import (
    Found,
    FoundKernel,
    Rejected,
    find_kernels,
    is_confirmed,
    kernel_named,
)

__all__ = ["Found", "FoundKernel", "Rejected", "find_kernels", "is_confirmed", "kernel_named"]
