# SPDX-License-Identifier: GPL-2.0-or-later
"""What an address is: a headline, and a line for each thing that is known about it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pageproof import arch
from pageproof.model import Outcome
from pageproof.model.whatis import (
    AliasFacts,
    FrameFacts,
    Identity,
    PageUse,
    PerCpuFacts,
    PerCpuPart,
    ShadowFacts,
    SymbolFacts,
    TaskPart,
    Unknown,
    VmapFacts,
    WhatisReport,
)
from pageproof.render import phrases, styles, words
from pageproof.render.draw.alias import draw_aliases
from pageproof.render.draw.common import draw_head
from pageproof.render.draw.maps import procfs_line
from pageproof.render.sheet import Fact, Sheet

#: Words for uses of a frame whose name is not clear enough.
_USES: Final = {
    PageUse.NO_STRUCT_PAGE: "memory that the kernel does not manage: a device's or the firmware's",
    PageUse.FREE: "free: the page allocator has it",
    PageUse.UNCOUNTED: "unknown: it has no reference, but is not on a free list",
    PageUse.LARGE_KMALLOC: "kmalloc of whole pages",
    PageUse.RESERVED: "reserved: the kernel's image, or allocated before the page allocator ran",
    PageUse.OTHER: "in use; the kernel does not record its owner",
    PageUse.UNKNOWN: "unknown",
}
_CONTENT: Final = {
    Outcome.EXCLUDED: "the dump omits the page itself",
    Outcome.ZERO_FILLED: "the page itself reads as zeros, which this target may have made up",
    Outcome.UNREADABLE: "the page itself cannot be read",
}


def draw_whatis(report: WhatisReport, sheet: Sheet) -> None:
    """Draw the headline, then the identity, the frame, and what is unknown."""
    draw_head(report, sheet, _asked(report))
    sheet.gap()
    sheet.line(_headline(report), style=styles.of_exit(report.exit_code), fold=False)
    sheet.facts([*_identity(report), *_frame(report), *_doubts(report)])
    if report.mappings:
        sheet.gap()
        draw_aliases(report.mappings, sheet)


def _asked(report: WhatisReport) -> Iterator[Fact]:
    text = phrases.asked_address(report.address, report.asked)
    if report.cpu is not None:
        text += f" of CPU {report.cpu}"
    yield "address", text
    row = report.region
    place = f"{row.region}, {phrases.address(row.start)}-{phrases.address(row.last)}"
    yield "region", f"{place}, +0x{report.offset_bytes:x}"
    yield "", row.purpose
    if report.process is not None:
        yield "process", phrases.process(report.process)
        if not arch.of(report.target.arch).is_upper(report.address):
            line = report.vma
            yield "vma", _no_vma(report) if line is None else procfs_line(line)


def _no_vma(report: WhatisReport) -> str:
    if any(one.question == "vma" for one in report.unknown):
        return "unknown, see below"
    return phrases.NO_VMA


def _headline(report: WhatisReport) -> str:
    """Return the most specific thing that is known about the address."""
    found = report.identity
    if found.task is not None:
        task = found.task
        what = "kernel stack" if task.part is TaskPart.STACK else "task_struct"
        return f"{what} of {task.pid} ({task.comm}), +0x{task.offset_bytes:x}"
    if found.symbol is not None:
        freed = ", freed after boot" if found.symbol.freed else ""
        return _symbol(found.symbol) + freed
    for text in _short(found):
        return text
    if report.vma is not None:
        name = report.vma.name or "anonymous memory"
        return f"{name}, +0x{report.address - report.vma.vma.start:x}"
    if report.frame is not None:
        return f"a page of {report.region.region}: {_use(report.frame)}"
    return words.end(arch.of(report.target.arch), report.walk)


def _short(found: Identity) -> Iterator[str]:
    if found.per_cpu is not None:
        yield _per_cpu(found.per_cpu)
    if found.slab is not None:
        slab = found.slab
        yield f"{slab.state.value} slab object of {slab.cache}, +0x{slab.offset_bytes:x}"
    if found.page_struct is not None:
        page = found.page_struct
        yield f"struct page of PFN 0x{page.pfn:x}, +0x{page.offset_bytes:x}"
    if found.cpu_entry is not None:
        entry = found.cpu_entry
        whose = "all CPUs" if entry.cpu is None else f"CPU {entry.cpu}"
        yield f"cpu_entry_area of {whose}: {entry.member or 'padding'}, +0x{entry.offset_bytes:x}"
    if found.vsyscall is not None:
        call = found.vsyscall.call or "no call"
        yield f"vsyscall page: {call}; the kernel's mode is {found.vsyscall.mode}"
    if found.fixmap is not None:
        slot = found.fixmap
        name = f"{slot.name} + {slot.index}" if slot.index else slot.name
        yield f"fixmap slot {slot.slot}, {name}, +0x{slot.offset_bytes:x}"
    if found.ldt is not None:
        yield f"LDT remap, slot {found.ldt.slot}, entry {found.ldt.entry}"
    if found.espfix is not None:
        yield f"espfix stack of CPU {found.espfix.cpu}, +0x{found.espfix.offset_bytes:x}"
    if found.module is not None:
        yield f"{found.module.part} of module {found.module.name}, +0x{found.module.offset_bytes:x}"
    if found.vmap is not None:
        yield _vmap(found.vmap)


def _symbol(symbol: SymbolFacts) -> str:
    size = f"/0x{symbol.size_bytes:x}" if symbol.size_bytes else ""
    return f"{symbol.name}+0x{symbol.offset_bytes:x}{size}"


def _per_cpu(facts: PerCpuFacts) -> str:
    name = {
        PerCpuPart.STATIC: f"variable {facts.name}" if facts.name else "variables (a gap)",
        PerCpuPart.MODULE: f"variables of module {facts.name}",
        PerCpuPart.DYNAMIC: "memory of alloc_percpu()",
    }[facts.part]
    return f"per-CPU {name}, +0x{facts.offset_bytes:x}, of CPU {facts.cpu}"


def _vmap(area: VmapFacts) -> str:
    place = "guard page of the " if area.guard else ""
    return f"{place}vmalloc area of {area.caller or 'an unknown caller'}, +0x{area.offset_bytes:x}"


def _identity(report: WhatisReport) -> Iterator[Fact]:
    found = report.identity
    if found.task is not None:
        task = found.task
        yield "task", f"{task.pid} ({task.comm}), task_struct {phrases.address(task.task)}"
    if found.symbol is not None:
        symbol = found.symbol
        section = f", {symbol.section} of the kernel's image" if symbol.section else ""
        yield "symbol", f"{_symbol(symbol)} at {phrases.address(symbol.start)}{section}"
        if symbol.freed:
            yield "", "freed after boot: the symbol was here, and is no longer"
        if symbol.source != "debug info":
            yield "", f"by the {symbol.source}"
    if found.module is not None:
        module = found.module
        size = phrases.size(module.size_bytes)
        yield "module", f"{module.name}, {module.part}, {size} at {phrases.address(module.start)}"
    if found.slab is not None:
        slab = found.slab
        sizes = f"{slab.object_bytes} bytes in a slot of {slab.slot_bytes}"
        yield "slab", f"{slab.cache}, {slab.state.value}, {sizes} at {phrases.address(slab.start)}"
    if found.vmap is not None:
        yield from _area(found.vmap)
    if found.per_cpu is not None:
        yield "percpu", f"CPU {found.per_cpu.cpu}, pointer {phrases.address(found.per_cpu.pointer)}"
    if arch.of(report.target.arch).is_upper(report.address):
        yield from _shadow(found.shadow, report.kasan)
    for number, text in enumerate(found.drgn):
        yield "" if number else "drgn", text


def _area(area: VmapFacts) -> Iterator[Fact]:
    span = f"{phrases.address(area.start)}-{phrases.address(area.end)}"
    yield "vmalloc", f"{span}, {phrases.size(area.end - area.start)}, {area.flags_words}"
    memory = phrases.plural(area.pages, "page") if area.pages else ""
    if area.physical is not None:
        memory = f"physical address 0x{area.physical:x}"
    parts = [part for part in (f"caller {area.caller}" if area.caller else "", memory) if part]
    if parts:
        yield "", ", ".join(parts)


def _shadow(shadow: ShadowFacts | None, kasan: bool) -> Iterator[Fact]:
    if shadow is None:
        yield "kasan", "unknown" if kasan else "this kernel has none"
        return
    place = f"shadow {phrases.address(shadow.shadow)} of {phrases.address(shadow.memory)}"
    if not shadow.values:
        yield "kasan", f"{place}; it cannot be read"
        return
    data = " ".join(f"{value:02x}" for value in shadow.values)
    yield "kasan", f"{place}: {data}"
    yield "", f"{shadow.values[0]:02x}: {shadow.meanings[0]}"


def _frame(report: WhatisReport) -> Iterator[Fact]:
    walk, frame = report.walk, report.frame
    yield "frame", f"{phrases.frame(walk)}, by the tables of {report.tables_of}"
    if walk.paddr is not None:
        yield "", f"physical address 0x{walk.paddr:x}"
    if walk.outcome is not Outcome.MAPPED:
        yield "means", words.end(arch.of(report.target.arch), walk)
        yield "", walk.detail
    if walk.permissions is not None:
        access, memory = phrases.permissions(walk.permissions), phrases.memory_type(walk)
        yield "access", f"{access}, {memory}, {phrases.size(walk.leaf_bytes)} leaf"
    if frame is not None:
        yield from _use_of(frame)
        for alias in frame.aliases:
            yield "alias", _alias(alias)


def _use(frame: FrameFacts) -> str:
    if frame.area is not None and frame.use in (PageUse.OTHER, PageUse.UNCOUNTED):
        return phrases.area(frame.area)
    return _USES.get(frame.use, frame.use.value)


def _use_of(frame: FrameFacts) -> Iterator[Fact]:
    text = _use(frame)
    owner = frame.owner
    if frame.use is PageUse.TYPED and frame.page is not None:
        text = f"of the kernel's type {frame.page.type_words!r}"
    if frame.use is PageUse.FREE and owner is not None:
        text += f", in a block of {phrases.plural(1 << (owner.free_order or 0), 'page')}"
        text += "" if owner.free_cpu is None else f" on a list of CPU {owner.free_cpu}"
    if frame.use is PageUse.FILE and owner is not None:
        name = f' "{owner.file_name}"' if owner.file_name else ""
        text = f"page {owner.offset_pages} of file{name}, inode {owner.inode_number}"
    yield "use", text
    if frame.area is not None and text != phrases.area(frame.area):
        yield "area", phrases.area(frame.area)
    if frame.page is not None:
        yield "page", phrases.struct_page(frame.page)
    if frame.content is not Outcome.MAPPED:
        yield "content", _CONTENT.get(frame.content, frame.content.value)


def _alias(alias: AliasFacts) -> str:
    text = f"{phrases.address(alias.address)}, {alias.region}"
    if alias.same:
        return f"{text}, {phrases.permissions(alias.permissions)}"
    if alias.outcome is Outcome.MAPPED:
        return f"{text}: leads to ANOTHER frame"
    return f"{text}: not mapped ({alias.outcome.value})"


def _doubts(report: WhatisReport) -> Iterator[Fact]:
    if not report.stable:
        yield "torn", phrases.torn(report.attempts)
    for number, one in enumerate(report.unknown):
        yield "" if number else "unknown", _unknown(one)


def _unknown(one: Unknown) -> str:
    return f"{one.question}: {one.outcome.value}: {one.reason}"
