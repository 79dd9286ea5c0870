# SPDX-License-Identifier: GPL-2.0-or-later
"""Finders of shmem, hugetlbfs, udmabuf, BPF maps and the vDSO, on real mappings.

tests/vm/shares_shmem.c, shares_buffers.c and shares_maps.c make and describe them. The guest is
stopped while it is read.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace

import drgn
import pytest
from attached import attached, frozen
from machine import Json, Machine, each_kernel
from made import Made
from sharing import ODD, Everything, claimed_at, same_frames

from pageproof.find.frame.pagelist import page_addresses
from pageproof.find.shared import find_shared, kernel_pages, vdso
from pageproof.find.shared.finder import owner_of
from pageproof.space.units import PAGE_BYTES

KINDS = ("shmem", "hugetlb", "udmabuf", "bpf", "vdso")
#: drivers/dma-buf/udmabuf.c is in cloud kernels from this one on.
UDMABUF_KERNELS = ("6.12", "7.2")
RECORD = b"!!lenrek"

pytestmark = each_kernel


@dataclass(frozen=True)
class Shared(Made):
    """A stopped guest, and the mappings that were made in it."""

    clock: str
    kernel: str

    def has_kind(self, kind: str) -> bool:
        return kind != "udmabuf" or self.kernel in UDMABUF_KERNELS

    def has(self, name: str) -> bool:
        """Whether the kernel has an enumerator."""
        try:
            self.view.target.prog.constant(name)
        except LookupError:
            return False
        return True


@pytest.fixture(scope="module")
def shared(machine: Machine, everything: Everything) -> Iterator[Shared]:
    said = everything.facts
    pids = {kind: said[kind]["pid"] for kind in ("shmem", "bpf", "vdso")}
    pids["hugetlb"] = pids["udmabuf"] = said["buffers"]["pid"]
    clock = machine.guest.check(
        "cat", "/sys/devices/system/clocksource/clocksource0/current_clocksource"
    )
    with frozen(machine), attached(machine) as view:
        made = everything.regions_of("shmem", "buffers", "bpf", "vdso")
        yield Shared(view, pids, made, clock.strip(), machine.setup.kernel)


@pytest.mark.parametrize("kind", KINDS)
def test_found_is_what_was_made(shared: Shared, kind: str) -> None:
    """The process has no others, and similar mappings of other kinds are not claimed."""
    assert shared.found(kind) == shared.expected(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_both_sides_lead_to_one_frame(shared: Shared, kind: str) -> None:
    some = [one for one in shared.of_kind(kind) if one["label"] not in ODD]
    assert some or not shared.has_kind(kind)
    for one in some:
        same_frames(shared.view, shared.claimed(one), one["touched"])


def test_what_the_process_wrote_is_read_through_the_kernels_address(shared: Shared) -> None:
    written = [one for one in shared.made if one["written"]]
    kinds = {"shmem", "hugetlb", "udmabuf", "bpf"}
    assert {one["kind"] for one in written} == {kind for kind in kinds if shared.has_kind(kind)}
    for one in written:
        sides = shared.sides(one)
        for page in one["written"]:
            number = one["first_page"] + page
            address = sides[number]
            assert address is not None, f"{one['label']}, page {page}"
            text = f"pageproof {one['label']} {number}\0".encode()
            read = shared.view.target.prog.read(address + one["offset"], len(text))
            assert read == text, f"{one['label']}, page {page}"


@pytest.mark.parametrize("kind", ["shmem", "hugetlb", "udmabuf", "bpf"])
def test_a_page_that_was_replaced_is_another(shared: Shared, kind: str) -> None:
    if not shared.has_kind(kind):
        return
    first, *_ = shared.labelled("replaced", kind)
    pages = [one for one in shared.labelled("replaced-page") if one["pid"] == shared.pids[kind]]
    page = min(
        (one for one in pages if one["address"] > first["address"]), key=lambda one: one["address"]
    )
    number = (page["address"] - first["address"]) // PAGE_BYTES
    assert shared.user_bytes(page, 0) == b"x" * PAGE_BYTES
    assert shared.user_pfn(page, 0) != shared.kernel_pfn(shared.sides(first)[number])


def test_shmem_of_two_processes_is_one_region(shared: Shared) -> None:
    """The second process has opened the file read-only."""
    one, other = shared.labelled("tmpfs")
    assert one["pid"] != other["pid"]
    assert shared.claimed(one).claim == shared.claimed(other).claim
    assert shared.user_pfn(one, 0) == shared.user_pfn(other, 0)


def test_shmem_that_is_not_there(shared: Shared) -> None:
    """Pages that were never touched, are allocated but not mapped, or are swapped out."""
    (memfd,) = shared.labelled("memfd")
    sides = shared.sides(memfd)
    assert [page for page, side in enumerate(sides) if side is not None] == [2, 3, 6, 7]
    assert shared.user_pfn(memfd, 7 - memfd["first_page"]) is None
    (swapped,) = shared.labelled("swapped")
    assert [side is None for side in shared.sides(swapped)] == [True] * 4 + [False] * 2
    assert [shared.user_pfn(swapped, page) for page in range(4)] == [None] * 4


def test_shmem_in_a_huge_page(shared: Shared) -> None:
    (huge,) = shared.labelled("huge")
    sides = shared.sides(huge)
    first = sides[0]
    assert first is not None
    assert sides[:512] == list(range(first, first + 512 * PAGE_BYTES, PAGE_BYTES))
    assert sides[512:] == [None] * 512
    assert shared.user_pfn(huge, 511) == shared.kernel_pfn(sides[511])
    assert shared.user_pfn(huge, 512) is None


def test_hugetlb_where_a_page_is_not_there(shared: Shared) -> None:
    """The second huge page of a file is found by its index; the first was never allocated."""
    (memfd,) = shared.labelled("huge-memfd")
    sides = shared.sides(memfd)
    assert sides[:512] == [None] * 512
    first = sides[512]
    assert first is not None
    assert sides[512:] == list(range(first, first + 512 * PAGE_BYTES, PAGE_BYTES))
    assert shared.user_pfn(memfd, 511) == shared.kernel_pfn(sides[1023])


def test_lists_of_pages_as_the_kernel_has_them(shared: Shared) -> None:
    """udmabuf's array of pages or folios, and the chained scatterlist that it made for DMA."""
    if not shared.has_kind("udmabuf"):
        return
    (made,) = shared.labelled("udmabuf")
    sides = shared.sides(made)
    udmabuf = owner_of(shared.view.target.prog, shared.claimed(made).claim)
    array = udmabuf.pages if hasattr(udmabuf, "pages") else udmabuf.folios
    assert page_addresses(array, len(sides)) == sides
    assert page_addresses(udmabuf.sg, None) == sides
    assert page_addresses(udmabuf.sg[0], None) == sides
    assert page_addresses(udmabuf.sg.sgl, None) == sides
    assert int(udmabuf.sg.nents) > 128  # more than fit into a page, so that they are chained


def test_each_type_of_bpf_map(shared: Shared) -> None:
    """All map types that the kernel has."""
    labels = {one["label"] for one in shared.of_kind("bpf")}
    assert {"array", "array-part", "odd", "consumer", "producer"} <= labels
    assert ("user-ring" in labels) == shared.has("BPF_MAP_TYPE_USER_RINGBUF")
    assert ("arena" in labels) == shared.has("BPF_MAP_TYPE_ARENA")


def test_what_a_bpf_program_wrote_is_at_the_users_frame(shared: Shared) -> None:
    (array,) = shared.labelled("array")
    assert shared.user_bytes(array, 4)[:8] == RECORD
    (producer,) = shared.labelled("producer")
    position, data, again = (shared.user_bytes(producer, page) for page in (0, 1, 5))
    assert int.from_bytes(position[:8], "little") == 16  # a header and the record
    assert data[8:16] == RECORD
    assert data == again
    (mapped,) = shared.labelled("array-part")
    assert shared.user_bytes(mapped, 1)[:8] == RECORD


def test_arrays_of_one_map_are_one_region(shared: Shared) -> None:
    (whole,), (part,) = shared.labelled("array"), shared.labelled("array-part")
    assert shared.claimed(whole).claim.owner == shared.claimed(part).claim.owner
    assert shared.claimed(part).claim.name.startswith("pp_array, BPF map ")


def test_the_kernel_has_the_vdsos_code(shared: Shared) -> None:
    (vdso,) = shared.labelled("vdso")
    address = shared.sides(vdso)[0]
    assert address is not None
    page = shared.view.target.prog.read(address, PAGE_BYTES)
    assert page.startswith(b"\x7fELF")
    assert page == shared.user_bytes(vdso, 0)


def test_a_copy_of_the_vdso_is_another_page(shared: Shared) -> None:
    """A write, as by a debugger, makes a private copy of a page: only this one is DIFFERENT."""
    (copied,) = shared.labelled("vdso-copied")
    sides = shared.sides(copied)
    assert shared.user_pfn(copied, 0) not in (None, shared.kernel_pfn(sides[0]))
    assert shared.user_pfn(copied, 1) in (None, shared.kernel_pfn(sides[1]))


def test_the_vdso_that_was_replaced_is_not_found(shared: Shared) -> None:
    (replaced,) = shared.labelled("vdso-replaced")
    assert shared.user_bytes(replaced, 0) == b"x" * PAGE_BYTES
    with pytest.raises(AssertionError, match="nothing at"):
        claimed_at(shared.view, "vdso", replaced["pid"], replaced["address"])


def test_the_task_of_an_address_space_is_found_without_its_owner(shared: Shared) -> None:
    """This is the case of a kernel without CONFIG_MEMCG, where ``mm_struct`` has no owner."""
    prog = shared.view.target.prog
    claims = find_shared(prog, shared.view.paging, [vdso.VDSO]).claimed
    spaces = {one.mapping.mm for one in claims if one.claim.part == "vvar"}
    assert len(spaces) > 1
    for address in spaces:
        mm = drgn.Object(prog, "struct mm_struct *", address)
        task = vdso.searched_task(mm)
        assert task.mm == mm
        assert task.nsproxy.time_ns == mm.owner.nsproxy.time_ns


def test_vvar_without_time_namespaces(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    """This is the case of a kernel without CONFIG_TIME_NS, where ``nsproxy.time_ns`` is NULL."""
    prog = shared.view.target.prog
    (vvar,) = shared.labelled("vvar")
    nsproxy = SimpleNamespace(time_ns=drgn.Object(prog, "struct time_namespace *", 0))
    monkeypatch.setattr(vdso, "_task_of", lambda mm: SimpleNamespace(nsproxy=nsproxy))
    claimed = find_shared(prog, shared.view.paging, [vdso.VDSO], vvar["pid"]).claimed
    (one,) = (
        one for one in claimed if one.mapping.vma and one.mapping.vma.start == vvar["address"]
    )
    assert (one.claim.part, one.claim.name) == ("vvar", "[vvar]")
    assert list(kernel_pages(prog, one)) == shared.sides(vvar)


def hypervisor_pages(shared: Shared, made: Json) -> set[int]:
    """Return the pages that the process could read and the kernel has not mapped."""
    sides = shared.sides(made)
    pages = {page for page in made["touched"] if sides[page] is None}
    assert not pages or shared.clock in ("kvm-clock", "hyperv_clocksource_tsc_page")
    return pages


def test_the_kernel_has_each_page_of_vvar_that_can_be_read(shared: Shared) -> None:
    """Unreadable pages raised SIGBUS; the page of the hypervisor's clock is not the kernel's."""
    (vvar,) = shared.labelled("vvar")
    sides = shared.sides(vvar)
    theirs = {page for page, side in enumerate(sides) if side is not None}
    assert theirs == set(vvar["touched"]) - hypervisor_pages(shared, vvar)
    for page in theirs:
        assert shared.user_pfn(vvar, page) == shared.kernel_pfn(sides[page])
    assert shared.user_bytes(vvar, min(theirs)) == shared.view.target.prog.read(
        sides[min(theirs)], PAGE_BYTES
    )


def test_vvar_has_the_time(shared: Shared) -> None:
    prog = shared.view.target.prog
    try:
        # Since 6.17: 22c62b9a84b8 ("timekeeping: Introduce auxiliary timekeepers")
        timekeeper = prog["timekeeper_data"][0].timekeeper
    except LookupError:
        timekeeper = prog["tk_core"].timekeeper
    now = timekeeper.xtime_sec.value_()
    (vvar,) = shared.labelled("vvar")
    page = shared.user_bytes(vvar, 0)
    words = {int.from_bytes(page[at : at + 8], "little") for at in range(0, PAGE_BYTES, 8)}
    # The guest may be stopped between the two.
    assert words & {now - 1, now}


def test_vvar_in_a_time_namespace(shared: Shared) -> None:
    """The namespace's page is in the place of the time page."""
    (vvar,), (other,) = shared.labelled("vvar"), shared.labelled("vvar-timens")
    assert shared.claimed(vvar).claim.owner != shared.claimed(other).claim.owner
    time = shared.kernel_pfn(shared.sides(vvar)[0])
    sides = shared.sides(other)
    assert shared.user_pfn(other, 0) == shared.kernel_pfn(sides[0]) != time
    moved = [page for page, side in enumerate(sides) if side == shared.sides(vvar)[0]]
    assert len(moved) == 1
    assert moved[0] in other["touched"]
    assert shared.user_pfn(other, moved[0]) == time
