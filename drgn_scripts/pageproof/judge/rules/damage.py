# SPDX-License-Identifier: GPL-2.0-or-later
"""The rule about data that is impossible."""

from __future__ import annotations

from typing import Final

from pageproof.judge.rules.views import PageView
from pageproof.model import Outcome, Severity
from pageproof.model.rule import Rule, Shown

DATA_DAMAGED: Final = Rule(
    id="data-damaged",
    severity=Severity.WARNING,
    sentence="the data read is impossible: an entry with reserved bits, a frame that is neither "
    "memory nor a device's, or an invalid struct page",
    cause="The dump has damaged tables, or a driver made an entry from a wrong number, such as "
    "virt_to_phys() of a vmalloc() address.",
    fix="Take the dump again. On a live kernel, check how the driver computes the frame.",
    reference="arch/x86/include/asm/processor.h, boot_cpu_data.x86_phys_bits; kernel/resource.c, "
    "iomem_resource",
)


def data_damaged(view: PageView) -> Shown | None:
    evidence = view.evidence
    sides = (("kernel", evidence.kernel_walk), ("user", evidence.user_walk))
    entries = tuple(
        (f"{side} entry", walk.detail)
        for side, walk in sides
        if walk.outcome is Outcome.RESERVED_BITS
    )
    return (*entries, *evidence.damaged) or None
