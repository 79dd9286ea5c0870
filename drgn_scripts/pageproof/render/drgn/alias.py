# SPDX-License-Identifier: GPL-2.0-or-later
"""Code that finds the same mappings of a frame."""

from __future__ import annotations

from pageproof.model.alias import AliasReport


def alias_to_drgn(report: AliasReport) -> str:
    """Return code that translates each page of each VMA with drgn, which is slow."""
    return f"""\
from drgn import FaultError
from drgn.helpers.linux.mm import follow_phys, for_each_vma, pfn_to_page, pfn_to_virt
from drgn.helpers.linux.pid import for_each_task

pfn = 0x{report.pfn:x}
page = pfn_to_page(prog, pfn)
print(page.format_(dereference=False), "refcount", page._refcount.counter.value_())
print(f"physmap {{pfn_to_virt(prog, pfn).value_():016x}}")
seen = set()
for task in for_each_task(prog):
    mm = task.mm.read_()
    if not mm or mm.value_() in seen:
        continue
    seen.add(mm.value_())
    for vma in for_each_vma(mm):
        for address in range(vma.vm_start.value_(), vma.vm_end.value_(), 4096):
            try:
                found = follow_phys(mm, address).value_() >> 12
            except FaultError:
                continue
            if found == pfn:
                print(f"pid {{task.tgid.value_()}} {{address:016x}}")
"""
