# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory of all kinds that programs of tests/vm share for real, and what is to be said of it."""

from collections.abc import Collection
from dataclasses import dataclass

from attached import View
from machine import Json, Machine, number

from pageproof.find.shared import FINDERS, Claimed, find_shared, kernel_pages
from pageproof.space.units import PAGE_BYTES

#: A process and where one of its VMAs starts.
Place = tuple[int, int]
DIRECTORY = "/run/maps"
SWAP = "/swap"
PROGRAMS = {
    "rings": ("shares_rings",),
    "shmem": ("shares_shmem", DIRECTORY),
    "buffers": ("shares_buffers",),
    "bpf": ("shares_maps", "bpf"),
    "vdso": ("shares_maps", "vdso"),
    "kvm": ("shares_kvm",),
    "devmem": ("shares_physical", "devmem"),
    "pci": ("shares_physical", "pci"),
    "uio": ("shares_physical", "uio"),
}
KINDS = {
    *("perf", "io_uring", "packet", "aio", "bpf", "shmem", "hugetlb", "vdso"),
    *("kvm", "devmem", "pci", "uio"),
}
#: These have pages that are not the kernel's, or that it has not mapped, and tests of their own.
ODD = ("vdso-copied", "vvar", "vvar-timens", "private", "idle")


@dataclass(frozen=True)
class Everything:
    """What the programs said, by their names in PROGRAMS."""

    said: dict[str, Json]

    @property
    def regions(self) -> list[Json]:
        """All that is no ring."""
        return self.regions_of(*self.said)

    def regions_of(self, *programs: str) -> list[Json]:
        """Those of some programs."""
        return [region for name in programs for region in self.said[name].get("regions", ())]

    @property
    def rings(self) -> list[Json]:
        return [fact for fact in self.said["rings"]["facts"] if fact["is"] == "vma"]

    def touched(self) -> dict[Place, list[int]]:
        """Pages of a VMA that are the kernel's, by the VMA."""
        pid = self.said["rings"]["pid"]
        rings = {(pid, one["address"]): one["touched"] for one in self.rings}
        sound = [one for one in self.regions if one["kind"] != "none" and one["label"] not in ODD]
        return {**rings, **{(one["pid"], one["address"]): one["touched"] for one in sound}}

    @property
    def copied(self) -> dict[Place, list[int]]:
        """Pages that a process has for itself: of the vDSO, and of a vcpu."""
        pages = {"vdso": ("vdso-copied", 0), "kvm": ("private", 1)}
        return {
            (one["pid"], one["address"]): [page]
            for one in self.regions
            for kind, (label, page) in pages.items()
            if (one["kind"], one["label"]) == (kind, label)
        }

    @property
    def closed(self) -> Place:
        """A page of a memfd that was written, then closed by mprotect(PROT_NONE)."""
        (one,) = (
            one
            for one in self.regions
            if (one["label"], one["first_page"], one["pages"]) == ("prot-none", 3, 1)
        )
        return one["pid"], one["address"]

    @property
    def idle(self) -> Place:
        """A PCI resource that no driver has mapped."""
        (one,) = (one for one in self.regions if one["label"] == "idle")
        return one["pid"], one["address"]


def share_everything(machine: Machine) -> Everything:
    """Start all programs, with swap space, a tmpfs of huge pages, KVM and a UIO device; they stay.

    The guest has a pool for hugetlbfs from its start. To compact memory for one is thousands of
    interrupts from CPU to CPU, which on a busy host hold an emulated guest up for half a minute.
    """
    machine.guest.check(
        *("sh", "-ec"),
        f"dd if=/dev/zero of={SWAP} bs=1M count=8; chmod 600 {SWAP}; mkswap {SWAP}; swapon {SWAP};"
        f"mkdir -p {DIRECTORY}; mount -t tmpfs maps {DIRECTORY};"
        f"mkdir {DIRECTORY}/huge; mount -t tmpfs -o huge=always maps {DIRECTORY}/huge",
    )
    machine.guest.check("sh", "-ec", "modprobe kvm-amd || modprobe kvm-intel; modprobe uio")
    machine.load_test_module("shares_uio")
    everything = Everything({name: machine.start(*words) for name, words in PROGRAMS.items()})
    # What they touched is to stay: one has swapped out itself what is to be in swap space.
    machine.guest.check("sh", "-c", "echo 0 >/proc/sys/vm/swappiness")
    return everything


def verdicts_by_place(report: Json) -> dict[Place, list[str]]:
    """The verdict, or its reason, of each page of each VMA that `verify` reported."""
    found = {}
    for region in report["regions"]:
        for use in region["uses"]:
            mapping = report["mappings"][use["mapping"]]
            start, end = (number(mapping["vma"][key]) for key in ("start", "end"))
            pages = [
                run["reason"] or run["verdict"] for run in use["runs"] for _ in range(run["pages"])
            ]
            assert len(pages) == (end - start) // PAGE_BYTES
            found[mapping["pid"], start] = pages
    return found


def is_proven(report: Json, everything: Everything, *, moving: bool = False) -> None:
    """What was touched is SAME; what differs are the pages that are copies, and nothing else.

    Args:
        report: of verify.
        everything: what there is.
        moving: memory is compacted, so that a page may be on its way just then.
    """
    verdicts = verdicts_by_place(report)
    expected = {"SAME", "torn"} if moving else {"SAME"}
    assert {region["kind"] for region in report["regions"]} >= KINDS
    for place, touched in everything.touched().items():
        pages = verdicts[place]
        assert {pages[page] for page in touched} <= expected, (place, pages)
    differing = {
        place: [page for page, said in enumerate(pages) if said == "DIFFERENT"]
        for place, pages in verdicts.items()
        if "DIFFERENT" in pages
    }
    assert differing == everything.copied
    assert set(verdicts[everything.idle]) == {"no-kernel-side"}


def is_silent(report: Json) -> None:
    """No alarm but of the copies, and of the mapping of which UIO itself can't tell any more."""
    of_pages = (one for proof in report["proofs"] for one in proof["findings"])
    alarms = [one for one in (*report["findings"], *of_pages) if one["severity"] != "note"]
    ids = sorted(one["id"] for one in alarms)
    assert ids == ["private-copy", "private-copy", "region-unreadable"], alarms
    (unread,) = [one for one in alarms if one["id"] == "region-unreadable"]
    assert "has no map 3" in str(unread["evidence"])


def closed_page_is_proven(report: Json, everything: Everything) -> None:
    """An entry without PRESENT that names the frame: SAME, and a note; nothing about rights.

    drgn has no opinion of it, which is no contradiction.
    """
    (proof,) = (
        one
        for one in report["proofs"]
        if (
            report["mappings"][one["evidence"]["mapping"]]["pid"],
            number(one["evidence"]["user_address"]),
        )
        == everything.closed
    )
    assert proof["verdict"] == "SAME"
    # A dump leaves the content of files out.
    assert {one["id"] for one in proof["findings"]} - {"content-unreadable"} == {"prot-none"}
    evidence = proof["evidence"]
    assert evidence["user_walk"]["outcome"] == "prot-none"
    assert evidence["kernel_second"]["answer"] == "agrees"
    assert evidence["user_second"]["answer"] == "silent"
    assert {one["route"] for one in evidence["content"]} == {"kernel-virtual", "physical"}


def closed_page_is_walked(report: Json) -> None:
    """`walk` of that page, which names its frame."""
    assert report["walk"]["outcome"] == "prot-none"
    assert report["walk"]["pfn"] is not None
    assert (report["second"]["answer"], report["disputed"]) == ("silent", False)


def walk_to_closed(everything: Everything) -> tuple[str, ...]:
    """Words of that `walk`."""
    pid, address = everything.closed
    return "walk", hex(address), "--pid", str(pid)


def claimed_at(view: View, kind: str, pid: int, address: int) -> Claimed:
    """What the finder of a kind makes of the VMA of a process that starts at an address."""
    (finder,) = (one for one in FINDERS if one.kind == kind)
    found = find_shared(view.target.prog, view.paging, [finder], pid)
    assert not found.unclaimed, found.unclaimed
    assert not found.faults, found.faults
    starts = {one.mapping.vma.start: one for one in found.claimed if one.mapping.vma}
    assert address in starts, f"{kind}: nothing at {address:#x}: {sorted(map(hex, starts))}"
    return starts[address]


def same_frames(view: View, one: Claimed, touched: Collection[int]) -> None:
    """Both sides lead to one frame, in every page of the VMA that has one.

    Args:
        touched: pages of the VMA that were touched: they have a frame for sure.
    """
    assert one.mapping.vma is not None
    sides = kernel_pages(view.target.prog, one)
    assert len(sides) == one.claim.pages
    seen = set()
    for page in range(one.mapping.vma.pages):
        user = view.engine.walk(one.mapping.root, one.mapping.vma.start + page * PAGE_BYTES)
        if user.pfn is None:
            continue
        seen.add(page)
        address = sides[one.claim.first_page + page]
        assert address is not None, f"page {page} of {one.claim.name} has no kernel side"
        kernel = view.engine.walk(view.paging.kernel_root, address)
        assert kernel.pfn == user.pfn, f"page {page} of {one.claim.name}"
    assert set(touched) <= seen, f"{one.claim.name}: touched {touched}, mapped {seen}"
