# SPDX-License-Identifier: GPL-2.0-or-later
"""Per-CPU memory: the CPU and the variable."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import drgn
from drgn.helpers.linux.cpumask import for_each_possible_cpu

from pageproof.find.bounded import list_entries
from pageproof.find.identify.place import Place
from pageproof.find.kernel.modules import all_modules
from pageproof.find.kernel.percpu import static_range
from pageproof.model.whatis import PerCpuFacts, PerCpuPart
from pageproof.space.units import ADDRESS_LAST


def find_per_cpu(place: Place) -> PerCpuFacts | None:
    """Return the CPU and the variable of an address in per-CPU memory.

    The first chunk is usually in the direct map. The others are vmalloc areas (mm/percpu.c).
    """
    if place.region not in ("physmap", "vmalloc"):
        return None
    prog, address = place.prog, place.address
    try:
        start, _ = static_range(prog)
    except LookupError:
        return None  # without CONFIG_SMP they are ordinary variables
    unit_bytes = prog["pcpu_unit_size"].value_()
    offsets = prog["pcpu_unit_offsets"]
    first = prog["pcpu_base_addr"].value_()
    bases = (first,) if place.region == "physmap" else _chunks(prog, first)
    for base in bases:
        for cpu in for_each_possible_cpu(prog):
            unit = base + offsets[cpu].value_()
            if unit <= address < unit + unit_bytes:
                # __addr_to_pcpu_ptr(): pointers of all chunks count from the base of the first.
                pointer = address - offsets[cpu].value_() - first + start & ADDRESS_LAST
                return _name(prog, cpu, pointer)
    return None


def _chunks(prog: drgn.Program, first: int) -> Iterator[int]:
    """Yield the base address of each chunk."""
    yield first
    lists = prog["pcpu_chunk_lists"]
    count = prog["pcpu_nr_slots"].value_()
    with suppress(LookupError):
        # From 5.9 to 5.13, chunks with and without memcg accounting are on separate lists
        # (3c7be18ac9a0, faf65dde844a).
        count *= prog.constant("PCPU_NR_CHUNK_TYPES").value_()
    seen = {first}
    for slot in range(count):
        head = lists[slot].address_of_()
        for chunk in list_entries("struct pcpu_chunk", head, "list"):
            base = chunk.base_addr.value_()
            if base not in seen:
                seen.add(base)
                yield base


def _name(prog: drgn.Program, cpu: int, pointer: int) -> PerCpuFacts:
    start, end = static_range(prog)
    if start <= pointer < end:
        name, offset = _variable(prog, pointer, start)
        return PerCpuFacts(PerCpuPart.STATIC, cpu, pointer, name, offset)
    for module in all_modules(prog):
        base = module.percpu.value_()
        if base and base <= pointer < base + module.percpu_size.value_():
            name = module.name.string_().decode("utf-8", "replace")
            return PerCpuFacts(PerCpuPart.MODULE, cpu, pointer, name, pointer - base)
    return PerCpuFacts(PerCpuPart.DYNAMIC, cpu, pointer, "", 0)


def _variable(prog: drgn.Program, pointer: int, start: int) -> tuple[str, int]:
    """Return (name, offset) from the symbol table; ("", offset from start) in a gap.

    If the pointers count from 0, drgn finds no symbol by address, so search the list of all.
    """
    for symbol in prog.symbols():
        if symbol.size and symbol.address <= pointer < symbol.address + symbol.size:
            return symbol.name, pointer - symbol.address
    return "", pointer - start
