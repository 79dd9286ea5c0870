# SPDX-License-Identifier: GPL-2.0-or-later
"""The bugs that tests/vm/audit makes in a guest, and what audit should say of each.

They are what drivers and exploits really did: remap_pfn_range() of pages that were freed then, of
kmalloc() memory, with PAGE_SHARED; uncached mappings of RAM; set_memory_x() of what stays writable;
a system call table made writable; page tables that are shared, exposed or forged.
"""

import re
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from machine import Json, Machine

#: Of the kernel's own tables: the rule that finds each.
KERNEL_BUGS = {
    "write-execute": "kernel-write-execute",
    "open-to-user": "kernel-open-to-user",
    "text-alias": "text-alias-writable",
    "rodata": "rodata-writable",
    "physmap-missing": "physmap-missing",
    "physmap-frame": "physmap-wrong-frame",
    "physmap-type": "physmap-type",
    "vmalloc-unowned": "vmalloc-unowned",
    "vmalloc-beyond": "vmalloc-wrong-page",
    "vmalloc-page": "vmalloc-wrong-page",
}
#: Of a process: made by a driver's mmap(), or in its tables by hand. In this order, as mmap() may
#: fail once tables are shared or exposed.
USER_BUGS = {
    "rights": "user-rights-beyond-vma",
    "table": "user-maps-table",
    "free": "frame-is-free",
    "slab": "shares-slab-page",
    "types": "memory-type-conflict",
    "free-listed": "frame-is-free",
    "stack": "user-maps-stack",
    "others": "frame-is-others",
    "outside": "user-outside-vma",
    "slab-counted": "user-maps-slab",
    "uncounted": "mapcount-wrong",
    "table-twice": "table-used-twice",
    "table-unmarked": "table-unmarked",
    "top-level": "kernel-half-differs",
}
BUGS = KERNEL_BUGS | USER_BUGS
#: What is true of a bug as well, now and then: without PTI the memory of the kernel's __init code,
#: which anybody may get, keeps its place in the image's own mapping.
ALSO = {"physmap-type": "memory-type-conflict"}
_DEVICE = "/dev/audit_bugs"


@dataclass(frozen=True)
class Made:
    """Bugs, or their sound twins, that are there now.

    Attributes:
        places: an address for each bug; a process's own for a user bug.
        pid: the process; None if only the kernel has some.
    """

    places: dict[str, int]
    pid: int | None


def make_bugs(machine: Machine, names: list[str], *, sound: bool = False) -> Made:
    """Make them."""
    _load_modules(machine)
    mode = 2 if sound else 1
    for name in names:
        if name in KERNEL_BUGS:
            machine.guest.check("sh", "-c", f"echo {name} {mode} > {_DEVICE}")
    places = {name: at for name, at in _listed(machine).items() if name in names}
    mine = [name for name in names if name in USER_BUGS]
    pid = None
    if mine:
        facts: Any = machine.start("audit_victim", "sound" if sound else "bug", *mine)
        pid = int(facts["pid"])
        places |= facts["places"]
    return Made(places, pid)


def make_places(machine: Machine, frames: dict[str, int]) -> dict[str, int]:
    """Odd entries of the kernel's that are no bugs of BUGS.

    Args:
        machine: whose guest.
        frames: physical addresses that they lead to, by name; 0 for those that have their own.

    Returns:
        Where they are, by name.
    """
    _load_modules(machine)
    for name, frame in frames.items():
        machine.guest.check("sh", "-c", f"echo {name} 1 {frame:x} > {_DEVICE}")
    return {name: at for name, at in _listed(machine).items() if name in frames}


def end_places(machine: Machine, places: Iterable[str]) -> None:
    """Put them right."""
    for name in places:
        machine.guest.check("sh", "-c", f"echo {name} 0 > {_DEVICE}")


def _load_modules(machine: Machine) -> None:
    """Load audit_bugs.ko, and the module that owns the page of the bug `others`, once a guest."""
    if machine.guest.run("test", "-e", _DEVICE).code:
        machine.load_test_module("audit_bugs")
        machine.load_test_module("shares_other")


def _listed(machine: Machine) -> dict[str, int]:
    lines = machine.guest.check("cat", _DEVICE).splitlines()
    rows = (line.split() for line in lines)
    return {name: int(place, 16) for name, mode, place in rows if mode != "0"}


def end_bugs(machine: Machine, made: Made) -> None:
    """Put all of it right, and wait until the process has done so."""
    if made.pid is not None:
        machine.guest.check("kill", f"-{int(signal.SIGTERM)}", str(made.pid))
        machine.wait_until_gone(made.pid)
    for name in made.places:
        if name in KERNEL_BUGS:
            machine.guest.check("sh", "-c", f"echo {name} 0 > {_DEVICE}")


def alarms(report: Json) -> list[Json]:
    """Findings that are more than notes."""
    found: list[Json] = [one for one in report["findings"] if one["severity"] != "note"]
    return found


def is_at(finding: Json, name: str, made: Made) -> bool:
    """Whether a finding is what a bug may be told by and names its place."""
    if finding["id"] not in (BUGS[name], ALSO.get(name)):
        return False
    if name == "top-level":
        return f"pid {made.pid} " in str(finding["where"])
    if name in USER_BUGS and f"pid {made.pid} " not in str(finding):
        return False
    text = " ".join([finding["where"], *(word for pair in finding["evidence"] for word in pair)])
    for first, last in re.findall(r"\b([0-9a-f]{4,16})(?:-([0-9a-f]{4,16}))?", text):
        if int(first, 16) <= made.places[name] <= int(last or first, 16):
            return True
    return False


def is_expected(report: Json, made: Made) -> None:
    """Each bug was found at its place, and nothing else was."""
    found = alarms(report)
    missed = [
        name
        for name in made.places
        if not any(one["id"] == BUGS[name] and is_at(one, name, made) for one in found)
    ]
    other = [one for one in found if not any(is_at(one, name, made) for name in made.places)]
    assert not missed, (missed, made, found)
    assert not other, (other, made)


def is_silent(report: Json) -> None:
    """No error, no warning, and every rule was decided."""
    assert alarms(report) == []
    assert [(one["rule"], one["reason"]) for one in report["outcomes"] if one["reason"]] == []
