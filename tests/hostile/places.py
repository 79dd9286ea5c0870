# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a sound dump has the kernel's structures, found once with drgn and DWARF.

A group has words that link structures or describe them, and the addresses that such words hold in a
sound dump, for links that go in circles or to the wrong object.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

import drgn
from drgn import Object, Program
from drgn.helpers.linux.list import list_for_each_entry
from drgn.helpers.linux.mm import follow_phys, for_each_vma, for_each_vmap_area
from drgn.helpers.linux.pid import for_each_task
from drgn.helpers.linux.slab import for_each_slab_cache

from pageproof.attach import Wanted, open_target
from pageproof.attach.debuginfo import DebugInfo

#: Group -> "words": (physical address, length in bytes, name); "links": values.
Places = dict[str, dict[str, list[object]]]

_PRESENT, _LARGE = 1, 1 << 7
_FRAME = 0x000F_FFFF_FFFF_F000
#: Of each table, and of each list: more do not make other cases.
_SOME = 40


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


#: Members of each structure.
_TASK = _words(
    "tasks.next tasks.prev mm active_mm pid tgid thread_pid signal files nsproxy real_parent "
    "thread_node.next group_leader stack flags"
)
_MM = _words(
    "pgd mm_mt.ma_root mm_mt.ma_flags mmap mm_rb.rb_node map_count exe_file mm_users owner "
    "task_size start_code start_stack ioctx_table context.vdso"
)
_VMA = _words(
    "vm_start vm_end vm_mm vm_next vm_prev vm_rb.rb_left vm_rb.rb_right vm_flags vm_pgoff "
    "vm_file vm_ops vm_private_data anon_vma vm_page_prot"
)
_FILE = ("f_op", "f_inode", "f_mapping", "private_data", "f_path.dentry", "f_path.mnt")
_INODE = _words("i_mapping i_sb i_mode i_rdev i_size i_data.i_pages.xa_head i_data.nrpages i_cdev")
_DENTRY = ("d_parent", "d_name.name", "d_name.hash_len", "d_inode", "d_op", "d_sb")
_AREA = _words(
    "va_start va_end rb_node.rb_left rb_node.rb_right list.next list.prev vm subtree_max_size"
)
_VM = ("addr", "size", "pages", "nr_pages", "phys_addr", "caller", "flags", "page_order")
_CACHE = _words(
    "list.next list.prev name size object_size offset oo.x cpu_slab flags inuse random red_left_pad"
)
_NODE = ("partial.next", "partial.prev", "nr_partial", "nr_slabs.counter")
_MODULE = _words(
    "list.next list.prev state name mem core_layout.base core_layout.size kallsyms sect_attrs "
    "notes_attrs init btf_data btf_data_size"
)
_PAGE = ("flags", "compound_head", "mapping", "index", "_refcount", "_mapcount", "private")
_VARIABLES = _words(
    "init_mm init_task modules mod_tree boot_cpu_data page_offset_base pgtable_l5_enabled "
    "vmemmap_base vmalloc_base mem_section slab_caches init_pid_ns vmap_nodes vmap_area_root "
    "vmap_area_list node_data max_pfn high_memory phys_base sme_me_mask physical_mask "
    "__pte2cachemode_tbl pcpu_base_addr __per_cpu_offset nr_vmap_nodes contig_page_data "
    "pgdat_list iomem_resource __cpu_possible_mask __cpu_online_mask init_uts_ns nr_cpu_ids "
    "btf_modules"
)


def find_places(dump: Path, vmlinux: Path) -> Places:
    """Return the places in a dump. Members that this kernel does not have are left out."""
    os.environ["OMP_NUM_THREADS"] = "1"  # else a process that used drgn cannot fork
    wanted = Wanted(core=dump, symbols=(vmlinux,), debug_info=DebugInfo.DWARF)
    prog = open_target(wanted, ()).prog
    return _Finder(prog).found()


class _Finder:
    def __init__(self, prog: Program) -> None:
        self._prog = prog
        self._places: Places = {}
        self._kernel_mm = prog["init_mm"].address_of_()

    def found(self) -> Places:
        tasks = list(for_each_task(self._prog))
        users = [task for task in tasks if task.mm][:6]
        #: umh_shm's helper and its mapper, whose pages verify proves.
        mms = [task.mm for task in users]
        vmas = [vma for mm in mms for vma in self._some(for_each_vma(mm))]
        files = [vma.vm_file for vma in vmas if vma.vm_file]
        self._members("tasks", tasks[:20] + users, _TASK)
        self._members("mm", mms, _MM)
        self._members("vmas", vmas, _VMA)
        self._members("files", files, _FILE)
        self._members("inodes", [one.f_inode for one in files], _INODE)
        self._members("dentries", [one.f_path.dentry for one in files], _DENTRY)
        for mm in mms:
            with suppress(AttributeError):
                self._maple(mm.mm_mt.ma_root.value_(), 0)
            self._tables("tables", int(mm.pgd), vmas)
        self._tables("kernel tables", int(self._kernel_mm.pgd), [])
        self._xarray("pids", self._prog["init_pid_ns"].idr.idr_rt)
        for one in files:
            self._xarray("page cache", one.f_inode.i_data.i_pages)
        areas = list(self._some(for_each_vmap_area(self._prog)))
        self._members("vmap areas", areas, _AREA)
        self._members("vmap areas", [one.vm for one in areas if one.vm], _VM)
        caches = list(self._some(for_each_slab_cache(self._prog)))
        self._members("slab", caches, _CACHE)
        self._members("slab", [one.node[0] for one in caches], _NODE)
        modules = list(
            list_for_each_entry("struct module", self._prog["modules"].address_of_(), "list")
        )
        self._members("modules", modules, _MODULE)
        self._pages(users)
        self._variables()
        self._names(users, modules, files)
        return self._places

    def _some(self, objects: Iterable[Object]) -> Iterator[Object]:
        return islice(objects, _SOME)

    def _physical(self, address: int) -> int:
        return int(follow_phys(self._kernel_mm, address))

    def _add(self, group: str, address: int, length: int, name: str) -> None:
        with suppress(drgn.FaultError, LookupError, ValueError, OverflowError):
            place = [self._physical(address), length, name]
            words = self._places.setdefault(group, {"words": [], "links": []})["words"]
            if place not in words:
                words.append(place)

    def _link(self, group: str, value: int) -> None:
        links = self._places.setdefault(group, {"words": [], "links": []})["links"]
        if value not in links and len(links) < 4 * _SOME:
            links.append(value)

    def _members(self, group: str, objects: Iterable[Object], names: Iterable[str]) -> None:
        for one in objects:
            for name in names:
                self._try(lambda: self._member(group, one, name))  # noqa: B023  called at once

    def _try(self, call: Callable[[], None]) -> None:
        with suppress(LookupError, AttributeError, TypeError, drgn.FaultError):
            call()

    def _member(self, group: str, one: Object, name: str) -> None:
        member = one
        for part in name.split("."):
            member = getattr(member, part)
        place = member.address_of_().value_()
        self._add(group, place, drgn.sizeof(member), name)
        self._link(group, one.value_() if one.type_.kind == drgn.TypeKind.POINTER else place)
        if name.endswith(("next", "prev", "rb_left", "rb_right")):
            self._link(group, place)

    def _maple(self, entry: int, depth: int) -> None:
        if entry & 2 == 0 or depth > 4:
            return
        kind, node = entry >> 3 & 0xF, entry & ~0xFF
        if kind == 0:
            return
        for at in range(0, 256, 8):
            self._add("maple", node + at, 8, f"word {at // 8} of a node of type {kind}")
        self._link("maple", entry)
        slots = 160 if kind == 3 else 128
        if kind in (2, 3):
            for at in range(80 if kind == 3 else 128, 80 + slots if kind == 3 else 256, 8):
                with suppress(drgn.FaultError):
                    below = self._prog.read_u64(node + at)
                    if below & 0xFF and below >> 63:
                        self._maple(below, depth + 1)

    def _tables(self, group: str, root: int, vmas: list[Object]) -> None:
        levels = 5 if self._five_levels() else 4
        addresses = [vma.vm_start.value_() for vma in vmas] or [
            self._prog["init_task"].address_of_().value_(),
            self._prog["page_offset_base"].value_() if "page_offset_base" in self._prog else root,
            self._prog["modules"].next.value_(),
        ]
        for address in addresses:
            table = self._physical(root)
            for level in range(levels, 0, -1):
                at = table + (address >> (12 + 9 * (level - 1)) & 511) * 8
                words = self._places.setdefault(group, {"words": [], "links": []})["words"]
                if [at, 8, f"level {level}"] not in words:
                    words.append([at, 8, f"level {level}"])
                self._link(group, table | 0x67)
                entry = self._prog.read_u64(at, True)
                if not entry & _PRESENT or (level < 4 and entry & _LARGE):
                    break
                table = entry & _FRAME

    def _five_levels(self) -> bool:
        return b"NUMBER(pgtable_l5_enabled)=1" in self._prog["VMCOREINFO"].string_()

    def _xarray(self, group: str, xa: Object) -> None:
        todo = [xa.xa_head.value_()]
        self._add(group, xa.xa_head.address_of_().value_(), 8, "xa_head")
        for _ in range(_SOME):
            if not todo:
                return
            entry = todo.pop()
            if entry & 3 != 2 or entry < 4096:
                continue
            self._link(group, entry)
            node = Object(self._prog, "struct xa_node *", entry - 2)
            self._member(group, node, "shift")
            self._member(group, node, "parent")
            for number in range(64):
                slot = node.slots[number]
                if slot:
                    self._add(group, slot.address_of_().value_(), 8, f"slot {number}")
                    todo.append(slot.value_())

    def _pages(self, users: list[Object]) -> None:
        for task in users:
            for vma in self._some(for_each_vma(task.mm)):
                with suppress(drgn.FaultError, LookupError):
                    paddr = int(follow_phys(task.mm, vma.vm_start.value_()))
                    start = self._prog["vmemmap_base"].value_()
                    size = drgn.sizeof(self._prog.type("struct page"))
                    page = Object(self._prog, "struct page *", start + (paddr >> 12) * size)
                    self._members("struct pages", [page], _PAGE)

    def _variables(self) -> None:
        for name in _VARIABLES:
            with suppress(LookupError, drgn.ObjectAbsentError):
                variable = self._prog[name]
                start, length = variable.address_of_().value_(), drgn.sizeof(variable)
                for at in range(0, min(length, 2048), 8):
                    self._add("variables", start + at, min(8, length - at), f"{name}+{at}")
                self._link("variables", start)

    def _names(self, users: list[Object], modules: list[Object], files: list[Object]) -> None:
        for one in users:
            self._add("names", one.comm.address_of_().value_(), 16, "comm")
        for one in modules:
            self._add("names", one.name.address_of_().value_(), 56, "name of a module")
        for one in files:
            name = one.f_path.dentry.d_name
            self._try(lambda: self._add("names", name.name.value_(), 16, "name of a file"))  # noqa: B023
            self._try(lambda: self._add("names", name.len.address_of_().value_(), 4, "its length"))  # noqa: B023
