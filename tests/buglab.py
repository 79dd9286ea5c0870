# SPDX-License-Identifier: GPL-2.0-or-later
"""The bug lab: the real bugs that tests/vm/shares_bugs.c makes, and the expected findings of each.

Each bug has a sound twin, for which no finding is expected. docs/bugs.md describes the bugs.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from machine import ONE_A_KERNEL, Json
from sharing import VmaStart, verdicts_by_place

SAME, DIFFERENT = "SAME", "DIFFERENT"
BEYOND, ABSENT = "no-kernel-side", "not-present"
#: Parts of node IDs whose tests share a guest. The bug lab needs its own, as bugs cannot be undone.
GUESTS = tuple(f"{setup.kernel}-bugs" for setup in ONE_A_KERNEL)
#: Pages of a region; some cases map only one of them.
REGION_PAGES = 4
#: The kernel side of a case: one expression for all of them.
KERNEL = 'cast("struct shares_bugs_case *", file.private_data).kernel'
PLAIN = "/dev/shares_bugs"
#: Expectations (--expect) of the author of each device's driver.
DEVICES: dict[str, tuple[str, ...]] = {
    PLAIN: (),
    f"{PLAIN}_read_only": ("read-only",),
    f"{PLAIN}_no_child": ("no-child",),
    f"{PLAIN}_no_exec": ("no-exec",),
}


@dataclass(frozen=True)
class Bug:
    """One bug, and the expected result of verify.

    Attributes:
        name: name of the case in tests/vm/shares_bugs.c.
        verdicts: verdict of each page of the mapping.
        rules: ids of findings; at least one of them is reported.
        also: ids of findings that are correct too, and may be reported.
        twin: verdicts of its sound twin.
        cannot: kernel -> reason why this kernel cannot have the bug.
    """

    name: str
    verdicts: tuple[str, ...]
    rules: frozenset[str]
    also: frozenset[str] = frozenset()
    twin: tuple[str, ...] = (SAME,) * REGION_PAGES
    cannot: dict[str, str] = field(default_factory=dict)


def _bug(
    name: str,
    rules: str,
    verdicts: Sequence[str] = (SAME,) * REGION_PAGES,
    *,
    also: str = "",
    twin: Sequence[str] | None = None,
    cannot: dict[str, str] | None = None,
) -> Bug:
    return Bug(
        name,
        tuple(verdicts),
        frozenset(rules.split()),
        frozenset(also.split()),
        tuple(twin or (SAME,) * min(REGION_PAGES, len(verdicts))),
        cannot or {},
    )


_NO_POISON = "CONFIG_MEMORY_FAILURE is not set: there is no PG_hwpoison (EOPNOTSUPP)"
_ONE = (SAME,)
_SOME_BEYOND = (SAME,) * REGION_PAGES + (BEYOND, BEYOND)

BUGS: tuple[Bug, ...] = (
    # frames
    _bug("wrong-frame", "wrong-frame", (SAME, SAME, DIFFERENT, SAME)),
    _bug("wrong-order", "wrong-order", (DIFFERENT,) * 4),
    _bug("off-by-one", "off-by-one", (DIFFERENT,) * 4),
    _bug("taken-for-contiguous", "taken-for-contiguous", (SAME, *(DIFFERENT,) * 3)),
    _bug("length-unchecked", "mapping-beyond-region", _SOME_BEYOND),
    _bug("offset-unchecked", "mapping-beyond-region", (SAME, SAME, BEYOND, BEYOND), twin=_ONE * 2),
    _bug("grown", "mapping-beyond-region", _SOME_BEYOND),
    _bug("partial", "mapping-incomplete", (SAME, SAME, ABSENT, ABSENT)),
    _bug("private-copy", "private-copy", (SAME, DIFFERENT, SAME, SAME)),
    _bug("zero-page", "zero-page", (SAME, DIFFERENT, SAME, SAME)),
    # life
    _bug("freed", "frame-is-free"),
    _bug("freed-to-slab", "frame-is-others shares-slab-page", _ONE, also="object-is-free"),
    _bug("freed-to-anonymous", "frame-is-others", _ONE),
    _bug("freed-to-cache", "frame-is-others", _ONE),
    _bug("poisoned", "frame-is-poisoned", cannot={"5.10": _NO_POISON, "6.1": _NO_POISON}),
    _bug("reference-dropped", "only-mappings-hold-it"),
    _bug("tails-not-held", "only-mappings-hold-it"),
    _bug("mapcount-lost", "mapcount-wrong"),
    _bug("operations-gone", "operations-gone"),
    _bug("region-freed", "region-is-freed"),
    _bug("object-freed", "object-is-free", _ONE),
    # exposure
    _bug("sub-page", "shares-slab-page", _ONE),
    _bug("inherited", "inherited", also="may-be-inherited"),
    _bug("may-inherit", "may-be-inherited"),
    # rights
    _bug("writable", "writable-read-only"),
    _bug("may-write", "may-become-writable"),
    _bug("executable", "user-mapping-executable"),
    _bug("may-execute", "may-become-executable"),
    _bug("kernel-reads", "user-writes-kernel-read-only"),
    _bug(
        "kernel-executes",
        "user-writes-kernel-executes",
        _ONE,
        also="user-writes-kernel-read-only",
    ),
    _bug("kernel-open", "kernel-open-to-user"),
    _bug("user-closed", "user-address-closed-to-user"),
    # memory type
    _bug("uncached", "memory-type-conflict"),
    _bug("write-combining", "memory-type-conflict"),
    _bug("physmap-uncached", "memory-type-conflict"),
    # VMA
    _bug("raw-frame", "raw-frame-in-ordinary-vma"),
    _bug("pfnmap-by-hand", "pfnmap-flags"),
    # owners
    _bug("freed-listed", "frame-is-free", _ONE),
    _bug("freed-to-stack", "user-maps-stack", _ONE),
    _bug("kernel-stack", "user-maps-stack"),
    _bug("others-page", "frame-is-others", _ONE),
    # objects
    _bug("beyond-object", "mapping-beyond-region", (SAME, *(BEYOND,) * 3)),
    _bug("beyond-area", "mapping-beyond-region", (SAME, SAME, ABSENT, BEYOND)),
)


#: Rules of verify that no bug of the lab triggers, with the reason.
NOT_MADE: dict[str, str] = {
    "second-opinion-kernel": "a bug of pageproof or of drgn",
    "second-opinion-user": "a bug of pageproof or of drgn",
    "rule-broken": "a bug of pageproof",
    "content-routes-differ": "a dump that changed while it was written, or a bug of a reader",
    "content-changing": "a note: the content is written all the time",
    "content-all-zero": "a note: the content was never written",
    "content-unreadable": "a note: the dump omits the page, or it is device memory",
    "prot-none": "a note: the process asked for it",
    "data-damaged": "tests/live/shared/test_inside.py has it: an entry with an impossible frame",
    "user-maps-table": "tests/auditbugs.py has it, in a process that audit checks",
}


@dataclass(frozen=True)
class Made:
    """A case as the program and the kernel describe it.

    Attributes:
        facts: the program's description of it.
    """

    facts: Json

    @property
    def place(self) -> VmaStart:
        return self.facts["pid"], self.facts["address"]

    @property
    def pids(self) -> set[int]:
        """The process that maps it, and a child that inherited the mapping."""
        return {self.facts["pid"], self.facts["child"]} - {0}

    @property
    def frames(self) -> list[int | None]:
        """The user side's frames, by the kernel's own walk."""
        return [frame(entry) if entry & 1 else None for entry in self.facts["user_entries"]]

    @property
    def region(self) -> list[int]:
        """The region's frames, as the driver lists them."""
        return [pfn for pfn in self.facts["region_pfns"] if pfn]

    @property
    def belongs(self) -> list[int | None]:
        """The frame that belongs at each page of the mapping; None beyond the end of the region."""
        first, region = self.facts["first_page"], self.region
        return [
            region[first + page] if first + page < len(region) else None
            for page in range(self.facts["pages"])
        ]

    @property
    def vm_flags(self) -> set[str]:
        """VM flags as /proc/PID/smaps shows them."""
        return set(self.facts["vm_flags"].split())

    def all_users(self, bit: int) -> set[bool]:
        """Return the values of a bit in all present user entries."""
        return {bool(entry & bit) for entry in self.facts["user_entries"] if entry & 1}

    def all_kernels(self, bit: int, entries: str = "kernel_entries") -> set[bool]:
        """Return the values of a bit in the kernel entries of the region's pages."""
        count = len(self.region)
        return {bool(entry & bit) for entry in self.facts[entries][:count]}

    def page_flag(self, number: int) -> list[bool]:
        """Return a flag of /proc/kpageflags for the frame of each page of the mapping."""
        return [bool(flags >> number & 1) for flags in self.facts["page_flags"]]


def kernel_frame(made: Made, page: int) -> int:
    """Return the frame of a page of the region, by the kernel's own walk."""
    entry: int = made.facts["kernel_entries"][page]
    level: int = made.facts["kernel_levels"][page]
    kernel: int = made.facts["kernel"]
    inside = (1 << 9 * (level - 1)) - 1  # pages of the leaf
    return frame(entry) & ~inside | (kernel >> 12) + page & inside


def frame(entry: int) -> int:
    """Return the PFN of a page-table entry: bits 51:12 (Intel SDM 3A, table 4-20)."""
    return entry >> 12 & (1 << 40) - 1


def verdicts(made: Made) -> tuple[str, ...]:
    """Return the verdicts of a mapping by the kernel's own data."""
    pairs = zip(made.frames, made.belongs, strict=True)
    return tuple(_verdict(there, belongs) for there, belongs in pairs)


def _verdict(there: int | None, belongs: int | None) -> str:
    if there is None:
        return ABSENT
    if belongs is None:
        return BEYOND
    return SAME if there == belongs else DIFFERENT


@dataclass(frozen=True)
class Reports:
    """Reports of verify on all devices of one target.

    Attributes:
        reports: device -> report.
    """

    reports: dict[str, Json]

    def verdicts(self, made: Made) -> tuple[str, ...]:
        """Return the verdict of each page of a case's mapping."""
        places = verdicts_by_place(self.reports[made.facts["device"]])
        return tuple(places[made.place])

    def findings(self, made: Made, severities: Collection[str]) -> set[str]:
        """Return the ids of the findings about a case. Each case has its own processes."""
        return {
            one["id"]
            for one in every_finding(self.reports[made.facts["device"]])
            if one["severity"] in severities and _pid(one) in made.pids
        }

    def of_nobody(self, cases: Collection[Made]) -> list[Json]:
        """Return errors and warnings that are not about any of the cases."""
        pids = {pid for case in cases for pid in case.pids}
        return [
            one
            for report in self.reports.values()
            for one in every_finding(report)
            if one["severity"] != "note" and _pid(one) not in pids
        ]


def every_finding(report: Json) -> list[Json]:
    """Return the findings of a report, including those of its pages."""
    return [*report["findings"], *(one for proof in report["proofs"] for one in proof["findings"])]


def _pid(finding: Json) -> int:
    pid = re.search(r"\bpid (\d+)", finding["where"])
    return int(pid[1]) if pid else 0
