# SPDX-License-Identifier: GPL-2.0-or-later
"""The first steps: the guest, a breakpoint before the driver is there, the fresh page."""

import drgn

from pageproof.find.frame.page import struct_page_facts
from pageproof.find.kernel.kallsyms import symbols_named
from pageproof.find.kernel.modules import is_named, load_when_missed, module_name, part_at
from pageproof.find.kernel.symbols import symbol_name
from pageproof.find.umh_shm.region import MODULE
from pageproof.space.units import PAGE_BYTES, PAGE_SHIFT
from pageproof_lab import LabError
from pageproof_lab.article.scene import THEN_PAGE, THEN_PAGE_OFFSET, Scene, entries, hexed
from pageproof_lab.article.session import Stop
from pageproof_lab.article.steps import Rows, Step
from pageproof_lab.article.touches import Touches

LOADS = "do_init_module"
ALLOCATES = "umh_shm_region_init"
MAPS = "umh_shm_mmap"
#: Where the direct map begins with 5 levels (Documentation/arch/x86/x86_64/mm.rst).
_FIVE_LEVELS_OFFSET = 0xFF11_0000_0000_0000
#: ``struct miscdevice.minor`` before it is registered (MISC_DYNAMIC_MINOR).
_NO_MINOR = 255


def nobody(stop: Stop) -> None:
    """Take a hit where no watchpoint is set."""
    raise LabError(f"a watchpoint that was not set was hit at {stop.registers.ip:#x}")


def the_guest(scene: Scene) -> Step:
    """Show the stopped guest."""
    rows, paging = Rows(), scene.paging
    words = scene.guest.facts.append.split()
    rows.fact("kernel", scene.target.facts.release)
    rows.fact("page tables", f"{paging.levels} levels", then="4 levels")
    kaslr = "off" if "nokaslr" in words else "on"
    rows.fact("KASLR", kaslr, then="off")
    rows.fact("page-table isolation", "on" if paging.pti else "off")
    base, then = hexed(paging.page_offset_base), hexed(THEN_PAGE_OFFSET)
    if kaslr == "on":
        rows.fact("direct map from", base, "moved by KASLR", then=then)
    else:
        documented = hexed(THEN_PAGE_OFFSET if paging.levels == 4 else _FIVE_LEVELS_OFFSET)
        rows.check("direct map from", base, documented, "as documented", then=then)
    rows.check("CPUs", str(scene.prog["nr_cpu_ids"].value_()), "1")
    loaded = is_named(scene.prog, MODULE)
    rows.check("module", "loaded" if loaded else "not loaded", "not loaded")
    return rows.step(
        "A guest that a debugger can stop",
        ("target remote gdb.sock",),
        "The guest has booted and is stopped. QEMU's gdb stub gives breakpoints, watchpoints and "
        "registers; memory is read through QEMU's monitor. The values of the article's guest "
        "follow from the addresses that it showed.",
    )


def before_the_driver(scene: Scene) -> Step:
    """Stop when the module's code is in memory, and has not run."""
    rows, prog = Rows(), scene.prog
    insmod = ["timeout_ms=60000", *scene.parameters]
    file = f"/lib/modules/{scene.target.facts.release}/updates/{MODULE}.ko"
    scene.guest.agent.send(
        "guest-exec", {"path": "insmod", "arg": [file, *insmod], "capture-output": True}
    )
    try:
        stop = scene.session.run_to(scene.symbol(LOADS), LOADS, nobody)
    except LabError as error:
        log = scene.guest.log_tail()
        raise LabError(f"{error}; does insmod accept {' '.join(insmod)}?{log}") from error
    module = drgn.Object(prog, "struct module *", stop.registers.values["rdi"])
    load_when_missed(prog, MODULE)
    rows.check("stopped in", symbol_name(prog, stop.registers.ip), LOADS)
    rows.check("for the module", module_name(module), MODULE)
    state = str(module.state.format_(type_name=False))
    rows.check("its state", state, "MODULE_STATE_COMING", "in memory, its init has not run")
    found = symbols_named(module, MAPS)
    if len(found) != 1:
        raise LabError(f"the module has {len(found)} symbols {MAPS}")
    part = part_at(module, found[0])
    scene.text = range(part.start, part.start + part.length_bytes)
    rows.check(MAPS, hexed(found[0]), hexed(scene.symbol(MAPS)), f"in its {part.name}")
    rows.fact(f"{part.name} of the module", f"{part.start:#x}", f"{part.length_bytes} bytes")
    rows.check("its memory", hexed(prog["umh_shm_region"].kaddr.value_()), "0x0", "not allocated")
    minor = prog["umh_shm_misc"].minor.value_()
    rows.check("its device", f"minor {minor}", f"minor {_NO_MINOR}", "not registered")
    return rows.step(
        "A breakpoint before the driver is there",
        (
            f"hbreak {LOADS}",
            "continue",
            "p ((struct module *)$rdi)->name",
            "add-symbol-file umh_shm.ko …",
            f"hbreak {MAPS}",
        ),
        f"insmod loads the module in the guest. At {LOADS}() the module's code is at its final "
        "address and none of it has run, so a breakpoint in the driver's mmap cannot come too "
        "late. Hardware breakpoints do not change the code.",
    )


def fresh_page(scene: Scene) -> Step:
    """Stop when the page has been allocated, and look at it before anyone writes."""
    rows, prog = Rows(), scene.prog
    entry = scene.session.run_to(scene.symbol(ALLOCATES), ALLOCATES, nobody)
    back = scene.session.finish(entry, ALLOCATES, nobody)
    rows.check("returned", str(back.registers.values["rax"] & 0xFFFF_FFFF), "0", "success")
    region = prog["umh_shm_region"]
    scene.page, scene.length = region.kaddr.value_(), region.length.value_()
    if not scene.page:
        raise LabError(f"the module has no memory; see its parameters{scene.guest.log_tail()}")
    then = THEN_PAGE - THEN_PAGE_OFFSET
    rows.fact("kernel address", hexed(scene.page), f"{scene.length} bytes", then=hexed(THEN_PAGE))
    by_sum = scene.page - scene.paging.page_offset_base
    walk = scene.kernel_walk(scene.page)
    rows.fact("physical, by arithmetic", hexed(by_sum), "minus the direct map's", then=hexed(then))
    rows.check(
        "physical, by walking",
        hexed(walk.paddr),
        hexed(by_sum),
        entries(walk),
        why=() if walk.paddr == by_sum else ("arithmetic is valid only in the direct map",),
    )
    if walk.paddr is None or walk.pfn is None:
        raise LabError(f"the kernel's tables lead to no frame from {scene.page:#x}: {walk.detail}")
    scene.frame = walk.paddr
    content = scene.target.reader.read_physical(scene.frame, PAGE_BYTES)
    zeros = PAGE_BYTES - len(content.strip(b"\0")) if any(content) else PAGE_BYTES
    now = "all zeros" if not any(content) else f"{zeros} of {PAGE_BYTES} bytes are zeros"
    rows.check("content", now, "all zeros", f"{PAGE_BYTES} bytes", then="all zeros")
    page = struct_page_facts(prog, scene.frame >> PAGE_SHIFT)
    if page is not None:
        words = f"{page.type_words or 'no type'}, refcount {page.refcount}, {page.flags_words}"
        rows.fact("struct page", hexed(page.page), words)
    scene.touches = Touches(
        scene.target,
        scene.paging,
        scene.walker,
        scene.frame,
        scene.text,
        scene.built.helper,
    )
    scene.touches.arm(scene.session, scene.page)
    return rows.step(
        "The page as the allocator returned it",
        (
            f"hbreak {ALLOCATES}",
            "finish",
            "p/x umh_shm_region.kaddr",
            "x/512gx umh_shm_region.kaddr",
            f"awatch *{scene.page:#x}",
        ),
        "The module allocates its page while it is loaded. The guest is stopped where the "
        "allocating function returns, before anything uses the page. The watchpoint of step 7 is "
        "set now, on the kernel's address, so that it misses no access.",
    )
