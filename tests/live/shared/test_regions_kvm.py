# SPDX-License-Identifier: GPL-2.0-or-later
"""The finder of KVM's vcpus, on real virtual machines inside the guest.

tests/vm/shares_kvm.c makes them and describes them. The guest is stopped while it is read.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from attached import attached, frozen
from drgn import cast
from machine import Json, Machine, Result, each_kernel
from made import Made
from sharing import Everything, same_frames, verdicts_by_place

from pageproof.find.shared import Found, find_shared
from pageproof.find.shared.kvm import KVM
from pageproof.space.units import PAGE_BYTES

RUN, PIO, COALESCED, RING = 0, 1, 2, 64  # pages of the region
NO_TYPES = "no debug info for kvm.ko: install the kernel's debug package (Debian: linux-image-"
#: Of page 0: ``exit_reason`` KVM_EXIT_MMIO, then the address, data, length and direction.
STOPPED_FOR_MMIO = {8: (6).to_bytes(4, "little"), 32: (0x8000).to_bytes(8, "little") + b"Mmio"}

pytestmark = each_kernel


@dataclass(frozen=True)
class Vcpus(Made):
    """A stopped guest, the vcpus in it, and reports from before it was stopped.

    Attributes:
        verified: reports of verify, from inside and outside.
        untyped: report without debug info of KVM's types.
    """

    verified: Result
    untyped: Found

    def kernel_side(self, made: Json, page: int) -> int:
        """Return the frame of a page of the region."""
        return self.kernel_pfn(self.pages(made)[page])

    @property
    def has_ring(self) -> bool:
        return bool(self.view.target.prog.type("struct kvm_vcpu").has_member("dirty_ring"))


@pytest.fixture(scope="module")
def vcpus(machine: Machine, everything: Everything) -> Iterator[Vcpus]:
    said = everything.facts["kvm"]
    # kvm.ko's debug info is not needed: the kernel has its symbols, and vmlinux the types.
    verified = machine.outside("verify", "--kind", "kvm", "--format", "json")
    with frozen(machine), attached(machine) as view:
        blind = replace(KVM, claim=lambda vma: cast("struct kvm_vcpu_of_no_kernel *", vma))
        untyped = find_shared(view.target.prog, view.paging, [blind])
        yield Vcpus(view, {"kvm": said["pid"]}, said["regions"], verified, untyped)


def test_found_is_what_was_made(vcpus: Vcpus) -> None:
    assert vcpus.found("kvm") == vcpus.expected("kvm")


def test_both_sides_lead_to_one_frame(vcpus: Vcpus) -> None:
    for one in vcpus.made:
        if one["kind"] == "kvm" and one["label"] != "private":
            same_frames(vcpus.view, vcpus.claimed(one), one["touched"])


def test_what_the_process_wrote_is_read_through_the_kernels_address(vcpus: Vcpus) -> None:
    written = [(one, page) for one in vcpus.made for page in one["written"]]
    assert {one["first_page"] + page for one, page in written} >= {RUN, PIO, COALESCED}
    for one, page in written:
        region_page = one["first_page"] + page
        address = vcpus.pages(one)[region_page]
        assert address is not None
        text = f"pageproof {one['label']} {region_page}\0".encode()
        read = vcpus.view.target.prog.read(address + one["offset"], len(text))
        assert read == text, f"{one['label']}, page {page}"


def test_what_kvm_wrote_is_at_the_users_frame(vcpus: Vcpus) -> None:
    ran = [one for one in vcpus.made if one["label"] in ("ran", "ran-with-ring")]
    assert len(ran) == 1 + vcpus.has_ring
    for one in ran:
        for offset, said in STOPPED_FOR_MMIO.items():
            assert vcpus.user_bytes(one, RUN)[offset:].startswith(said)
        assert vcpus.user_bytes(one, PIO)[:4] == b"Port"
        ring = vcpus.user_bytes(one, COALESCED)
        assert ring[:8] == bytes([0, 0, 0, 0, 1, 0, 0, 0])  # an entry that was not consumed yet
        assert ring[8:16] == (0x9000).to_bytes(8, "little")
        assert ring[24:28] == b"Ring"


def test_mappings_of_one_vcpu_are_one_region(vcpus: Vcpus) -> None:
    (whole,), (part,) = vcpus.labelled("whole"), vcpus.labelled("part")
    (ran,) = vcpus.labelled("ran")
    assert vcpus.claimed(whole).claim.owner == vcpus.claimed(part).claim.owner
    assert vcpus.claimed(whole).claim.owner != vcpus.claimed(ran).claim.owner
    assert vcpus.kernel_side(whole, PIO) == vcpus.user_pfn(part, 0)


def test_vcpus_of_one_vm_share_one_page(vcpus: Vcpus) -> None:
    (ran,), (beside,) = vcpus.labelled("ran"), vcpus.labelled("beside")
    assert vcpus.claimed(ran).claim.owner != vcpus.claimed(beside).claim.owner
    assert [vcpus.claimed(one).claim.name for one in (ran, beside)] == ["KVM vcpu 0", "KVM vcpu 1"]
    frames = [[vcpus.kernel_side(one, page) for page in range(3)] for one in (ran, beside)]
    assert [ours == theirs for ours, theirs in zip(*frames, strict=True)] == [False, False, True]
    assert vcpus.user_pfn(beside, COALESCED) == vcpus.user_pfn(ran, COALESCED)


def test_a_page_that_nobody_touched(vcpus: Vcpus) -> None:
    (whole,), (part,) = vcpus.labelled("whole"), vcpus.labelled("part")
    assert vcpus.user_pfn(whole, COALESCED) is None
    assert vcpus.user_pfn(part, 1) is None
    assert vcpus.kernel_side(whole, COALESCED) is not None


def test_a_page_that_was_replaced_is_another(vcpus: Vcpus) -> None:
    first, last = vcpus.labelled("replaced")
    (page,) = vcpus.labelled("replaced-page")
    assert (first["pages"], last["first_page"]) == (PIO, COALESCED)
    assert vcpus.user_bytes(page, 0) == b"x" * PAGE_BYTES
    assert vcpus.user_pfn(page, 0) != vcpus.kernel_side(first, PIO)


def test_a_private_copy_is_another_page(vcpus: Vcpus) -> None:
    (private,) = vcpus.labelled("private")
    assert vcpus.user_pfn(private, RUN) == vcpus.kernel_side(private, RUN)
    assert vcpus.user_pfn(private, PIO) not in (None, vcpus.kernel_side(private, PIO))


def test_the_ring_of_dirty_pages(vcpus: Vcpus) -> None:
    """If the kernel has such rings, they have an entry for the page that the program wrote to.

    They may have an entry for its code too, as KVM makes pages writable before they are written.
    """
    if not vcpus.has_ring:
        assert not [one for one in vcpus.made if "ring" in one["label"]]
        return
    (ran,), (ring,) = vcpus.labelled("ran-with-ring"), vcpus.labelled("ring")
    (everything,) = vcpus.labelled("all")
    owners = {vcpus.claimed(one).claim.owner for one in (ran, ring, everything)}
    assert len(owners) == 1
    # struct kvm_dirty_gfn: flags, slot, and the page's number in the slot.
    entries = list(struct.iter_unpack("<IIQ", vcpus.user_bytes(ring, 0)[:64]))
    dirty = {page for flags, slot, page in entries if (flags, slot) == (1, 0)}
    assert {1} <= dirty <= {0, 1}
    assert entries[len(dirty) :] == [(0, 0, 0)] * (4 - len(dirty))
    assert vcpus.user_pfn(everything, RUN) == vcpus.kernel_side(ran, RUN)
    there = [page for page, side in enumerate(vcpus.pages(everything)) if side is not None]
    assert there == [RUN, PIO, COALESCED, *range(RING, RING + 4)]


def test_verify(vcpus: Vcpus) -> None:
    """The private copy is DIFFERENT, and all other touched pages are SAME."""
    assert (vcpus.verified.code, vcpus.verified.err) == (1, "")
    expected = {}
    for one in vcpus.made:
        if one["kind"] == "kvm":
            pages = ["not-present"] * one["pages"]
            for page in one["touched"]:
                pages[page] = "SAME"
            expected[one["pid"], one["address"]] = pages
    (private,) = vcpus.labelled("private")
    expected[private["pid"], private["address"]][PIO] = "DIFFERENT"
    assert verdicts_by_place(vcpus.verified.report) == expected


def test_without_any_types(vcpus: Vcpus) -> None:
    """The report names each VMA and a remedy, and has no verdicts for its pages."""
    assert vcpus.untyped.claimed == ()
    unclaimed = vcpus.untyped.unclaimed
    assert len(unclaimed) == len([one for one in vcpus.made if one["kind"] == "kvm"])
    assert {one.kind for one in unclaimed} == {"kvm"}
    assert all(one.message.startswith(NO_TYPES) for one in unclaimed), unclaimed[0].message
