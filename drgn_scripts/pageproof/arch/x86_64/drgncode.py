# SPDX-License-Identifier: GPL-2.0-or-later
"""drgn code that walks page tables of x86_64, for ``--drgn``."""

from __future__ import annotations

from typing import Final

from pageproof.arch.x86_64.paging import ADDRESS_MASK, FIXADDR_TOP, HALF_BITS, LEVELS
from pageproof.model import PagingFacts

_WALK: Final = '''\
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
'''


def walk_address_code(paging: PagingFacts) -> tuple[str, ...]:
    """Return lines that walk to ``address`` from ``table``."""
    shifts = tuple(level.shift for level in LEVELS[paging.levels])
    return (
        f"for shift in {shifts}:",
        "    index = address >> shift & 511",
        "    entry = prog.read_u64(table + index * 8, True)",
        '    print(f"table {table:#x} [{index:3}] {entry:016x}")',
        f"    base = entry & 0x{ADDRESS_MASK & ~paging.sme_mask:x}",
        "    if not entry & 1:",
        '        print("not present")',
        "        break",
        "    if shift == 12 or entry & 0x80:",
        "        paddr = base & -(1 << shift) | address & (1 << shift) - 1",
        '        print(f"PFN {paddr >> 12:#x}", pfn_to_page(prog, paddr >> 12))',
        "        break",
        "    table = base",
    )


def walk_all_code(paging: PagingFacts) -> tuple[str, str]:
    """Return a generator of all leaves as code, and the call that yields those of init_mm."""
    mask = ADDRESS_MASK & ~paging.sme_mask
    shift = LEVELS[paging.levels][0].shift
    call = f"walk({paging.kernel_root:#x}, {shift}, 0)"
    return _WALK.format(sign=HALF_BITS[paging.levels], mask=mask), call


_FIXMAP: Final = (
    f"slot = {FIXADDR_TOP:#x} - (address & -4096) >> 12  # FIXADDR_TOP",
    'slots = prog.type("enum fixed_addresses").enumerators',
    "print(slot, [one for one in slots if one.value <= slot][-1])",
)


def area_code(region: str) -> tuple[str, ...]:
    """Return lines that identify ``address`` in a row that only x86 has."""
    return _FIXMAP if region in ("fixmap", "vsyscall", "boot-fixmap") else ()
