# SPDX-License-Identifier: GPL-2.0-or-later
"""The stop in the driver's mmap: the file, the VMA, and the user's page before and after."""

from collections.abc import Mapping

import drgn

from pageproof.find.bulk.layout import mm_layout
from pageproof.find.bulk.protocol import VmaRecord
from pageproof.find.kernel.symbols import symbol_name
from pageproof.find.process.vmafacts import Files, VmaReader, file_facts
from pageproof.find.words import vm_flags_words
from pageproof.model import GAPS, VmaFacts
from pageproof.space.units import PAGE_BYTES
from pageproof_lab import LabError
from pageproof_lab.article.opening import MAPS
from pageproof_lab.article.scene import Scene, entries, hexed
from pageproof_lab.article.session import Stop
from pageproof_lab.article.steps import Rows, Step

THEN_MODE, NOW_MODE = 0x2180, 0x2180
THEN_FLAGS, NOW_FLAGS = 0xD1, 0xFB
THEN_PROT, NOW_PROT = 0x8000_0000_0000_0025, 0x8000_0000_0000_0027
#: What the driver's mmap adds to vm_flags and takes away, by names (module/chrdev.c).
_ADDS = frozenset(("IO", "DONTCOPY", "DONTEXPAND", "DONTDUMP"))
_TAKES = frozenset(("MAYEXEC",))

#: Why a bit differs from the article's.
_FLAG_REASONS = {
    "WRITE": "the helper maps the page to answer in it; the article's mapping was read-only",
    "SHARED": "the file is open for writing; of a file that is open only for reading, do_mmap() "
    "clears SHARED and MAYWRITE, also for MAP_SHARED (MAYSHARE)",
    "MAYWRITE": "mprotect() may allow writing, for the same reason",
}
_PROT_REASONS = {
    "RW": "entries of this mapping allow writing, since it has WRITE and SHARED; the article's "
    "did not",
}

_MAJOR_SHIFT, _MINOR_MASK = 20, 0xFFFFF
_MISC_MAJOR = 10


def the_file(scene: Scene) -> tuple[Step, Stop]:
    """Stop in mmap, and show the file that is mapped."""
    rows, prog = Rows(), scene.prog
    assert scene.touches is not None
    stop = scene.session.run_to(scene.symbol(MAPS), MAPS, scene.touches.hit)
    rows.check("stopped in", symbol_name(prog, stop.registers.ip), MAPS)
    scene.helper = stop.current.pid
    scene.early = len(scene.touches.seen)
    rows.check("called by", stop.current.comm, "umh_shm_helper", f"pid {scene.helper}")
    file = drgn.Object(prog, "struct file *", stop.registers.values["rdi"])
    facts = file_facts(file)
    rows.fact("struct file", hexed(facts.file), "the first argument, in rdi")
    rows.check("dentry name", facts.dentry_name, "umh_shm", then="umh_shm")
    rows.fact("inode", hexed(facts.inode), f"number {facts.inode_number}")
    rows.check(
        "i_mode", hexed(facts.i_mode), hexed(NOW_MODE), facts.i_mode_words, then=hexed(THEN_MODE)
    )
    device = int(file.f_inode.i_rdev.value_())
    minor = prog["umh_shm_misc"].minor.value_()
    rows.check(
        "device number",
        f"{device >> _MAJOR_SHIFT}:{device & _MINOR_MASK}",
        f"{_MISC_MAJOR}:{minor}",
        "a misc device, with the minor that the module got",
    )
    rows.check("f_op", facts.f_op_symbol, "umh_shm_fops")
    step = rows.step(
        "The stop in the driver's mmap: which file",
        (
            "continue",
            "p ((struct file *)$rdi)->f_path.dentry->d_name.name",
            "p/x ((struct file *)$rdi)->f_inode->i_mode",
        ),
        "The module has launched its helper, and the helper maps the device. Both arguments of "
        f"{MAPS}() are in registers.",
    )
    return step, stop


def the_vma(scene: Scene, stop: Stop) -> Step:
    """Show the VMA that mmap is to fill."""
    rows = Rows()
    vma = _read_vma(scene, stop.registers.values["rsi"])
    scene.start = vma.start
    wanted, length = _pages(scene.length // PAGE_BYTES), _pages(vma.pages)
    rows.fact("VMA", hexed(vma.vma), "the second argument, in rsi")
    rows.check(
        "range", f"{vma.start:x}-{vma.end:x}, {length}", f"{vma.start:x}-{vma.end:x}, {wanted}"
    )
    rows.check("file", hexed(vma.file.file if vma.file else 0), hexed(stop.registers.values["rdi"]))
    rows.check(
        "vm_flags",
        hexed(vma.vm_flags),
        hexed(NOW_FLAGS),
        vma.vm_flags_words,
        then=hexed(THEN_FLAGS),
        why=_differences(THEN_FLAGS, vm_flags_words(THEN_FLAGS), vma.vm_flags_words, _FLAG_REASONS),
    )
    then_words = scene.architecture.page_prot_words(THEN_PROT)
    rows.check(
        "vm_page_prot",
        hexed(vma.vm_page_prot),
        hexed(NOW_PROT),
        vma.vm_page_prot_words,
        then=hexed(THEN_PROT),
        why=_differences(THEN_PROT, then_words, vma.vm_page_prot_words, _PROT_REASONS),
    )
    return rows.step(
        "The VMA: which addresses, with which rights",
        (
            "p/x *(struct vm_area_struct *)$rsi",
            "p/x ((struct vm_area_struct *)$rsi)->vm_flags",
            "p/x ((struct vm_area_struct *)$rsi)->vm_page_prot",
        ),
        "These are the flags at the entry of mmap, before the driver adds its own.",
    )


def the_users_page(scene: Scene, stop: Stop) -> Step:
    """Show that the user's address leads nowhere, let mmap return, and look again."""
    rows, prog = Rows(), scene.prog
    assert scene.touches is not None
    vma = drgn.Object(prog, "struct vm_area_struct *", stop.registers.values["rsi"])
    before = set(_read_vma(scene, vma.value_()).vm_flags_words.split("|"))
    root = vma.vm_mm.pgd.value_() - scene.paging.page_offset_base
    user_root = scene.architecture.user_root(root) if scene.paging.pti else root
    scene.roots = user_root, root
    rows.check("CR3", hexed(stop.registers.table), hexed(root), "mm->pgd of the helper")
    walk = scene.walker.walk(user_root, scene.start)
    rows.require(
        walk.pfn is None and walk.outcome not in GAPS,
        "frame before",
        hexed(walk.paddr),
        "none",
        f"the way ends there: {entries(walk)}",
    )
    back = scene.session.finish(stop, f"the end of {MAPS}", scene.touches.hit)
    rows.check("returned", str(back.registers.values["rax"] & 0xFFFF_FFFF), "0", "success")
    walk = scene.walker.walk(user_root, scene.start)
    rows.check("frame after", hexed(walk.paddr), hexed(scene.frame), entries(walk))
    after = set(_read_vma(scene, vma.value_()).vm_flags_words.split("|"))
    new, gone = after - before, before - after
    rows.require(
        new >= _ADDS and gone == _TAKES,
        "vm_flags",
        hexed(_read_vma(scene, vma.value_()).vm_flags),
        f"new {'|'.join(sorted(_ADDS))}, gone {'|'.join(sorted(_TAKES))}",
        f"new {'|'.join(sorted(new))}, gone {'|'.join(sorted(gone)) or 'none'}",
    )
    scene.touches.arm(scene.session, scene.start, scene.roots)
    return rows.step(
        "The user's page: not there, then there",
        ("p/x $cr3", "finish", "p/x $rax"),
        "At the entry of mmap the page tables of the helper lead nowhere from the VMA's first "
        "address. When mmap returns they lead to the module's frame. The helper's own address is "
        "watched from here on too, in its own page tables only.",
    )


def _pages(number: int) -> str:
    return "1 page" if number == 1 else f"{number} pages"


def _read_vma(scene: Scene, address: int) -> VmaFacts:
    """Read a VMA that is not in its process's tree yet."""
    read = scene.target.reader.read_kernel_virtual
    values = [
        int.from_bytes(read(address + offset, length), "little")
        for offset, length in mm_layout(scene.prog).fields
    ]
    try:
        record = VmaRecord(0, address, *values)
        return VmaReader(scene.prog, Files(scene.prog)).facts(record)
    except ValueError as error:
        raise LabError(f"rsi does not point at a VMA: {error}") from error


def _differences(
    then: int, then_words: str, now_words: str, reasons: Mapping[str, str]
) -> list[str]:
    """Explain each bit that differs from the article's."""
    old, new = then_words.split("|"), now_words.split("|")
    lines = [f"the article's {then:#x} is {then_words}"]
    for word in [*(w for w in new if w not in old), *(w for w in old if w not in new)]:
        lines.append(f"{word}: {reasons.get(word, 'not explained')}")
    return lines
