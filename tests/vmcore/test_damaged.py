# SPDX-License-Identifier: GPL-2.0-or-later
"""Circular kernel data in a real dump: each command ends and reports what it could not read.

QEMU makes the dump, and the guest keeps running. tests/standing.py kills a command that hangs, and
a memory limit ends one that grows.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import drgn
import pytest
from damage import Damaged, Words
from drgn.helpers.linux.list import list_for_each_entry
from drgn.helpers.linux.mm import for_each_vma, for_each_vmap_area
from drgn.helpers.linux.pid import find_task
from drgn.helpers.linux.xarray import xa_for_each
from machine import Json, Machine, Result, each_kernel, environment
from sharing import Everything
from standing import Standing

from pageproof_lab.guest.guest import monitor

pytestmark = each_kernel
#: Limit of the address space; debug info alone takes more than 1 GiB of it.
MEMORY_BYTES = 4 << 30


@dataclass(frozen=True)
class Broken:
    """A copy of an ELF dump, which tests damage and restore one after the other.

    Attributes:
        pid: a process with many VMAs (the guest agent).
        symbols: the options for debug info.
    """

    damaged: Damaged
    standing: Standing
    pid: int
    symbols: tuple[str, ...]

    @property
    def prog(self) -> drgn.Program:
        return self.damaged.prog

    @property
    def mm(self) -> drgn.Object:
        return find_task(self.prog, self.pid).mm.read_()

    def ask(self, *words: str) -> Result:
        result = Result(*self.standing.ask(*self.symbols, *words))
        assert "Traceback" not in result.err, result.err
        return result


@pytest.fixture(scope="session")
def broken(
    machine: Machine, everything: Everything, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Broken]:
    dump = tmp_path_factory.mktemp("broken") / "vmcore"
    with closing(monitor(machine.guest)) as control:
        control.call("dump-guest-memory", 120, paging=False, protocol=f"file:{dump}", format="elf")
    damaged = Damaged(dump, machine.kernel.vmlinux)
    (pid, *_) = (task.tgid.value_() for task in damaged.tasks if task.comm.string_() == b"qemu-ga")
    standing = Standing(("-c", str(dump)), machine.kernel.vmlinux, environment(), MEMORY_BYTES)
    yield Broken(damaged, standing, pid, machine.symbols)
    standing.end()
    dump.unlink()


def head_in_own_slot(xa: drgn.Object, slot: int | None = None) -> Words:
    """A tree whose root is its own child: in one slot, or in the last used slot."""
    head = xa.xa_head.value_()
    assert head & 3 == 2, "the tree has no node"
    node = drgn.Object(xa.prog_, "struct xa_node *", head - 2)
    taken = [number for number in range(64) if node.slots[number]]
    return [(node.slots[taken[-1] if slot is None else slot].address_, head)]


def reasons(report: Json) -> str:
    """Return all reasons in a report for unknown data."""
    said = [str(report.get(key, "")) for key in ("task_faults", "findings", "lost", "unknown")]
    return "\n".join((*said, *(one["reason"] for one in report.get("outcomes", []))))


def test_a_tree_of_pids_that_is_its_own_child(broken: Broken) -> None:
    """Reachable processes such as init are still found."""
    words = head_in_own_slot(broken.prog["init_pid_ns"].idr.idr_rt)
    with broken.damaged.written(*words):
        for command in (("regions",), ("verify", "--pid", "1"), ("audit",)):
            result = broken.ask(*command, "--format", "json")
            assert result.code == 3, str(command) + result.out + result.err
            assert "is in the tree twice" in reasons(result.report), command
        regions = broken.ask("regions", "--format", "json").report["regions"]
        assert 1 in {use["mapping"]["pid"] for one in regions for use in one["uses"]}
        assert broken.ask("maps", "--pid", "1").code == 0
        last = max(task.pid.value_() for task in broken.damaged.tasks)
        result = broken.ask("maps", "--pid", str(last))
        assert (result.code, "is in the tree twice" in result.err) == (2, True), result.err


def lost_vmas(mm: drgn.Object) -> Words:
    """All VMAs are lost: an empty list, or a leaf of zeros in place of the root."""
    try:
        root = mm.mm_mt.ma_root.value_()
    except AttributeError:
        return [(mm.mmap.address_, 0)]
    return [(root & -256, bytes(256))]


def test_vmas_that_a_tree_lost(broken: Broken) -> None:
    mm, pid = broken.mm, str(broken.pid)
    place = next(iter(for_each_vma(mm))).vm_start.value_()
    count = int(mm.map_count)
    with broken.damaged.written(*lost_vmas(mm)):
        maps = broken.ask("maps", "--pid", pid, "--format", "json")
        assert maps.code == 3, maps.err
        assert maps.report["lost"] == f"only 0 of {count} VMAs (mm->map_count) were found"
        names = [one["line"]["name"] for one in maps.report["vmas"]]
        assert names in ([], ["[vsyscall]"])
        assert (
            "missing  some VMAs cannot be read: only 0 of" in broken.ask("maps", "--pid", pid).out
        )
        walk = broken.ask("walk", f"{place:x}", "--pid", pid)
        assert "no VMA covers" not in walk.out
        assert f"vma      unknown: only 0 of {count} VMAs" in walk.out
        user = broken.ask("verify", "--user", f"{place:x}", "--pid", pid)
        assert (user.code, f"only 0 of {count} VMAs" in user.err) == (2, True), user.err
        for command in (("verify", "--pid", pid), ("audit",)):
            result = broken.ask(*command, "--format", "json")
            assert result.code == 3, str(command) + result.out
            assert f"only 0 of {count} VMAs" in reasons(result.report), command
            assert not [one for one in result.report["findings"] if one["severity"] == "error"]


def circle_of_vmas(mm: drgn.Object) -> Words:
    """The first VMA follows the third one; the root is its own child in its second slot."""
    try:
        root = mm.mm_mt.ma_root.value_()
    except AttributeError:
        third = mm.mmap.vm_next.vm_next
        return [(third.vm_next.address_, mm.mmap.value_())]
    node = drgn.Object(mm.prog_, "struct maple_arange_64", address=root & -256)
    assert root >> 3 & 0xF == 3, "the root is a leaf"
    return [(node.slot[1].address_, root & ~2)]


def test_vmas_in_circles(broken: Broken) -> None:
    mm, pid = broken.mm, str(broken.pid)
    with broken.damaged.written(*circle_of_vmas(mm)):
        maps = broken.ask("maps", "--pid", pid, "--format", "json")
        assert maps.code == 3, maps.err
        circle = ("is in it twice", "goes in circles")
        assert any(word in maps.report["lost"] for word in circle), maps.report["lost"]
        assert 3 <= len(maps.report["vmas"]) < int(mm.map_count)
        for command in (("verify", "--pid", pid), ("regions",), ("audit",)):
            result = broken.ask(*command, "--format", "json")
            assert result.code == 3, str(command) + result.out
            assert any(word in reasons(result.report) for word in circle), command


def own_child(tree: drgn.Object) -> Words:
    """A red-black tree whose root is both of its own children."""
    root = tree.rb_node.read_()
    assert root
    return [(side.address_, root.value_()) for side in (root.rb_left, root.rb_right)]


def test_a_list_of_modules_in_circles(broken: Broken) -> None:
    """drgn reads the list for modules too, and gives up after about ten thousand."""
    head = broken.prog["modules"].address_of_()
    modules = list(list_for_each_entry("struct module", head, "list"))
    last, first = modules[-1].list, modules[0].list
    with broken.damaged.written((last.next.address_, first.address_)):
        result = broken.ask("verify", "--kind", "umh_shm")
        assert result.code in (0, 3), result.err


def test_a_tree_of_modules_that_is_its_own_child(broken: Broken) -> None:
    tree = broken.prog["mod_tree"].root
    now = int(tree.seq.seqcount.sequence) & 1
    with broken.damaged.written(*own_child(tree.tree[now])):
        # Look below and above all modules, as both sides of the tree lead back to its root.
        for address in (0xFFFF_FFFF_C000_0000, 0xFFFF_FFFF_FE00_0000):
            result = broken.ask("whatis", f"{address:x}", "--format", "json")
            assert result.code == 3, result.err
            assert "deeper than" in reasons(result.report)
        for command in (("maps", "--pid", "1"), ("regions",), ("verify",), ("kmap",), ("audit",)):
            assert broken.ask(*command).code in (0, 1, 3), command


def test_vmalloc_areas_in_circles(broken: Broken) -> None:
    prog = broken.prog
    areas = list(for_each_vmap_area(prog))
    place = areas[len(areas) // 2].va_start.value_()
    first = areas[0].list
    words = [(first.next.address_, first.address_)]
    try:
        nodes = [prog["vmap_nodes"][at] for at in range(int(prog["nr_vmap_nodes"]))]
        trees = [node.busy.root for node in nodes if node.busy.root.rb_node]
    except LookupError:
        trees = [prog["vmap_area_root"]]
    for tree in trees:
        words += own_child(tree)
    with broken.damaged.written(*words):
        whatis = broken.ask("whatis", f"{place:x}", "--format", "json")
        assert whatis.code == 3, whatis.err
        assert "deeper than" in reasons(whatis.report)
        audit = broken.ask("audit", "--format", "json")
        assert audit.code == 3, audit.out
        assert "goes in circles" in reasons(audit.report)
        for command in (("maps", "--pid", "1"), ("verify",), ("kmap",)):
            assert broken.ask(*command).code in (0, 1, 3), command


def test_directories_in_circles(broken: Broken) -> None:
    """The directory of a program is below the program."""
    program = broken.mm.exe_file.f_path.dentry
    pid = str(broken.pid)
    with broken.damaged.written((program.d_parent.d_parent.address_, program.value_())):
        maps = broken.ask("maps", "--pid", pid, "--format", "json")
        assert (maps.code, "a path has more than" in maps.report["lost"]) == (3, True), maps.out
        for command in (("regions",), ("verify", "--pid", pid), ("whatis", "_text")):
            assert broken.ask(*command).code in (0, 1, 3), command


def test_a_file_whose_pages_are_in_circles(broken: Broken) -> None:
    """The page cache of a memfd: reachable pages are judged, or the region is unknown."""
    files = {}
    for task in broken.damaged.tasks:
        for vma in for_each_vma(task.mm) if task.mm else ():
            file = vma.vm_file
            if file and broken.damaged.symbol(file.f_op) == "shmem_file_operations":
                pages = file.f_inode.i_mapping.i_pages
                if pages.xa_head.value_() & 3 == 2:
                    files[pages.address_] = pages
    assert files
    words = [word for pages in files.values() for word in head_in_own_slot(pages, 0)]
    with broken.damaged.written(*words):
        result = broken.ask("verify", "--kind", "shmem", "--format", "json")
        assert result.code == 3, result.out
        said = reasons(result.report)
        assert "is in the tree twice" in said or "is not an entry" in said, said


def test_a_page_larger_than_memory(broken: Broken) -> None:
    """The order of each huge page of a file is 255: it would have 2^255 pages."""
    words = []
    for task in broken.damaged.tasks:
        for vma in for_each_vma(task.mm) if task.mm else ():
            file = vma.vm_file
            if file and broken.damaged.symbol(file.f_op) == "hugetlbfs_file_operations":
                for _, entry in xa_for_each(file.f_inode.i_mapping.i_pages.address_of_()):
                    second = drgn.cast("struct page *", entry)[1]
                    # In the low byte of the second page's flags since 6.6: ebc1baf5c9b4
                    order = getattr(second, "compound_order", second.flags)
                    words.append((order.address_, b"\xff"))
    assert words
    with broken.damaged.written(*words):
        result = broken.ask("verify", "--kind", "hugetlb", "--format", "json")
        assert result.code == 3, result.out
        assert "a compound page has the order 255" in reasons(result.report)
