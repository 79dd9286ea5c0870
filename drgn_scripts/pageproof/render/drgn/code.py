# SPDX-License-Identifier: GPL-2.0-or-later
"""Code for drgn's own prompt or ``drgn … SCRIPT`` that looks at the same."""

from __future__ import annotations

from pageproof.model import MapsReport, TableSet, WalkReport
from pageproof.model.alias import AliasReport


def walk_to_drgn(report: WalkReport) -> str:
    """A walk by hand, and drgn's own translation beside it."""
    walk, process = report.walk, report.process
    mm = (
        'prog["init_mm"].address_of_()'
        if process is None
        else f"find_task(prog, {process.pid}).mm.read_()"
    )
    shifts = tuple(range(12 + 9 * (walk.levels - 1), 11, -9))
    mask = 0x000F_FFFF_FFFF_F000 & ~report.paging.sme_mask
    lines = [
        "from drgn import FaultError",
        "from drgn.helpers.linux.mm import follow_phys, pfn_to_page",
    ]
    if process is not None:
        lines.append("from drgn.helpers.linux.pid import find_task")
    comment = "" if report.asked.isalnum() else f"  # {ascii(report.asked)[1:-1]}"
    lines += [
        "",
        f"address = 0x{walk.address:x}{comment}",
        f"mm = {mm}",
        "",
        "# by hand: each table is read physically",
        f"table = 0x{walk.root:x}"
        + ("  # init_mm.pgd" if process is None else "  # mm->pgd")
        + (", the half of user mode" if report.tables is TableSet.PROCESS_USER else ""),
        f"for shift in {shifts}:",
        "    index = address >> shift & 511",
        "    entry = prog.read_u64(table + index * 8, True)",
        '    print(f"table {table:#x} [{index:3}] {entry:016x}")',
        f"    base = entry & 0x{mask:x}",
        "    if not entry & 1:",
        '        print("not present")',
        "        break",
        "    if shift == 12 or entry & 0x80:",
        "        paddr = base & -(1 << shift) | address & (1 << shift) - 1",
        '        print(f"PFN {paddr >> 12:#x}", pfn_to_page(prog, paddr >> 12))',
        "        break",
        "    table = base",
    ]
    if report.tables is not TableSet.PROCESS_USER:
        lines += [
            "",
            "# drgn's own translation",
            "try:",
            '    print(f"follow_phys {follow_phys(mm, address).value_():#x}")',
            "except FaultError as error:",
            '    print(f"follow_phys: {error}")',
        ]
    return "\n".join(lines) + "\n"


def maps_to_drgn(report: MapsReport) -> str:
    """The VMAs, and of each how many pages drgn finds present, asked one by one."""
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


def alias_to_drgn(report: AliasReport) -> str:
    """drgn asked for each page of each VMA, one by one: the slow way to the same."""
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
