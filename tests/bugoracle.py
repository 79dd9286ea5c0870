# SPDX-License-Identifier: GPL-2.0-or-later
"""Check by the kernel's own data and drgn's helpers that each bug of the lab is real.

These checks do not use pageproof's walkers or rules. Each gets the bug and its sound twin.
"""

from collections.abc import Callable
from dataclasses import dataclass

import drgn
from buglab import Made
from drgn.helpers.linux.mm import (
    find_vmap_area,
    page_to_pfn,
    pfn_to_page,
    vma_find,
    vmalloc_to_pfn,
)
from drgn.helpers.linux.pid import find_task, for_each_task
from drgn.helpers.linux.slab import slab_object_info

#: Bits of an entry (Intel SDM 3A, table 4-20); _PAGE_SPECIAL is one of the kernel's own.
RW, US, PWT, PCD, SPECIAL, NX = 1 << 1, 1 << 2, 1 << 3, 1 << 4, 1 << 9, 1 << 63
#: Numbers of include/uapi/linux/kernel-page-flags.h.
SLAB, BUDDY, MMAP, ANON, SWAPBACKED, HWPOISON, ZERO = 7, 10, 11, 12, 14, 19, 24
YES, NO = {True}, {False}
#: THREAD_SIZE of x86_64.
STACK_BYTES = 4 * 4096


@dataclass(frozen=True)
class Kernel:
    """The target in drgn, and data of procfs.

    Attributes:
        maps: PID of a child -> its /proc/PID/maps.
        log: the kernel log.
    """

    prog: drgn.Program
    maps: dict[int, str]
    log: str

    def references(self, made: Made) -> list[int]:
        """Return the reference counts of the region's pages."""
        pages = (pfn_to_page(self.prog, pfn) for pfn in made.region)
        return [page._refcount.counter.value_() for page in pages]

    def is_listed(self, made: Made) -> bool:
        """Whether the region's first page, or a free block that contains it, is linked in a list.

        A page is on a CPU's list until the kernel shortens that list (decay_pcp_high() in
        mm/page_alloc.c). Then it is part of a block, and the block's first page has its order.
        """
        pfn = made.region[0]
        return any(
            self._is_linked(head) and (not order or head.private.value_() in range(order, 11))
            for order in range(11)
            if not (head := pfn_to_page(self.prog, pfn & -(1 << order)))._refcount.counter
        )

    def _is_linked(self, page: drgn.Object) -> bool:
        """Whether the neighbours in the list link back to a page."""
        link = page.lru.address_of_()
        try:
            return bool(link.next.prev == link == link.prev.next)
        except drgn.FaultError:
            return False

    def stacks_of(self, pfns: list[int]) -> set[int]:
        """Return those frames that are part of a task's stack."""
        pages = (
            vmalloc_to_pfn(task.stack + at).value_()
            for task in for_each_task(self.prog)
            for at in range(0, STACK_BYTES, 4096)
        )
        return set(pfns) & set(pages)

    def is_allocated(self, address: int) -> bool:
        """Whether the slab object at an address is allocated."""
        found = slab_object_info(self.prog, address)
        assert found is not None, f"no slab object at {address:#x}"
        return bool(found.allocated)

    def object_bytes(self, address: int) -> int:
        found = slab_object_info(self.prog, address)
        assert found is not None, f"no slab object at {address:#x}"
        return int(found.slab_cache.object_size)

    def has_operations(self, made: Made) -> bool:
        """Whether a mapping's vm_ops can be read."""
        vma = vma_find(find_task(self.prog, made.facts["pid"]).mm, made.facts["address"])
        try:
            self.prog.read(vma.vm_ops.value_(), 8)
        except drgn.FaultError:
            return False
        return True


Check = Callable[[Kernel, Made, Made], bool]


def _order(kernel: Kernel, bug: Made, twin: Made) -> bool:
    return set(bug.frames) == set(bug.region) and bug.frames == bug.region[::-1]


def _off_by_one(kernel: Kernel, bug: Made, twin: Made) -> bool:
    return bug.frames == [pfn + 1 for pfn in bug.region]


def _contiguous(kernel: Kernel, bug: Made, twin: Made) -> bool:
    adjoining = [bug.region[0] + page for page in range(4)]
    return bug.frames == adjoining and bug.region != adjoining and twin.frames == twin.region


def _wrong_frame(kernel: Kernel, bug: Made, twin: Made) -> bool:
    return bug.frames[2] not in bug.region


def _beyond(kernel: Kernel, bug: Made, twin: Made) -> bool:
    """Two pages are foreign: they have the text that the driver wrote beside its region."""
    strangers = set(bug.frames) - set(bug.region)
    texts = [kernel.prog.read(pfn * 4096, 21, physical=True) for pfn in strangers if pfn]
    return len(texts) == 2 and set(texts) == {b"shares_bugs neighbour"}


def _partial(kernel: Kernel, bug: Made, twin: Made) -> bool:
    return bug.frames[2:] == [None, None] and None not in twin.frames


def _private(kernel: Kernel, bug: Made, twin: Made) -> bool:
    shared = "sh" in twin.vm_flags and "sh" not in bug.vm_flags
    return shared and bug.page_flag(ANON) == [False, True, False, False]


def _zero_page(kernel: Kernel, bug: Made, twin: Made) -> bool:
    return bug.page_flag(ZERO) == [False, True, False, False]


def _freed(kernel: Kernel, bug: Made, twin: Made) -> bool:
    return set(bug.page_flag(BUDDY)) == YES and set(twin.page_flag(BUDDY)) == NO


def _to_slab(kernel: Kernel, bug: Made, twin: Made) -> bool:
    small = kernel.object_bytes(bug.facts["kernel"]) == 64
    return small and bug.page_flag(SLAB) == [True] and twin.page_flag(SLAB) == [False]


def _to_anonymous(kernel: Kernel, bug: Made, twin: Made) -> bool:
    return bug.page_flag(ANON) == [True] and bug.facts["page_counts"] == [1]


def _to_cache(kernel: Kernel, bug: Made, twin: Made) -> bool:
    shmem = bug.page_flag(MMAP) == bug.page_flag(SWAPBACKED) == [True]
    return shmem and bug.page_flag(ANON) == [False]


def _poisoned(kernel: Kernel, bug: Made, twin: Made) -> bool:
    return bug.page_flag(HWPOISON) == [False, True, False, False]


def _reference(kernel: Kernel, bug: Made, twin: Made) -> bool:
    counted = bug.facts["page_counts"] == twin.facts["page_counts"] == [1] * 4
    return counted and (kernel.references(bug), kernel.references(twin)) == ([1] * 4, [2] * 4)


def _tails(kernel: Kernel, bug: Made, twin: Made) -> bool:
    return (kernel.references(bug), kernel.references(twin)) == ([2, 1, 1, 1], [2] * 4)


def _mapcount(kernel: Kernel, bug: Made, twin: Made) -> bool:
    return (bug.facts["page_counts"], twin.facts["page_counts"]) == ([1, 0, 1, 1], [1] * 4)


def _operations(kernel: Kernel, bug: Made, twin: Made) -> bool:
    return (kernel.has_operations(bug), kernel.has_operations(twin)) == (False, True)


def _region_freed(kernel: Kernel, bug: Made, twin: Made) -> bool:
    return not kernel.is_allocated(bug.facts["at"]) and kernel.is_allocated(twin.facts["at"])


def _object_freed(kernel: Kernel, bug: Made, twin: Made) -> bool:
    whole = kernel.object_bytes(bug.facts["kernel"]) == 4096
    freed = not kernel.is_allocated(bug.facts["kernel"])
    return whole and freed and kernel.is_allocated(twin.facts["kernel"])


def _sub_page(kernel: Kernel, bug: Made, twin: Made) -> bool:
    small = kernel.object_bytes(bug.facts["kernel"]) < 4096
    return small and bug.page_flag(SLAB) == [True] and twin.page_flag(SLAB) == [False]


def _inherited(kernel: Kernel, bug: Made, twin: Made) -> bool:
    device = bug.facts["device"]
    has = [device in kernel.maps[one.facts["child"]] for one in (bug, twin)]
    return has == [True, False] and "dc" in twin.vm_flags and "dc" not in bug.vm_flags


def _may_inherit(kernel: Kernel, bug: Made, twin: Made) -> bool:
    return "dc" in twin.vm_flags and "dc" not in bug.vm_flags


def _writable(kernel: Kernel, bug: Made, twin: Made) -> bool:
    flags = {"wr", "mw"} <= bug.vm_flags and not {"wr", "mw"} & twin.vm_flags
    return flags and (bug.all_users(RW), twin.all_users(RW)) == (YES, NO)


def _may_write(kernel: Kernel, bug: Made, twin: Made) -> bool:
    flags = "mw" in bug.vm_flags and "mw" not in twin.vm_flags and "wr" not in bug.vm_flags
    return flags and bug.all_users(RW) == twin.all_users(RW) == NO


def _executable(kernel: Kernel, bug: Made, twin: Made) -> bool:
    flags = "ex" in bug.vm_flags and not {"ex", "me"} & twin.vm_flags
    return flags and (bug.all_users(NX), twin.all_users(NX)) == (NO, YES)


def _may_execute(kernel: Kernel, bug: Made, twin: Made) -> bool:
    return bug.vm_flags & {"ex", "me"} == {"me"} and not twin.vm_flags & {"ex", "me"}


def _kernel_reads(kernel: Kernel, bug: Made, twin: Made) -> bool:
    read_only = bug.all_kernels(RW) == twin.all_kernels(RW) == NO
    return read_only and (bug.all_users(RW), twin.all_users(RW)) == (YES, NO)


def _kernel_executes(kernel: Kernel, bug: Made, twin: Made) -> bool:
    code = bug.all_kernels(NX) == twin.all_kernels(NX) == NO
    return code and (bug.all_users(RW), twin.all_users(RW)) == (YES, NO)


def _kernel_open(kernel: Kernel, bug: Made, twin: Made) -> bool:
    return (bug.all_kernels(US), twin.all_kernels(US)) == (YES, NO)


def _user_closed(kernel: Kernel, bug: Made, twin: Made) -> bool:
    return (bug.all_users(US), twin.all_users(US)) == (NO, YES)


def _types(made: Made, bit: int) -> tuple[bool, ...]:
    """Whether user, kernel and physmap entries have a bit; all entries of a side must agree."""
    sides = made.all_users(bit), made.all_kernels(bit), made.all_kernels(bit, "physmap_entries")
    assert all(len(side) == 1 for side in sides), sides
    return tuple(side.pop() for side in sides)


def _uncached(kernel: Kernel, bug: Made, twin: Made) -> bool:
    return (_types(bug, PCD), _types(twin, PCD)) == ((True, False, False), (True, True, True))


def _combining(kernel: Kernel, bug: Made, twin: Made) -> bool:
    return (_types(bug, PWT), _types(twin, PWT)) == ((True, False, False), (True, True, True))


def _physmap(kernel: Kernel, bug: Made, twin: Made) -> bool:
    return (_types(bug, PCD), _types(twin, PCD)) == ((False, False, True), (True, True, True))


def _raw_frame(kernel: Kernel, bug: Made, twin: Made) -> bool:
    raw = bug.all_users(SPECIAL) == twin.all_users(SPECIAL) == YES
    marked = "pf" in twin.vm_flags and not {"pf", "mm"} & bug.vm_flags
    return raw and marked and "Bad page map in process shares_bugs" in kernel.log


def _by_hand(kernel: Kernel, bug: Made, twin: Made) -> bool:
    wanted = {"pf", "io", "de", "dd"}
    return (bug.vm_flags & wanted, twin.vm_flags & wanted) == ({"pf"}, wanted)


def _listed(kernel: Kernel, bug: Made, twin: Made) -> bool:
    """Neither has a reference, and only the bug is on a free list."""
    alike = (kernel.references(bug), kernel.references(twin)) == ([0], [0])
    return alike and (kernel.is_listed(bug), kernel.is_listed(twin)) == (True, False)


def _to_stack(kernel: Kernel, bug: Made, twin: Made) -> bool:
    return kernel.stacks_of(bug.region) == set(bug.region) and not kernel.stacks_of(twin.region)


def _others(kernel: Kernel, bug: Made, twin: Made) -> bool:
    """The page is counted for another process, and a raw entry in this one."""
    counted = (bug.facts["page_counts"], twin.facts["page_counts"]) == ([1], [0])
    return counted and bug.all_users(SPECIAL) == twin.all_users(SPECIAL) == YES


def _beyond_object(kernel: Kernel, bug: Made, twin: Made) -> bool:
    """The four pages are four objects; the twin's memory is not in a slab."""
    addresses = [bug.facts["kernel"] + page * 4096 for page in range(4)]
    found = [slab_object_info(kernel.prog, address) for address in addresses]
    objects = {one.address for one in found if one is not None}
    whole = {kernel.object_bytes(address) for address in addresses} == {4096}
    adjoining = [bug.region[0] + page for page in range(4)]
    return len(objects) == 4 and whole and bug.frames == adjoining and not any(twin.page_flag(SLAB))


def _beyond_area(kernel: Kernel, bug: Made, twin: Made) -> bool:
    """The last page belongs to another area of vmalloc."""
    first, behind = (
        find_vmap_area(kernel.prog, bug.facts["kernel"] + pages * 4096) for pages in (0, 3)
    )
    if not first or not behind or first == behind:
        return False
    its_frame = page_to_pfn(behind.vm.pages[0]).value_()
    return int(first.vm.nr_pages) == 2 and bug.frames[2:] == [None, its_frame]


CHECKS: dict[str, Check] = {
    "wrong-frame": _wrong_frame,
    "wrong-order": _order,
    "off-by-one": _off_by_one,
    "taken-for-contiguous": _contiguous,
    "length-unchecked": _beyond,
    "offset-unchecked": _beyond,
    "grown": _beyond,
    "partial": _partial,
    "private-copy": _private,
    "zero-page": _zero_page,
    "freed": _freed,
    "freed-to-slab": _to_slab,
    "freed-to-anonymous": _to_anonymous,
    "freed-to-cache": _to_cache,
    "poisoned": _poisoned,
    "reference-dropped": _reference,
    "tails-not-held": _tails,
    "mapcount-lost": _mapcount,
    "operations-gone": _operations,
    "region-freed": _region_freed,
    "object-freed": _object_freed,
    "sub-page": _sub_page,
    "inherited": _inherited,
    "may-inherit": _may_inherit,
    "writable": _writable,
    "may-write": _may_write,
    "executable": _executable,
    "may-execute": _may_execute,
    "kernel-reads": _kernel_reads,
    "kernel-executes": _kernel_executes,
    "kernel-open": _kernel_open,
    "user-closed": _user_closed,
    "uncached": _uncached,
    "write-combining": _combining,
    "physmap-uncached": _physmap,
    "raw-frame": _raw_frame,
    "pfnmap-by-hand": _by_hand,
    "freed-listed": _listed,
    "freed-to-stack": _to_stack,
    "kernel-stack": _to_stack,
    "others-page": _others,
    "beyond-object": _beyond_object,
    "beyond-area": _beyond_area,
}
