# SPDX-License-Identifier: GPL-2.0-or-later
"""Real shared memory of all kinds, made by programs of tests/vm, and checks of its reports."""

from collections.abc import Collection
from dataclasses import dataclass

from attached import View
from machine import Json, Machine, number

from pageproof.find.shared import FINDERS, Claimed, find_shared, kernel_pages
from pageproof.space.units import PAGE_BYTES

#: A process and where one of its VMAs starts.
VmaStart = tuple[int, int]
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
    *("perf", "io_uring", "packet", "xdp", "aio", "bpf", "shmem", "hugetlb", "vdso"),
    *("kvm", "devmem", "pci", "uio"),
}
#: Their pages are copies, or the kernel has not mapped them; they have their own tests.
ODD = ("vdso-copied", "vvar", "vvar-timens", "private", "idle")


@dataclass(frozen=True)
class Everything:
    """The programs' descriptions of their memory, by name in PROGRAMS."""

    facts: dict[str, Json]

    @property
    def regions(self) -> list[Json]:
        """All regions but the rings."""
        return self.regions_of(*self.facts)

    def regions_of(self, *programs: str) -> list[Json]:
        """Return the regions of some programs."""
        return [region for name in programs for region in self.facts[name].get("regions", ())]

    @property
    def rings(self) -> list[Json]:
        return [fact for fact in self.facts["rings"]["facts"] if fact["is"] == "vma"]

    def touched(self) -> dict[VmaStart, list[int]]:
        """Return VMA -> touched pages of it that the kernel maps too."""
        pid = self.facts["rings"]["pid"]
        rings = {(pid, one["address"]): one["touched"] for one in self.rings}
        sound = [one for one in self.regions if one["kind"] != "none" and one["label"] not in ODD]
        return {**rings, **{(one["pid"], one["address"]): one["touched"] for one in sound}}

    @property
    def copied(self) -> dict[VmaStart, list[int]]:
        """VMA -> pages that the process has a private copy of: of the vDSO and of a vcpu."""
        pages = {"vdso": ("vdso-copied", 0), "kvm": ("private", 1)}
        return {
            (one["pid"], one["address"]): [page]
            for one in self.regions
            for kind, (label, page) in pages.items()
            if (one["kind"], one["label"]) == (kind, label)
        }

    @property
    def closed(self) -> VmaStart:
        """A page of a memfd that was written, then closed by mprotect(PROT_NONE)."""
        (one,) = (
            one
            for one in self.regions
            if (one["label"], one["first_page"], one["pages"]) == ("prot-none", 3, 1)
        )
        return one["pid"], one["address"]

    @property
    def idle(self) -> VmaStart:
        """A PCI resource that no driver has mapped."""
        (one,) = (one for one in self.regions if one["label"] == "idle")
        return one["pid"], one["address"]


def share_everything(machine: Machine) -> Everything:
    """Start all programs, with swap space, a tmpfs of huge pages, KVM and a UIO device.

    The programs stay. The pool for hugetlbfs comes from the command line: compacting memory for it
    later causes thousands of interrupts between CPUs, which stall an emulated guest on a busy host
    for half a minute.
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
    # Touched pages must stay in memory. A program has already swapped out the pages for swap space.
    machine.guest.check("sh", "-c", "echo 0 >/proc/sys/vm/swappiness")
    return everything


def verdicts_by_place(report: Json) -> dict[VmaStart, list[str]]:
    """Return the verdict, or its reason, of each page of each VMA in a report of `verify`."""
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
    """Check that all touched pages are SAME, and that exactly the copies are DIFFERENT.

    Args:
        report: of `verify`.
        everything: the shared memory in the guest.
        moving: memory is being compacted, so a page may be torn.
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
    """Check that only the copies, and the mapping that UIO has no map for, are reported."""
    of_pages = (one for proof in report["proofs"] for one in proof["findings"])
    alarms = [one for one in (*report["findings"], *of_pages) if one["severity"] != "note"]
    ids = sorted(one["id"] for one in alarms)
    assert ids == ["private-copy", "private-copy", "region-unreadable"], alarms
    (unread,) = [one for one in alarms if one["id"] == "region-unreadable"]
    assert "has no map 3" in str(unread["evidence"])


def closed_page_is_proven(report: Json, everything: Everything) -> None:
    """Check the closed page: its entry has a frame but not PRESENT, so SAME and a note, no more.

    drgn does not translate such an entry, so the second opinion is silent.
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
    # A dump omits the content of files.
    assert {one["id"] for one in proof["findings"]} - {"content-unreadable"} == {"prot-none"}
    evidence = proof["evidence"]
    assert evidence["user_walk"]["outcome"] == "prot-none"
    assert evidence["kernel_second"]["answer"] == "agrees"
    assert evidence["user_second"]["answer"] == "silent"
    assert {one["route"] for one in evidence["content"]} == {"kernel-virtual", "physical"}


def closed_page_is_walked(report: Json) -> None:
    """Check the report of `walk` of the closed page, which has its frame."""
    assert report["walk"]["outcome"] == "prot-none"
    assert report["walk"]["pfn"] is not None
    assert (report["second"]["answer"], report["disputed"]) == ("silent", False)


def walk_to_closed(everything: Everything) -> tuple[str, ...]:
    """Return the words of the `walk` of the closed page."""
    pid, address = everything.closed
    return "walk", hex(address), "--pid", str(pid)


def claimed_at(view: View, kind: str, pid: int, address: int) -> Claimed:
    """Return the claim of a kind's finder on the VMA that starts at an address of a process."""
    (finder,) = (one for one in FINDERS if one.kind == kind)
    found = find_shared(view.target.prog, view.paging, [finder], pid)
    assert not found.unclaimed, found.unclaimed
    assert not found.faults, found.faults
    starts = {one.mapping.vma.start: one for one in found.claimed if one.mapping.vma}
    assert address in starts, f"{kind}: nothing at {address:#x}: {sorted(map(hex, starts))}"
    return starts[address]


def same_frames(view: View, one: Claimed, touched: Collection[int]) -> None:
    """Check that both sides have the same frame in every present page of a VMA.

    Args:
        view: the guest.
        one: the claim on the VMA.
        touched: pages of the VMA that were touched and must be present.
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
