# SPDX-License-Identifier: GPL-2.0-or-later
"""Code that walks init_mm and counts what is mapped in each row of the memory map."""

from __future__ import annotations

from typing import Final

from pageproof.model.kmap import KernelMap
from pageproof.render.printable import printable

_CODE: Final = '''\
# The memory map of Linux {release} in this boot, and what init_mm maps in it.
from collections import Counter

for name in ("page_offset_base", "vmalloc_base", "vmemmap_base"):
    print(f"{{name:17}} {{prog[name].value_():016x}}")

rows = [
{rows}
]


def walk(table, shift, base, write=True, execute=True, seen=set()):
    """Yield (address, bytes, write, execute) of the leaves below a table; shared tables once."""
    data = prog.read(table, 4096, True)
    for index in range(512):
        entry = int.from_bytes(data[index * 8 : index * 8 + 8], "little")
        address = base + (index << shift)
        address |= -(address >> {sign}) << {sign}  # canonical
        if not entry & 1:
            continue
        w, x = write and bool(entry & 2), execute and not entry >> 63
        if shift == 12 or entry & 0x80:
            yield address % 2**64, 1 << shift, w, x
        elif (shift, entry & {mask:#x}) not in seen:
            seen.add((shift, entry & {mask:#x}))
            yield from walk(entry & {mask:#x}, shift - 9, address, w, x)


counts = Counter()
for address, size, w, x in walk({root:#x}, {shift}, 0):
    row = max(row for row in rows if row[0] <= address)
    counts[row, "mapped"] += size
    counts[row, "writable"] += w * size
    counts[row, "executable"] += x * size
for row in rows:
    numbers = [counts[row, kind] for kind in ("mapped", "writable", "executable")]
    print(f"{{row[0]:016x}} {{row[1]:016x}} {{row[2]:15}}", *numbers)
'''


def kmap_to_drgn(found: KernelMap) -> str:
    """Return code that prints each row with its bytes mapped, writable and executable."""
    levels = found.paging.levels
    rows = "\n".join(
        f'    ({row.start:#018x}, {row.last:#018x}, "{row.region}"),' for row in found.rows
    )
    return _CODE.format(
        release=printable(found.target.release),
        rows=rows,
        root=found.paging.kernel_root,
        shift=39 if levels == 4 else 48,
        sign=47 if levels == 4 else 56,
        mask=0x000F_FFFF_FFFF_F000 & ~found.paging.sme_mask,
    )
