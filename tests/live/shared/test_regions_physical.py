# SPDX-License-Identifier: GPL-2.0-or-later
"""Finders of memory that is mapped by its physical address: /dev/mem, PCI resources, UIO.

tests/vm/shares_physical.c maps it and describes it; tests/vm/uio has a UIO device. The guests of
these tests boot with iomem=relaxed (tests/conftest.py).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from attached import attached, frozen
from machine import Json, Machine, Result, each_kernel, pageproof
from made import Made
from sharing import Everything, same_frames, verdicts_by_place

from pageproof.find.kernel.layout import physmap
from pageproof.find.shared import find_shared
from pageproof.find.shared.physical import kernel_sides
from pageproof.find.shared.uio import UIO
from pageproof.space.units import PAGE_BYTES

KINDS = ("devmem", "pci", "uio")
VERIFY = ("verify", "--format", "json", *(word for kind in KINDS for word in ("--kind", kind)))
#: Of the registers; the same on every PC.
HPET_PFN = 0xFED00

pytestmark = each_kernel


@dataclass(frozen=True)
class Physical(Made):
    """A stopped guest, the mappings in it, and reports from before it was stopped.

    Attributes:
        paths: address -> path of the mapped file, from procfs.
        bars: path of a BAR's file -> its first physical address, from sysfs.
        verified: report of verify with debug info of UIO.
        without: report of verify without debug info of UIO.
    """

    paths: dict[int, str]
    bars: dict[str, int]
    verified: Result
    without: Result

    def side(self, made: Json, page: int) -> int | None:
        """Return the kernel address of one page, as the region may have terabytes."""
        return self.pages(made)[int(made["first_page"]) + page]


def maps_paths(machine: Machine, pid: int) -> dict[int, str]:
    lines = machine.guest.check("cat", f"/proc/{pid}/maps").splitlines()
    fields = [line.split(None, 5) for line in lines]
    return {int(one[0].partition("-")[0], 16): one[5] for one in fields if len(one) == 6}


def sysfs_bars(machine: Machine) -> dict[str, int]:
    """Return the BARs that sysfs lists for each device: start, end, flags."""
    script = (
        "cd /sys/bus/pci/devices; for d in *; do echo $(cd $d && pwd -P); cat $d/resource; done"
    )
    bars, device, bar = {}, "", 0
    for line in machine.guest.check("sh", "-c", script).splitlines():
        if line.startswith("/"):
            device, bar = line, 0
            continue
        bars[f"{device}/resource{bar}"] = int(line.split()[0], 16)
        bar += 1
    return bars


@pytest.fixture(scope="module")
def shared(machine: Machine, everything: Everything) -> Iterator[Physical]:
    said = {kind: everything.facts[kind] for kind in KINDS}
    paths: dict[int, str] = {}
    for one in said.values():
        paths |= maps_paths(machine, one["pid"])
    bars = sysfs_bars(machine)
    verified = machine.outside(*VERIFY)
    # The lab has debug info of the kernel, found by its build ID, but not of its modules.
    target = "--qemu", str(machine.guest.sockets.qmp)
    without = pageproof(*target, "verify", "--format", "json", "--kind", "uio")
    with frozen(machine), attached(machine) as view:
        yield Physical(
            view,
            {kind: one["pid"] for kind, one in said.items()},
            [region for one in said.values() for region in one["regions"]],
            paths,
            bars,
            verified,
            without,
        )


@pytest.mark.parametrize("kind", KINDS)
def test_found_is_what_was_made(shared: Physical, kind: str) -> None:
    """Private mappings are not claimed, as a write to one makes a copy."""
    assert shared.found(kind) == shared.expected(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_both_sides_lead_to_one_frame(shared: Physical, kind: str) -> None:
    some = [one for one in shared.of_kind(kind) if one["label"] != "idle"]
    assert some
    for one in some:
        same_frames(shared.view, shared.claimed(one), one["touched"])


def test_the_offset_is_the_page_frame(shared: Physical) -> None:
    for one in shared.of_kind("devmem"):
        frames = [shared.user_pfn(one, page) for page in range(one["pages"])]
        assert frames == [one["first_page"] + page for page in range(one["pages"])]


def test_a_resource_is_its_devices(shared: Physical) -> None:
    """Its frames are at the BAR's address in sysfs, and its name is its file's."""
    for one in shared.of_kind("pci"):
        claim = shared.claimed(one).claim
        path = shared.paths[one["address"]]
        if one["label"] == "procfs":
            (driven,) = shared.labelled("driven")
            path = shared.paths[driven["address"]]
        assert path.endswith(claim.name.replace(" resource ", "/resource")), path
        first = shared.bars[path] // PAGE_BYTES + one["first_page"]
        frames = [shared.user_pfn(one, page) for page in range(one["pages"])]
        assert frames == [first + page for page in range(one["pages"])]
        assert claim.owner_type == "struct pci_dev"


@pytest.mark.parametrize("label", ["driven", "procfs", "hpet"])
def test_what_ioremap_mapped_is_the_kernels_side(shared: Physical, label: str) -> None:
    (made,) = shared.labelled(label)
    for page in range(made["pages"]):
        side = shared.side(made, page)
        assert side is not None
        assert side not in physmap(shared.view.target.prog)


def test_what_no_driver_holds_has_no_kernel_side(shared: Physical) -> None:
    """Its address in the physmap is not mapped."""
    (idle,) = shared.labelled("idle")
    side = shared.side(idle, 0)
    if side is not None:
        assert side in physmap(shared.view.target.prog)
        assert shared.view.engine.walk(shared.view.paging.kernel_root, side).pfn is None


def test_behind_the_physmap_is_nothing(shared: Physical) -> None:
    prog = shared.view.target.prog
    direct = physmap(prog)
    end = len(direct) // PAGE_BYTES
    assert list(kernel_sides(prog, end - 1, 2)) == [direct[-PAGE_BYTES], None]


def test_what_the_process_wrote_is_read_through_the_kernels_address(shared: Physical) -> None:
    written = [one for one in shared.made if one["written"]]
    assert {one["kind"] for one in written} == {"devmem", "uio"}
    for one in written:
        for page in one["written"]:
            side = shared.side(one, page)
            assert side is not None
            text = f"pageproof {one['label']} {one['first_page'] + page}\0".encode()
            assert shared.view.target.prog.read(side + one["offset"], len(text)) == text


def test_what_the_kernel_wrote_is_in_the_users_frame(shared: Physical) -> None:
    for label, page in (("logical", 0), ("virtual", 0), ("virtual", 2), ("physical", 0)):
        (made,) = shared.labelled(label)
        text = f"shares_uio {made['part'][:3]} {made['part'][3:]} page {page}\0".encode()
        assert shared.user_bytes(made, page).startswith(text)


@pytest.mark.parametrize("label", ["bios", "driven", "virtual"])
def test_the_next_page_is_another(shared: Physical, label: str) -> None:
    (made,) = shared.labelled(label)
    assert shared.user_pfn(made, 0) == shared.kernel_pfn(shared.side(made, 0))
    assert shared.user_pfn(made, 0) != shared.kernel_pfn(shared.side(made, 1))


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_that_was_replaced_is_another(shared: Physical, kind: str) -> None:
    first, *_ = shared.labelled("replaced", kind)
    page = next(
        one
        for one in shared.labelled("replaced-page")
        if one["address"] == first["address"] + first["pages"] * PAGE_BYTES
    )
    assert shared.user_bytes(page, 0) == b"x" * PAGE_BYTES
    side = shared.side(first, first["pages"])
    assert shared.user_pfn(page, 0) != shared.kernel_pfn(side)


def test_the_rest_of_a_split_mapping_is_undecided(shared: Physical) -> None:
    """Its offset gives the number of a map that the device does not have."""
    (split,) = shared.labelled("split")
    found = find_shared(shared.view.target.prog, shared.view.paging, [UIO], split["pid"])
    assert not found.claimed
    (one,) = found.unclaimed
    assert "has no map 3" in one.message


def test_verify_by_the_command_line(shared: Physical) -> None:
    """All pages are SAME, but those of an idle BAR and of a split mapping are undecided."""
    report = shared.verified.report
    assert shared.verified.code == 3, shared.verified.err
    assert report["summary"]["different"] == 0
    said = {place: set(pages) for place, pages in verdicts_by_place(report).items()}
    made = [one for one in shared.made if one["kind"] in KINDS]
    assert said.keys() == {(one["pid"], one["address"]) for one in made}
    for one in made:
        verdicts = said[one["pid"], one["address"]]
        if one["label"] == "idle":
            assert verdicts == {"no-kernel-side"}
        else:
            assert "SAME" in verdicts
            assert verdicts <= {"SAME", "not-present"}
    errors = [one["id"] for one in report["findings"] if one["severity"] != "note"]
    assert errors == ["region-unreadable"]


def test_a_devices_memory_is_not_read(shared: Physical) -> None:
    """QEMU's monitor would read from the device, which changes some registers."""
    report = shared.verified.report
    kinds = [region["kind"] for region in report["regions"]]
    read: dict[tuple[str, bool], set[bool]] = {}
    for evidence in (proof["evidence"] for proof in report["proofs"]):
        place = kinds[evidence["region"]], evidence["page_index"] == HPET_PFN
        seen = {one["sha256"] is not None for one in evidence["content"]}
        read.setdefault(place, set()).update(seen)
    assert read[("pci", False)] == read[("devmem", True)] == {False}
    assert read[("uio", False)] == read[("devmem", False)] == {True}


def test_without_debug_info_of_uio(shared: Physical) -> None:
    report = shared.without.report
    assert (shared.without.code, report["regions"]) == (3, [])
    unread = [one for one in report["findings"] if one["id"] == "region-unreadable"]
    mapped = {one["address"] for one in shared.made if one["kind"] == "uio"}
    assert len(unread) == len(mapped) + 1
    for one in unread:
        assert re.search("no debug info for uio.ko: install", str(one["evidence"]))
