# SPDX-License-Identifier: GPL-2.0-or-later
"""Code that walks to the same frame."""

from __future__ import annotations

from pageproof.model import TableSet, WalkReport


def walk_to_drgn(report: WalkReport) -> str:
    """Return code that walks by hand, then asks for drgn's own translation."""
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
