# SPDX-License-Identifier: GPL-2.0-or-later
"""Rings that a process shares with the kernel: perf, io_uring, AF_PACKET, AF_XDP, aio.

tests/vm/shares_rings.c makes and describes them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from attached import View, attached, frozen
from machine import Json, Machine, each_kernel
from sharing import Everything, claimed_at, same_frames

from pageproof.find.shared import FINDERS, Claimed, Found, find_shared, kernel_pages
from pageproof.space.units import PAGE_BYTES

KINDS = ("perf", "io_uring", "packet", "xdp", "aio")

pytestmark = each_kernel


@dataclass(frozen=True)
class Rings:
    """A stopped guest with the process, and the process's description."""

    view: View
    pid: int
    child: int
    maps_of_child: str
    root: int
    facts: list[Json]

    def of(self, kind: str, what: str) -> list[Json]:
        some = [fact for fact in self.facts if (fact["kind"], fact["is"]) == (kind, what)]
        assert some, f"{kind}: the process made nothing"
        return some

    def found(self, kind: str, pid: int | None = None) -> Found:
        finders = [finder for finder in FINDERS if finder.kind == kind]
        found = find_shared(self.view.target.prog, self.view.paging, finders, pid or self.pid)
        assert not found.unclaimed + found.faults
        return found

    def user_pfn(self, address: int) -> int:
        pfn = self.view.engine.walk(self.root, address).pfn
        assert pfn is not None
        return pfn

    def kernel_pfn(self, address: int) -> int:
        pfn = self.view.engine.walk(self.view.paging.kernel_root, address).pfn
        assert pfn is not None
        return pfn


def pages_of(one: Claimed) -> tuple[int, int]:
    """Return the address and the pages of a VMA."""
    assert one.mapping.vma is not None
    return one.mapping.vma.start, one.mapping.vma.pages


@pytest.fixture(scope="module")
def rings(machine: Machine, everything: Everything) -> Iterator[Rings]:
    said = everything.facts["rings"]
    pid, child = said["pid"], said["child"]
    maps = machine.guest.check("cat", f"/proc/{child}/maps")
    with frozen(machine), attached(machine) as view:
        spaces = [one for one in view.processes() if one.name.startswith(f"{pid} ")]
        yield Rings(view, pid, child, maps, spaces[0].root, said["facts"])


@pytest.mark.parametrize("kind", KINDS)
def test_regions_found_are_those_made(rings: Rings, kind: str) -> None:
    found = {
        (one.claim.part, *pages_of(one), one.claim.first_page, one.claim.pages)
        for one in rings.found(kind).claimed
    }
    keys = ("part", "address", "mapped_pages", "first_page", "pages")
    assert found == {tuple(vma[key] for key in keys) for vma in rings.of(kind, "vma")}


@pytest.mark.parametrize("kind", KINDS)
def test_mappings_of_one_ring_are_one_region(rings: Rings, kind: str) -> None:
    made = {vma["address"]: vma["owner"] for vma in rings.of(kind, "vma")}
    owners = {
        (made[pages_of(one)[0]], one.claim.owner, one.claim.owner_type, one.claim.name)
        for one in rings.found(kind).claimed
    }
    assert len(owners) == len(set(made.values())) == len({owner for _, owner, *_ in owners})


@pytest.mark.parametrize("kind", KINDS)
def test_a_child_shares_what_fork_gives_it(rings: Rings, kind: str) -> None:
    """It inherits all VMAs but those with VM_DONTCOPY: perf's and, on newer kernels, aio's."""
    in_child = [words.split()[0] for words in rings.maps_of_child.splitlines()]
    expected = set()
    for one in rings.found(kind).claimed:
        start, pages = pages_of(one)
        if f"{start:x}-{start + pages * PAGE_BYTES:x}" in in_child:
            expected.add((one.claim, start, pages))
    if kind in ("io_uring", "packet", "xdp"):
        assert len(expected) == len(rings.of(kind, "vma"))
    found = {(one.claim, *pages_of(one)) for one in rings.found(kind, rings.child).claimed}
    assert found == expected


@pytest.mark.parametrize("kind", KINDS)
def test_both_sides_lead_to_the_same_frames(rings: Rings, kind: str) -> None:
    for vma in rings.of(kind, "vma"):
        one = claimed_at(rings.view, kind, rings.pid, vma["address"])
        same_frames(rings.view, one, vma["touched"])


@pytest.mark.parametrize("kind", KINDS)
def test_what_one_side_wrote_is_on_the_other(rings: Rings, kind: str) -> None:
    """Read it by the kernel's address, and by the frame in the user's page tables."""
    prog = rings.view.target.prog
    texts = rings.of(kind, "text")
    assert {text["by"] for text in texts} == {"user", "kernel"}
    for text in texts:
        expected = text["text"].encode()
        one = claimed_at(rings.view, kind, rings.pid, text["address"])
        page, offset = divmod(text["offset"], PAGE_BYTES)
        address = kernel_pages(prog, one)[one.claim.first_page + page]
        assert address is not None
        assert prog.read(address + offset, len(expected)) == expected
        pfn = rings.user_pfn(text["address"] + page * PAGE_BYTES)
        frame = prog.read(pfn * PAGE_BYTES + offset, len(expected), physical=True)
        assert frame == expected


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_of_another_mapping_is_not_claimed(rings: Rings, kind: str) -> None:
    """The process has mapped an anonymous page over one of the ring's pages."""
    (replaced,) = rings.of(kind, "replaced")
    address = replaced["address"]
    claimed = rings.found(kind).claimed
    for one in claimed:
        start, pages = pages_of(one)
        assert not start <= address < start + pages * PAGE_BYTES
    sides = [
        kernel_pages(rings.view.target.prog, one)[replaced["page"]]
        for one in claimed
        if one.claim.part == replaced["part"]
    ]
    assert sides
    for side in sides:
        assert side is not None
        assert rings.kernel_pfn(side) != rings.user_pfn(address)


@pytest.mark.parametrize("kind", ("io_uring", "xdp"))
def test_a_part_that_no_finder_knows_is_named(rings: Rings, kind: str) -> None:
    """These are private mappings, and io_uring's provided buffers since 6.4."""
    made = {(fact["part"], fact["address"]) for fact in rings.of(kind, "unknown")}
    found = rings.found(kind).unknown
    named = {(one.what, one.mapping.vma.start) for one in found if one.mapping.vma}
    assert named == made
    assert {one.kind for one in found} == {kind}


def test_finders_of_sockets_leave_each_other_s_sockets_alone(rings: Rings) -> None:
    finders = [finder for finder in FINDERS if finder.operations == ("socket_file_ops",)]
    assert [finder.kind for finder in finders] == ["packet", "xdp"]
    for order in (finders, finders[::-1]):
        found = find_shared(rings.view.target.prog, rings.view.paging, order, rings.pid)
        assert not found.unclaimed
        of_kind = {
            kind: {pages_of(one)[0] for one in found.claimed if one.finder.kind == kind}
            for kind in ("packet", "xdp")
        }
        assert of_kind == {
            kind: {vma["address"] for vma in rings.of(kind, "vma")} for kind in of_kind
        }
