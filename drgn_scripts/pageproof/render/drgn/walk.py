# SPDX-License-Identifier: GPL-2.0-or-later
"""Code that walks to the same frame."""

from __future__ import annotations

from pageproof import arch
from pageproof.model import TableSet, WalkReport


def walk_to_drgn(report: WalkReport) -> str:
    """Return code that walks by hand, then asks for drgn's own translation."""
    walk, process = report.walk, report.process
    mm = (
        'prog["init_mm"].address_of_()'
        if process is None
        else f"find_task(prog, {process.pid}).mm.read_()"
    )
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
        *arch.of(report.target.arch).walk_address_code(report.paging),
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
