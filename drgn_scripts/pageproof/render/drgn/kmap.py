# SPDX-License-Identifier: GPL-2.0-or-later
"""Code that walks init_mm and counts what is mapped in each row of the memory map."""

from __future__ import annotations

from typing import Final

from pageproof import arch
from pageproof.model.kmap import KernelMap
from pageproof.render.printable import printable

_CODE: Final = """\
# The memory map of Linux {release} in this boot, and what init_mm maps in it.
from collections import Counter

for name in ("page_offset_base", "vmalloc_base", "vmemmap_base"):
    print(f"{{name:17}} {{prog[name].value_():016x}}")

rows = [
{rows}
]


{walk}

counts = Counter()
for address, size, w, x in {call}:
    row = max(row for row in rows if row[0] <= address)
    counts[row, "mapped"] += size
    counts[row, "writable"] += w * size
    counts[row, "executable"] += x * size
for row in rows:
    numbers = [counts[row, kind] for kind in ("mapped", "writable", "executable")]
    print(f"{{row[0]:016x}} {{row[1]:016x}} {{row[2]:15}}", *numbers)
"""


def kmap_to_drgn(found: KernelMap) -> str:
    """Return code that prints each row with its bytes mapped, writable and executable."""
    walk, call = arch.of(found.target.arch).walk_all_code(found.paging)
    rows = "\n".join(
        f'    ({row.start:#018x}, {row.last:#018x}, "{row.region}"),' for row in found.rows
    )
    return _CODE.format(
        release=printable(found.target.release),
        rows=rows,
        walk=walk,
        call=call,
    )
