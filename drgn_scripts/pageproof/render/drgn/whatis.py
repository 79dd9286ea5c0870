# SPDX-License-Identifier: GPL-2.0-or-later
"""Code that identifies the same address."""

from __future__ import annotations

from pageproof import arch
from pageproof.model.whatis import WhatisReport


def whatis_to_drgn(report: WhatisReport) -> str:
    """Return code that calls those of drgn's helpers that may know an address of its region."""
    comment = "" if report.asked.isalnum() else f"  # {ascii(report.asked)[1:-1]}"
    user = not arch.of(report.target.arch).is_upper(report.address)
    mm = (
        'prog["init_mm"].address_of_()'
        if report.process is None
        else f"find_task(prog, {report.process.pid}).mm.read_()"
    )
    lines = [
        "from drgn import FaultError",
        "from drgn.helpers.linux.mm import follow_phys, pfn_to_page, decode_page_flags",
        *_imports(report, user),
        "",
        f"address = 0x{report.address:x}{comment}",
        f"mm = {mm}",
        "",
        *(_user() if user else _kernel(report)),
        "",
        "try:",
        "    paddr = follow_phys(mm, address).value_()",
        '    print(f"physical address {paddr:#x}")',
        "    print(decode_page_flags(pfn_to_page(prog, paddr >> 12)))",
        "except FaultError as error:",
        "    print(error)",
    ]
    return "\n".join(lines) + "\n"


def _imports(report: WhatisReport, user: bool) -> list[str]:
    lines = []
    if report.process is not None:
        lines.append("from drgn.helpers.linux.pid import find_task")
    if user:
        lines.append("from drgn.helpers.linux.mm import vma_find, vma_name")
        return lines
    lines.append("from drgn.helpers.common.memory import identify_address_all")
    return lines + [line for line, _ in _BY_REGION.get(report.region.region, ()) if line]


def _user() -> list[str]:
    return ["vma = vma_find(mm, address)", "print(vma_name(vma) if vma else None)"]


def _kernel(report: WhatisReport) -> list[str]:
    lines = ["for identity in identify_address_all(prog, address):", "    print(identity)"]
    for _, code in _BY_REGION.get(report.region.region, ()):
        lines += ["", *code]
    area = arch.of(report.target.arch).area_code(report.region.region)
    return [*lines, "", *area] if area else lines


_PER_CPU = (
    "from drgn.helpers.linux.cpumask import for_each_possible_cpu",
    (
        "# per-CPU: one unit a CPU in the first chunk",
        'unit_bytes, base = prog["pcpu_unit_size"].value_(), prog["pcpu_base_addr"].value_()',
        "for cpu in for_each_possible_cpu(prog):",
        '    unit = base + prog["pcpu_unit_offsets"][cpu].value_()',
        "    if unit <= address < unit + unit_bytes:",
        '        print(f"per-CPU memory of CPU {cpu}, +{address - unit:#x}")',
    ),
)
_SLAB = (
    "from drgn.helpers.linux.slab import slab_object_info",
    ("print(slab_object_info(prog, address))",),
)
_VMAP = (
    "from drgn.helpers.linux.mm import find_vmap_area",
    (
        "area = find_vmap_area(prog, address)",
        "if area and area.vm:",
        "    print(area.vm[0])",
    ),
)
_MODULE = (
    "from drgn.helpers.linux.module import address_to_module",
    (
        "module = address_to_module(prog, address)",
        "if module:",
        "    print(module.name.string_())",
    ),
)
_PAGE = (
    "from drgn import Object",
    ('print(Object(prog, "struct page *", address) - pfn_to_page(prog, 0), "is the PFN")',),
)
#: Imports and code, by region.
_BY_REGION = {
    "physmap": (_SLAB, _PER_CPU),
    "vmalloc": (_VMAP,),
    "modules": (_MODULE, _VMAP),
    "vmemmap": (_PAGE,),
}
