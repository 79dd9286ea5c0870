# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading of vmalloc areas, on a program made by hand."""

from __future__ import annotations

import struct

import drgn
import pytest

from pageproof.find.kernel.areas import VM_IOREMAP, VM_NO_GUARD, VmapArea, read_area

AREA_AT, VM_AT = 0x1000, 0x2000
START, END = 0xFFFF_C900_0000_0000, 0xFFFF_C900_0000_5000


def area_of(vm: int) -> drgn.Object:
    """Return ``struct vmap_area *`` whose ``vm`` is a pointer to VM_AT or NULL."""
    prog = drgn.Program(drgn.Platform(drgn.Architecture.X86_64))
    word = prog.int_type("unsigned long", 8, False)
    pointer = prog.pointer_type(prog.void_type())
    vm_struct = prog.struct_type(
        "vm_struct",
        40,
        [
            drgn.TypeMember(kind, name, 64 * number)
            for number, (kind, name) in enumerate(
                (
                    (word, "flags"),
                    (pointer, "pages"),
                    (word, "nr_pages"),
                    (word, "phys_addr"),
                    (pointer, "caller"),
                )
            )
        ],
    )
    area = prog.struct_type(
        "vmap_area",
        24,
        [
            drgn.TypeMember(word, "va_start", 0),
            drgn.TypeMember(word, "va_end", 64),
            drgn.TypeMember(prog.pointer_type(vm_struct), "vm", 128),
        ],
    )
    memory = {
        AREA_AT: struct.pack("<QQQ", START, END, vm),
        VM_AT: struct.pack("<QQQQQ", VM_IOREMAP, 0, 4, 0xFE00_0000, 0xFFFF_FFFF_8100_0000),
    }
    for address, data in memory.items():
        prog.add_memory_segment(
            address,
            len(data),
            lambda _, count, offset, __, data=data: data[offset : offset + count],
        )
    return drgn.Object(prog, prog.pointer_type(area), AREA_AT)


def test_an_area() -> None:
    assert read_area(area_of(VM_AT)) == VmapArea(
        START,
        END,
        has_vm=True,
        flags=VM_IOREMAP,
        caller=0xFFFF_FFFF_8100_0000,
        nr_pages=4,
        physical=0xFE00_0000,
    )


def test_an_area_of_vm_map_ram() -> None:
    assert read_area(area_of(0)) == VmapArea(START, END, has_vm=False)


@pytest.mark.parametrize(
    ("has_vm", "flags", "end"),
    [(True, 0, 0x3000), (True, VM_NO_GUARD, 0x4000), (False, 0, 0x4000)],
)
def test_the_guard_page_is_not_mapped(has_vm: bool, flags: int, end: int) -> None:
    assert VmapArea(0x1000, 0x4000, has_vm, flags).mapped_end == end
