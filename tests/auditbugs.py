# SPDX-License-Identifier: GPL-2.0-or-later
"""The bugs that tests/vm/audit makes in a guest, and the rule of audit that finds each.

Real drivers and exploits had them: remap_pfn_range() of pages that are freed later, of kmalloc()
memory, or with PAGE_SHARED; uncached mappings of RAM; set_memory_x() of writable memory; a writable
system call table; page tables that are shared, exposed or forged.
"""

import re
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from machine import Json, Machine

#: Bugs in the kernel's own tables: name -> rule that finds it.
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
#: Bugs of a process, made by a driver's mmap() or written into its tables. The order matters, as
#: mmap() may fail once tables are shared or exposed.
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
#: Findings that are correct for a bug too and appear sometimes: without PTI, freed memory of the
#: kernel's __init code stays mapped by the image and can be allocated for anything.
ALSO = {"physmap-type": "memory-type-conflict"}
_DEVICE = "/dev/audit_bugs"


@dataclass(frozen=True)
class Made:
    """Bugs, or their sound twins, that are in the guest now.

    Attributes:
        places: name of a bug -> its address, in the process for a user bug.
        pid: the process with the user bugs; None if there are only kernel bugs.
    """

    places: dict[str, int]
    pid: int | None


def make_bugs(machine: Machine, names: list[str], *, sound: bool = False) -> Made:
    """Make bugs, or their sound twins, in a guest."""
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
    """Make unusual kernel entries that are not in BUGS.

    Args:
        machine: its guest is used.
        frames: name -> physical address that the entry leads to; 0 if it has its own.

    Returns:
        Name -> address of the entry's page.
    """
    _load_modules(machine)
    for name, frame in frames.items():
        machine.guest.check("sh", "-c", f"echo {name} 1 {frame:x} > {_DEVICE}")
    return {name: at for name, at in _listed(machine).items() if name in frames}


def end_places(machine: Machine, places: Iterable[str]) -> None:
    """Undo `make_places`."""
    for name in places:
        machine.guest.check("sh", "-c", f"echo {name} 0 > {_DEVICE}")


def _load_modules(machine: Machine) -> None:
    """Load audit_bugs.ko, and the module that owns the page of the bug `others`, once per guest."""
    if machine.guest.run("test", "-e", _DEVICE).code:
        machine.load_test_module("audit_bugs")
        machine.load_test_module("shares_other")


def _listed(machine: Machine) -> dict[str, int]:
    lines = machine.guest.check("cat", _DEVICE).splitlines()
    rows = (line.split() for line in lines)
    return {name: int(place, 16) for name, mode, place in rows if mode != "0"}


def end_bugs(machine: Machine, made: Made) -> None:
    """Undo all bugs, and wait until the process has done so and ended."""
    if made.pid is not None:
        machine.guest.check("kill", f"-{int(signal.SIGTERM)}", str(made.pid))
        machine.wait_until_gone(made.pid)
    for name in made.places:
        if name in KERNEL_BUGS:
            machine.guest.check("sh", "-c", f"echo {name} 0 > {_DEVICE}")


def alarms(report: Json) -> list[Json]:
    """Return the errors and warnings."""
    found: list[Json] = [one for one in report["findings"] if one["severity"] != "note"]
    return found


def is_at(finding: Json, name: str, made: Made) -> bool:
    """Whether a finding has a rule of this bug and names its address."""
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
    """Check that each bug was found at its address, and nothing else was found."""
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
    """Check that there is no error or warning and that every rule was decided."""
    assert alarms(report) == []
    assert [(one["rule"], one["reason"]) for one in report["outcomes"] if one["reason"]] == []
