# SPDX-License-Identifier: GPL-2.0-or-later
"""Find out whether two reports, of any command, are of one boot."""

from __future__ import annotations

from collections.abc import Iterator

from pageproof.model import Report
from pageproof.model.audit import AuditReport
from pageproof.model.diff import Difference


def boot_differences(old: Report | AuditReport, new: Report | AuditReport) -> Iterator[Difference]:
    """Yield differences in facts that are constant for a boot and its vmcore, such as KASLR's."""
    if old.target.release != new.target.release:
        yield Difference("release", old.target.release, new.target.release)
    for name in (
        "levels",
        "page_offset_base",
        "vmalloc_base",
        "vmemmap_base",
        "phys_base",
        "kernel_root",
    ):
        before, after = getattr(old.paging, name), getattr(new.paging, name)
        if before is not None and after is not None and before != after:
            form = "{}" if name == "levels" else "0x{:x}"
            yield Difference(name, form.format(before), form.format(after))
