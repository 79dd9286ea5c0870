# SPDX-License-Identifier: GPL-2.0-or-later
"""Excluded is not zero: dumps from which one page that a verdict needs was removed.

No page may get a verdict that the whole dump does not have. Those that depend on the missing page
are UNKNOWN with the reason, or their process is reported.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import drgn
import pytest
from drgn.helpers.linux.mm import follow_phys, virt_to_phys
from drgn.helpers.linux.pid import find_task
from dumpforms import FORMS, Compared, admits, compare, cores, written
from dumpholes import remove_from_elf, remove_from_kdump
from machine import Json, Result, each_kernel_with_a_tree_of_vmas, number, pageproof, pages
from plugins.crashed import VERIFY, Crashed
from rawdumps import makedumpfile

from pageproof.attach import Wanted, open_target
from pageproof.space.units import PAGE_SHIFT

REMOVERS = {"elf": remove_from_elf, "lzo": remove_from_kdump}
#: What `make test` removes, and only by omitting it; `make test-all` removes the rest.
QUICK = {"table of the process", "table of the kernel", "shared page", "VMA", "node of VMAs"}


class Lost:
    """The frames that a verdict needs, by what is in them.

    Args:
        crashed: the dumps of a guest.
    """

    def __init__(self, crashed: Crashed) -> None:
        self.whole: Json = crashed.ask("elf", *VERIFY).report
        (proof, *_) = [one for (_, page), one in pages(self.whole).items() if page == 1]
        evidence = proof["evidence"]
        self.page_index = evidence["page_index"]
        self.pid: int = self.whole["mappings"][evidence["mapping"]]["pid"]
        self.frames = {"shared page": number(evidence["kernel_walk"]["pfn"])}
        for side, owner in (("kernel_walk", "kernel"), ("user_walk", "process")):
            steps = evidence[side]["steps"]
            self.frames[f"table of the {owner}"] = number(steps[-1]["table"]) >> PAGE_SHIFT
            for step in steps[:-1]:
                frame = number(step["table"]) >> PAGE_SHIFT
                self.frames[f"table of the {owner}, level {step['level']}"] = frame
        symbols = tuple(map(Path, crashed.machine.symbols[1::2]))
        prog = open_target(Wanted(core=crashed.dumps["elf"], symbols=symbols), ("umh_shm",)).prog
        self.frames |= dict(_structures(prog, self.pid, number(evidence["user_address"])))
        page = number(evidence["page"]["page"])
        physical = follow_phys(prog["init_mm"].address_of_(), page).value_()
        self.frames["struct page"] = physical >> PAGE_SHIFT


def _structures(prog: drgn.Program, pid: int, address: int) -> Iterator[tuple[str, int]]:
    def frame(pointer: int) -> int:
        return int(virt_to_phys(prog, pointer).value_()) >> PAGE_SHIFT

    task = find_task(prog, pid)
    yield "task_struct", frame(task.value_())
    yield "mm_struct", frame(task.mm.value_())
    try:
        root = task.mm.mm_mt.ma_root.value_()
    except AttributeError:
        vma = task.mm.mmap
        while not vma.vm_start <= address < vma.vm_end:
            vma = vma.vm_next
    else:
        yield "node of VMAs", frame(root & ~0xFF)
        from drgn.helpers.linux.mm import vma_find

        vma = vma_find(task.mm, address)
    yield "VMA", frame(vma.value_())
    yield "file", frame(vma.vm_file.value_())


@pytest.fixture(scope="session")
def lost(crashed: Crashed) -> Lost:
    return Lost(crashed)


def check(lost: Lost, what: str, said: Result) -> None:
    if said.code == 2 or not said.out:
        assert said.err.startswith("pageproof: error: "), said.err
        assert said.err.count("\n") == 1
        # Of the kernel's own tables and of the task list nothing may be left to report.
        assert what.startswith("table of the kernel") or what == "task_struct", said.err
        return
    found: Compared = compare(lost.whole, said.report)
    assert not found.wrong, (what, found.wrong)
    assert not found.lost or admits(said.report), (what, found)
    if what.startswith("table of"):
        assert found.unknown or found.lost, (what, found)
    if what == "shared page":
        proof = pages(said.report)[lost.pid, lost.page_index]
        assert proof["verdict"] == "SAME"
        for one in proof["evidence"]["content"]:
            assert one["all_zero"] or one["error"].startswith("excluded: "), one


@each_kernel_with_a_tree_of_vmas
@pytest.mark.parametrize("form", REMOVERS)
def test_a_page_is_omitted(crashed: Crashed, lost: Lost, tmp_path: Path, form: str) -> None:
    _without(crashed, lost, tmp_path, form, lambda what: what in QUICK, zeros=False)


@each_kernel_with_a_tree_of_vmas
@pytest.mark.long
@pytest.mark.parametrize("zeros", [False, True], ids=["omitted", "zeros"])
@pytest.mark.parametrize("form", REMOVERS)
def test_each_page(crashed: Crashed, lost: Lost, tmp_path: Path, form: str, zeros: bool) -> None:
    _without(crashed, lost, tmp_path, form, lambda what: zeros or what not in QUICK, zeros=zeros)


def _without(
    crashed: Crashed,
    lost: Lost,
    tmp_path: Path,
    form: str,
    wanted: Callable[[str], bool],
    *,
    zeros: bool,
) -> None:
    file = tmp_path / "hole"
    for what, frame in lost.frames.items():
        if wanted(what):
            held = REMOVERS[form](crashed.dumps[form], file, {frame}, zeros=zeros)
            assert held, (what, frame)
            said = pageproof("-c", file, *crashed.machine.symbols, *VERIFY)
            check(lost, what, said)
    file.unlink()


@each_kernel_with_a_tree_of_vmas
def test_a_split_dump(crashed: Crashed, tmp_path: Path) -> None:
    """All parts say what the whole says; without one of them nothing is said that is wrong."""
    whole = crashed.ask("lzo", *VERIFY).report
    (split,) = (one for one in FORMS if one.parts > 1)
    with written(makedumpfile(), split, crashed.dumps["lzo"], tmp_path, 0) as files:
        assert all(file.stat().st_size > 1 << 20 for file in files)
        asked = (*crashed.machine.symbols, *VERIFY)
        said = pageproof(*cores([files[2], files[0], files[1]]), *asked)
        assert said.code == 0, said.err
        found = compare(whole, said.report)
        assert (found.equal, found.lost) == (len(pages(whole)), 0)
        assert not found.wrong
        for few in (files[:2], files[1:], files[::2], files[:1]):
            part = pageproof(*cores(few), *asked)
            if part.out:
                assert not compare(whole, part.report).wrong
                assert any("were not given" in note for note in part.report["target"]["notes"])
            else:
                assert part.code in (2, 3)
                assert "in a part of the dump that was not given" in part.err
