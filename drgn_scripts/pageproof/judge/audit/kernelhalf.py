# SPDX-License-Identifier: GPL-2.0-or-later
"""The upper half of the topmost tables, which is the same in all address spaces."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from pageproof import arch
from pageproof.judge.audit.check import Check, Judged, addresses, judged
from pageproof.model import Finding, Range, Severity
from pageproof.model.auditfacts import AuditFacts, Need, TopTable
from pageproof.model.rule import Rule
from pageproof.model.where import all_tables, top_entry
from pageproof.space.rows import row_at
from pageproof.space.spans import joined, pages_of, span_of
from pageproof.space.units import PAGE_BYTES

KERNEL_HALF: Final = Rule(
    id="kernel-half-differs",
    severity=Severity.ERROR,
    sentence="this entry of the topmost table differs from init_mm's: in this process the kernel "
    "sees other memory than everywhere else",
    cause="Every address space gets its upper half from init_mm when it is created (pgd_ctor()), "
    "and later entries are copied to all (sync_global_pgds()). With PTI, a process has its own "
    "entry for the LDT. EFI's tables (efi_mm) do not belong to a process and are not compared.",
    fix="Change kernel mappings only in init_mm and below its topmost entries; find the code that "
    "wrote to the table.",
    reference="arch/x86/mm/pgtable.c: pgd_ctor(); arch/x86/mm/init_64.c: sync_global_pgds(); "
    "arch/x86/kernel/ldt.c",
)

PTI_PAIR: Final = Rule(
    id="pti-pair-differs",
    severity=Severity.ERROR,
    sentence="the two tables of a PTI pair differ in the user half: user mode and the kernel see "
    "different memory at the same address",
    cause="__pti_set_user_pgtbl() writes each entry of the user half to both tables of the pair; "
    "they differ only in NX, which the kernel's copy has.",
    fix="Set topmost entries only with set_pgd() or set_p4d().",
    reference="arch/x86/mm/pti.c: __pti_set_user_pgtbl()",
)

PTI_KERNEL: Final = Rule(
    id="pti-exposes-kernel",
    severity=Severity.ERROR,
    sentence="user mode's tables map kernel memory that they do not need: PTI does not protect it "
    "from Meltdown",
    cause="With PTI, user mode's tables map only these parts of the kernel: the entry code, "
    "cpu_entry_area, espfix, the LDT, the vsyscall page and each CPU's TSS; and all text and "
    "read-only data if its entries are global. Only cpu_entry_area, the LDT and the TSS are "
    "writable.",
    fix="Remove the mapping from user mode's tables.",
    reference="arch/x86/mm/pti.c: pti_init(), pti_clone_user_shared(), pti_clone_entry_text()",
)

PTI_LIST: Final = Rule(
    id="pti-kernel-part",
    severity=Severity.NOTE,
    sentence="parts of the kernel in user mode's tables: {what}",
    cause="PTI keeps what an entry to the kernel needs before it can load the kernel's tables.",
    fix="Nothing is wrong.",
    reference="arch/x86/mm/pti.c: pti_init()",
)


def _compare(
    rule: Rule, table: TopTable, other: Sequence[int], indexes: range, own: int | None, ignored: int
) -> Iterator[Finding]:
    for index in indexes:
        entry, expected = table.entries[index], other[index]
        if entry == expected or index == own or (entry ^ expected) & ~ignored == 0:
            continue
        shown = (("entry", f"0x{entry:x}"), ("expected", f"0x{expected:x}"))
        where = top_entry(table.space, index, user_half=table.user_half)
        yield rule.finding(where, shown)


def _undecided(tables: Sequence[TopTable], faults: Sequence[str]) -> str:
    gaps = [f"{table.name}: {table.gap}" for table in tables if not table.entries]
    return "; ".join([*gaps[:3], *faults[:3]])


def kernel_half(facts: AuditFacts) -> Judged:
    """Compare every upper half with init_mm's; the processor sets ACCESSED in each separately."""
    tops, layout = facts.tops, facts.layout
    assert tops is not None
    assert layout is not None
    architecture = arch.of(facts.target.arch)
    form, own = architecture.top_table(layout.levels), architecture.own_entry(facts.paging, layout)
    pairs = [(table, tops.kernel) for table in tops.spaces]
    if tops.kernel_user is not None:
        pairs += [(table, tops.kernel_user) for table in tops.user_halves]
    found = (
        finding
        for table, kernel in pairs
        if table.entries and kernel.entries
        for finding in _compare(
            KERNEL_HALF, table, kernel.entries, form.upper, own, form.set_by_processor
        )
    )
    unread = [table for pair in pairs for table in pair]
    return judged(len(pairs), found, _undecided(list(dict.fromkeys(unread)), tops.faults))


def pti_pair(facts: AuditFacts) -> Judged:
    """Compare the user halves of both tables of each pair."""
    tops = facts.tops
    assert tops is not None
    form = arch.of(facts.target.arch).top_table(facts.paging.levels)
    ignored = form.set_by_processor | form.set_by_isolation
    kernels = {table.space: table for table in tops.spaces}
    pairs = [(half, kernels[half.space]) for half in tops.user_halves]
    found = (
        finding
        for half, kernel in pairs
        if half.entries and kernel.entries
        for finding in _compare(PTI_PAIR, half, kernel.entries, form.lower, None, ignored)
    )
    unread = [table for pair in pairs for table in pair]
    return judged(len(pairs), found, _undecided(unread, tops.faults))


#: Areas of the kernel's half that user mode's tables may map.
_MAY_HOLD: Final = frozenset({"cpu-entry-area", "espfix", "ldt", "vsyscall"})


def _held(facts: AuditFacts) -> Iterator[tuple[str, Range]]:
    """Yield the kernel memory in user mode's tables with its area; "" if it must not be there."""
    layout, image = facts.layout, facts.image
    assert layout is not None
    assert image is not None
    assert facts.user_half is not None
    rows = arch.of(facts.target.arch).memory_map(layout)
    for one in facts.user_half:
        if one.permissions is None:
            continue
        area = row_at(rows, one.start).region
        write = one.permissions.write and one.frame is not None
        if area in _MAY_HOLD and not (write and area == "vsyscall"):
            yield area, one
        elif image.shared.start <= one.start and one.last < image.shared.end and not write:
            yield "text", one
        elif any(page <= one.start and one.last < page + PAGE_BYTES for page in image.tss_pages):
            yield "cpu_tss_rw", one
        else:
            yield "", one


def pti_kernel(facts: AuditFacts) -> Judged:
    """Check init_mm's user half; the topmost entries of all processes point to the same tables."""
    held = list(_held(facts))
    spans = joined(span_of(one) for area, one in held if not area)
    return judged(len(held), (PTI_KERNEL.finding(addresses(span)) for span in spans))


def pti_list(facts: AuditFacts) -> Judged:
    """List the kernel memory in user mode's tables, as a note."""
    pages = Counter[str]()
    for area, one in _held(facts):
        if area:
            pages[area] += pages_of(one)
    if not pages:
        return Judged(0)
    what = ", ".join(sorted(pages))
    shown = tuple((area, f"{4 * count} KiB") for area, count in sorted(pages.items()))
    where = all_tables("init_mm, user half")
    return Judged(len(pages), (PTI_LIST.finding(where, shown, what=what),))


CHECKS: Final = (
    Check(
        KERNEL_HALF,
        "topmost tables whose kernel half differs from init_mm's",
        "tables",
        (Need.TOPS,),
        kernel_half,
    ),
    Check(
        PTI_PAIR,
        "PTI pairs whose user halves differ",
        "pairs",
        (Need.TOPS,),
        pti_pair,
        may_be_empty=True,
    ),
    Check(
        PTI_KERNEL,
        "kernel memory in user mode's tables",
        "ranges",
        (Need.USER_HALF, Need.IMAGE),
        pti_kernel,
        may_be_empty=True,
    ),
    Check(
        PTI_LIST,
        "nothing: lists the kernel memory in user mode's tables",
        "areas",
        (Need.USER_HALF, Need.IMAGE),
        pti_list,
        may_be_empty=True,
    ),
)
