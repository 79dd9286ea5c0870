# SPDX-License-Identifier: GPL-2.0-or-later
"""Code that lists the same VMAs."""

from __future__ import annotations

from pageproof.model import MapsReport


def maps_to_drgn(report: MapsReport) -> str:
    """Return code that lists the VMAs, and counts the pages of each that drgn finds present."""
    return f"""\
from drgn import FaultError
from drgn.helpers.linux.mm import follow_phys, for_each_vma, vma_name
from drgn.helpers.linux.pid import find_task

mm = find_task(prog, {report.process.pid}).mm.read_()
print(mm.pgtables_bytes.counter.value_(), "bytes of page tables")
for vma in for_each_vma(mm):
    start, end = vma.vm_start.value_(), vma.vm_end.value_()
    present = 0
    for address in range(start, end, 4096):
        try:
            follow_phys(mm, address)
        except FaultError:
            continue
        present += 1
    name = vma_name(vma).decode()
    print(f"{{start:x}}-{{end:x}} {{vma.vm_flags.value_():#x}} {{present}} pages {{name}}")
"""
