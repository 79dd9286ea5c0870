# SPDX-License-Identifier: GPL-2.0-or-later
"""The rights of the kernel's own mappings: W^X, read-only data, the user bit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from pageproof import arch
from pageproof.judge.audit.check import Check, Judged, addresses, bytes_shown, judged
from pageproof.judge.conditions import OPEN_TO_USER, WRITE_EXECUTE
from pageproof.model import Finding, Permissions, Range, Severity
from pageproof.model.auditfacts import AuditFacts, Need
from pageproof.model.rule import Rule
from pageproof.space.spans import is_mapped, joined, pages_of, span_of, within
from pageproof.space.units import PAGE_SHIFT

READ_ONLY: Final = Rule(
    id="rodata-writable",
    severity=Severity.ERROR,
    sentence="the kernel's text or read-only data is writable: its code, constants and tables of "
    "operations can be changed",
    cause="set_memory_rw() on the image, as rootkits and some out-of-tree modules do to patch the "
    "system call table, or mark_rodata_ro() did not reach it.",
    fix="Patch code only with text_poke() or similar; do not change read-only data.",
    reference="arch/x86/mm/init_64.c: mark_rodata_ro()",
)

TEXT_ALIAS: Final = Rule(
    id="text-alias-writable",
    severity=Severity.ERROR,
    sentence="memory that the kernel executes or holds read-only at another address is writable in "
    "the direct map",
    cause="set_memory_ro() changes the direct map's alias too (cpa_process_alias()); the alias was "
    "made writable again, or the attributes were set by hand.",
    fix="Change attributes with set_memory_*() on the mapping itself, never in the direct map.",
    reference="arch/x86/mm/pat/set_memory.c: cpa_process_alias()",
)


def _kernel(facts: AuditFacts) -> tuple[Range, ...]:
    assert facts.kernel is not None
    return facts.kernel


def _bad(
    rule: Rule, ranges: Iterable[Range], wrong: Callable[[Permissions], bool]
) -> Iterator[Finding]:
    spans = (
        span_of(one)
        for one in ranges
        if is_mapped(one) and one.permissions is not None and wrong(one.permissions)
    )
    for span in joined(spans):
        yield rule.finding(addresses(span), bytes_shown(span))


def write_execute(facts: AuditFacts) -> Judged:
    """Find what ``check_wx`` finds at boot."""
    ranges = [one for one in _kernel(facts) if is_mapped(one)]
    found = _bad(WRITE_EXECUTE, ranges, lambda may: may.write and may.execute)
    return judged(sum(map(pages_of, ranges)), found)


def user_bit(facts: AuditFacts) -> Judged:
    """Check the kernel's tables, and with PTI the kernel memory in user mode's tables."""
    assert facts.layout is not None
    vsyscall = facts.layout.vsyscall
    ranges = [
        one
        for one in (*_kernel(facts), *(facts.user_half or ()))
        if is_mapped(one) and one.start != vsyscall
    ]
    found = _bad(OPEN_TO_USER, ranges, lambda may: may.user)
    return judged(sum(map(pages_of, ranges)), found)


def read_only(facts: AuditFacts) -> Judged:
    """Check text and read-only data in the image's mapping."""
    image = facts.image
    assert image is not None
    if not image.read_only:
        return Judged(0, undecided="booted with rodata=off: the kernel leaves it writable")
    ranges = [
        one
        for part in (image.text, image.rodata)
        for one in within(_kernel(facts), part.start, part.end)
        if is_mapped(one)
    ]
    found = _bad(READ_ONLY, ranges, lambda may: may.write)
    return judged(sum(map(pages_of, ranges)), found)


def text_alias(facts: AuditFacts) -> Judged:
    """Check the direct map's alias of all that the kernel executes or holds read-only."""
    image, layout = facts.image, facts.layout
    assert image is not None
    assert layout is not None
    if not image.read_only:
        return Judged(0, undecided="booted with rodata=off: the kernel leaves it writable")
    row = arch.of(facts.target.arch).row_of(layout, "physmap")
    executed = [
        one
        for one in _kernel(facts)
        if is_mapped(one) and one.permissions is not None
        # kernel-write-execute reports memory that is writable at this address.
        if one.permissions.execute and not one.permissions.write
    ]
    data = list(within(_kernel(facts), image.rodata.start, image.rodata.end))
    spans = sorted(
        {
            (base, base + one.last + 1 - one.start)
            for one in (*executed, *data)
            if one.frame is not None
            for base in [layout.page_offset_base + one.frame]
            if base < row.last
        }
    )
    aliases = [one for start, end in spans for one in within(_kernel(facts), start, end)]
    found = _bad(TEXT_ALIAS, aliases, lambda may: may.write)
    pages = sum(end - start for start, end in spans) >> PAGE_SHIFT
    return judged(pages, found)


_KERNEL: Final = (Need.KERNEL,)
CHECKS: Final = (
    Check(
        WRITE_EXECUTE,
        "kernel memory that is writable and executable",
        "pages",
        _KERNEL,
        write_execute,
    ),
    Check(READ_ONLY, "writable text or read-only data", "pages", (*_KERNEL, Need.IMAGE), read_only),
    Check(OPEN_TO_USER, "kernel addresses that user mode can use", "pages", _KERNEL, user_bit),
    Check(
        TEXT_ALIAS,
        "code or read-only data that is writable in the direct map",
        "pages",
        (*_KERNEL, Need.IMAGE),
        text_alias,
    ),
)
