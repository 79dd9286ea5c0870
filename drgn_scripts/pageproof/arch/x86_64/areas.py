# SPDX-License-Identifier: GPL-2.0-or-later
"""Areas in which each address has a meaning: fixmap, cpu_entry_area, espfix, LDT, vsyscall."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import drgn
from drgn.helpers.linux.cpumask import for_each_possible_cpu
from drgn.helpers.linux.percpu import per_cpu

from pageproof.arch.places import AreaPlace, AreaQuestion, Missing
from pageproof.arch.x86_64.paging import FIXADDR_TOP
from pageproof.model.whatis import (
    CpuEntryFacts,
    EspfixFacts,
    FixmapFacts,
    LdtFacts,
    VsyscallFacts,
)
from pageproof.space.units import PAGE_BYTES, PAGE_SHIFT

#: ``ESPFIX_STACK_SIZE`` of arch/x86/include/asm/espfix.h.
_ESPFIX_BYTES: Final = 64
#: ``LDT_SLOT_STRIDE`` and ``LDT_ENTRY_SIZE`` of arch/x86/include/asm.
_LDT_SLOT_BYTES: Final = 0x10000
_LDT_ENTRY_BYTES: Final = 8
#: arch/x86/entry/vsyscall/vsyscall_emu_64.S: one call in each of the first three KiB.
_VSYSCALLS: Final = ("gettimeofday", "time", "getcpu")


def find_fixmap(place: AreaPlace) -> FixmapFacts | None:
    """Return the fixmap slot of an address, named by ``enum fixed_addresses``."""
    if place.region not in ("fixmap", "boot-fixmap", "vsyscall"):
        return None
    names = [
        (each.value, each.name)
        for each in place.prog.type("enum fixed_addresses").enumerators or ()
    ]
    offset = place.address & PAGE_BYTES - 1
    slot = FIXADDR_TOP - (place.address - offset) >> PAGE_SHIFT
    name, index = slot_name(names, slot)
    return FixmapFacts(slot, name, index, offset)


def slot_name(names: Sequence[tuple[int, str]], slot: int) -> tuple[str, int]:
    """Return (the last enumerator at or before a slot, slots after it); ("", slot) if none.

    If several names have one value, markers such as "__end_of_…" are used last.
    """
    before = [(value, name) for value, name in names if value <= slot]
    if not before:
        return "", slot
    last = max(value for value, _ in before)
    alike = [name for value, name in before if value == last]
    real = [name for name in alike if not name.startswith("__")] or alike
    return real[0], slot - last


def find_cpu_entry(place: AreaPlace) -> CpuEntryFacts | None:
    """Return the CPU of an address, and the member of its ``struct cpu_entry_area``."""
    if place.region != "cpu-entry-area":
        return None
    prog, address = place.prog, place.address
    idt = place.layout.cpu_entry_area
    if address < idt + PAGE_BYTES:
        return CpuEntryFacts(None, "IDT", idt, address - idt)
    kind = prog.type("struct cpu_entry_area")
    size = kind.size or 0
    index, offset = divmod(address - idt - PAGE_BYTES, size)
    for cpu in for_each_possible_cpu(prog):
        if _entry_index(place, cpu) == index:
            member, start = member_path(kind, offset)
            return CpuEntryFacts(cpu, member, address - offset + start, offset - start)
    return None


def _entry_index(place: AreaPlace, cpu: int) -> int:
    if not place.layout.cpu_entry_area_moved:
        return cpu
    # since 6.2: 97e3d26b5e5f ("x86/mm: Randomize per-cpu entry area")
    return int(per_cpu(place.prog["_cea_offset"], cpu).value_())


def member_path(kind: drgn.Type, offset: int) -> tuple[str, int]:
    """Return (path of the innermost member at an offset of a struct, offset of the member).

    In a gap between members it is the enclosing member, or "" in the outermost struct.
    """
    names: list[str] = []
    base = 0
    while True:
        while kind.kind is drgn.TypeKind.TYPEDEF:
            kind = kind.type
        if kind.kind not in (drgn.TypeKind.STRUCT, drgn.TypeKind.UNION) or not kind.members:
            return ".".join(names), base
        for member in kind.members:
            start, size = member.offset, drgn.sizeof(member.type)
            if start <= offset - base < start + size:
                break
        else:
            return ".".join(names), base
        if member.name is not None:
            names.append(member.name)
        base, kind = base + start, member.type


def find_ldt(place: AreaPlace) -> LdtFacts | None:
    """Return the slot and the entry of the LDT remap, which exists only with PTI.

    Raises:
        Missing: each process has its own, and the user named none.
    """
    if place.region != "ldt" or not place.paging.pti:
        return None
    if place.pid is None:
        raise Missing("each process has an LDT of its own here: name one with --pid PID")
    slot, offset = divmod(place.address - place.layout.ldt, _LDT_SLOT_BYTES)
    return LdtFacts(slot, offset // _LDT_ENTRY_BYTES) if slot < 2 else None


def find_espfix(place: AreaPlace) -> EspfixFacts | None:
    """Return the CPU of an espfix stack, and the offset of the address in the stack.

    Each stack is mapped 65536 times, once for each value of bits 16 to 31, so that the upper half
    of ESP does not matter (arch/x86/kernel/espfix_64.c).
    """
    if place.region != "espfix" or not place.layout.espfix_configured:
        return None
    stacks = place.prog["espfix_stack"]
    for cpu in for_each_possible_cpu(place.prog):
        stack = per_cpu(stacks, cpu).value_()
        offset = espfix_offset(stack, place.address)
        if stack and offset is not None:
            return EspfixFacts(cpu, offset)
    return None


def espfix_offset(stack: int, address: int) -> int | None:
    """Return the offset of an address in any image of an espfix stack; None if outside."""
    low = 0xFFFF
    if stack >> 32 != address >> 32:
        return None
    offset = (address & low) - (stack & low)
    return offset if 0 <= offset < _ESPFIX_BYTES else None


def find_vsyscall(place: AreaPlace) -> VsyscallFacts | None:
    """Return the vsyscall at an address, and the mode of vsyscalls."""
    if place.region != "vsyscall":
        return None
    mode = place.prog["vsyscall_mode"]
    names = {each.value: each.name for each in mode.type_.enumerators or ()}
    number = (place.address & PAGE_BYTES - 1) >> 10
    call = _VSYSCALLS[number] if number < len(_VSYSCALLS) else ""
    return VsyscallFacts(call, str(names[mode.value_()]))


#: By the field of :class:`~pageproof.model.whatis.Identity` that the answer fills.
AREA_QUESTIONS: Final[tuple[tuple[str, AreaQuestion], ...]] = (
    ("fixmap", find_fixmap),
    ("cpu_entry", find_cpu_entry),
    ("ldt", find_ldt),
    ("espfix", find_espfix),
    ("vsyscall", find_vsyscall),
)
