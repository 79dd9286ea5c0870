# SPDX-License-Identifier: GPL-2.0-or-later
"""User halves and their VMAs: entries outside VMAs, rights beyond those of the VMA."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import Final

from pageproof.judge.audit.check import Check, Judged, judged
from pageproof.model import GAPS, Finding, Outcome, Range, Severity
from pageproof.model.auditfacts import AuditFacts, Need, UserFacts, UserSpace
from pageproof.model.rule import Rule
from pageproof.model.where import Where, in_space
from pageproof.space.spans import cut, pages_of

OUTSIDE: Final = Rule(
    id="user-outside-vma",
    severity=Severity.ERROR,
    sentence="a page-table entry of a process outside any VMA: munmap() and exit do not remove it, "
    "and the page is not accounted for",
    cause="A driver wrote the entries by hand, or they outlived their VMA because the tables were "
    "changed without the mm's locks.",
    fix="Map with vm_insert_page() or remap_pfn_range() into the VMA that mmap() was called for.",
    reference="mm/memory.c: unmap_vmas(), free_pgtables()",
)

RIGHTS: Final = Rule(
    id="user-rights-beyond-vma",
    severity=Severity.ERROR,
    sentence="a process can {what} where its VMA does not allow it",
    cause="A driver mapped with its own protection (PAGE_SHARED) instead of the VMA's "
    "vm_page_prot, or mprotect() did not change an entry.",
    fix="Pass vma->vm_page_prot to remap_pfn_range() or similar.",
    reference="mm/mmap.c: vm_get_page_prot(); mm/mprotect.c",
)

_READ, _WRITE, _EXEC = 1, 2, 4


def _users(facts: AuditFacts) -> UserFacts:
    assert facts.users is not None
    return facts.users


def undecided_of(users: UserFacts) -> str:
    """Return why findings about processes may be incomplete."""
    gaps = [f"{space.name}: {space.gap}" for space in users.spaces if space.gap]
    return "; ".join([*gaps[:3], *users.faults[:3]])


def _where(space: UserSpace, one: Range) -> Where:
    return in_space(space.name, one.start, one.last)


def _by_vma(space: UserSpace) -> Iterator[tuple[Range, int, int, int | None]]:
    """Yield the parts of each run, split where VMAs begin and end.

    Yields:
        the run, first and last address of the part, and ``vm_flags`` of its VMA; None for no VMA.
    """
    starts, ends, flags = space.vmas.starts, space.vmas.ends, space.vmas.vm_flags
    for run in space.runs:
        if run.outcome in GAPS or run.outcome is Outcome.NONE:
            continue
        at = run.start
        while at <= run.last:
            number = bisect_right(starts, at) - 1
            if number >= 0 and at < ends[number]:
                last = min(run.last, ends[number] - 1)
                yield run, at, last, flags[number]
            else:
                last = run.last
                if number + 1 < len(starts):
                    last = min(last, starts[number + 1] - 1)
                yield run, at, last, None
            at = last + 1


def _outside(space: UserSpace) -> Iterator[Finding]:
    for run, start, last, flags in _by_vma(space):
        if flags is None and run.shared_with is None:
            one = cut(run, start, last)
            shown = (("entries", str(one.outcome)), ("pages", str(pages_of(one))))
            yield OUTSIDE.finding(_where(space, one), shown)


def outside(facts: AuditFacts) -> Judged:
    """Find entries outside VMAs. While mmap_lock is held, munmap() may be about to clear them.

    munmap() removes the VMA first, and clears its entries before it releases the lock (mm/vma.c:
    vms_complete_munmap_vmas(), in mm/mmap.c before 6.12).
    """
    users = _users(facts)
    sure = (one for space in users.spaces if not space.is_locked for one in _outside(space))
    doubts = [
        f"{space.name}: entries outside its VMAs, while its mmap_lock is held"
        for space in users.spaces
        if space.is_locked and any(_outside(space))
    ]
    undecided = "; ".join(filter(None, [*doubts[:3], undecided_of(users)]))
    return judged(len(users.spaces), sure, undecided)


def _too_much(one: Range, vm_flags: int) -> str:
    """Return the access that the entry allows and the VMA does not; "" for none."""
    may = one.permissions
    if may is None or not may.access or not may.user or one.shared_with is not None:
        return ""
    if may.write and not vm_flags & _WRITE:
        return "write"
    if may.execute and not vm_flags & _EXEC:
        return "execute"
    return "" if vm_flags & (_READ | _WRITE | _EXEC) else "read"


def _beyond(users: UserFacts) -> Iterator[Finding]:
    for space in users.spaces:
        for run, start, last, flags in _by_vma(space):
            what = "" if flags is None else _too_much(run, flags)
            if what:
                yield RIGHTS.finding(_where(space, cut(run, start, last)), what=what)


def rights(facts: AuditFacts) -> Judged:
    """Compare rights. Entries may allow less than the VMA (copy-on-write, dirty tracking)."""
    users = _users(facts)
    vmas = sum(len(space.vmas) for space in users.spaces)
    return judged(vmas, _beyond(users), undecided_of(users))


CHECKS: Final = (
    Check(
        OUTSIDE, "entries of processes outside any VMA", "address spaces", (Need.USERS,), outside
    ),
    Check(RIGHTS, "entries that allow more than their VMA", "VMAs", (Need.USERS,), rights),
)
