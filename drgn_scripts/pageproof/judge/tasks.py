# SPDX-License-Identifier: GPL-2.0-or-later
"""The finding about tasks that could not be searched, for every command that searches them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pageproof.judge.conditions import TASK_UNREADABLE
from pageproof.model import Finding, TaskFault
from pageproof.model.rule import Shown
from pageproof.model.where import task

#: makedumpfile 1.7.2 does not know PAGE_SLAB_MAPCOUNT_VALUE, nor does 1.7.9 page.compound_info.
NO_SLAB: Final = (
    "the dump lacks slab pages; at a level with bit 8, such as -d 31, makedumpfile 1.7.2 drops "
    "those of Linux 6.10 and newer, and up to 1.7.9 those of 7.1 and newer: dump with -d 23"
)


def task_findings(faults: Iterable[TaskFault]) -> tuple[Finding, ...]:
    """Report tasks that could not be searched: they may map what was looked for."""
    return tuple(
        TASK_UNREADABLE.finding(
            task(fault.pid, fault.comm), (("reason", fault.message), *_likely_cause(fault))
        )
        for fault in faults
    )


def _likely_cause(fault: TaskFault) -> Shown:
    # The text of libkdumpfile's KDUMP_ERR_NODATA for a page that the dump's bitmap leaves out.
    # struct task_struct is a slab object, so no sound dump leaves it out.
    return (("likely cause", NO_SLAB),) if "Excluded page" in fault.message else ()
