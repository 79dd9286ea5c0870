# SPDX-License-Identifier: GPL-2.0-or-later
"""Rules: each looks at the evidence of one page and fires or stays silent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pageproof.judge.verdict import disputes, names_frame
from pageproof.model import (
    Finding,
    Outcome,
    PageEvidence,
    Route,
    SecondOpinion,
    Severity,
    TargetFacts,
    Walk,
)

#: What a rule returns: id, severity, sentence, evidence. ``where`` is added by the engine.
Fired = tuple[str, Severity, str, tuple[tuple[str, str], ...]]
Rule = Callable[[PageEvidence, TargetFacts], Fired | None]


def _frame(paddr: int | None) -> str:
    return "none" if paddr is None else f"0x{paddr >> 12:x}"


def _disputed(side: str, walk: Walk, second: SecondOpinion) -> Fired | None:
    if not disputes(walk, second):
        return None
    return (
        f"second-opinion-{side}",
        Severity.ERROR,
        f"drgn's own translation of the {side} address names another frame than our walk: "
        "one of the two is wrong, please report it",
        (
            ("our PFN", _frame(walk.paddr)),
            ("drgn's PFN", _frame(second.paddr)),
            ("drgn says", second.message),
        ),
    )


def second_opinion_kernel(evidence: PageEvidence, target: TargetFacts) -> Fired | None:
    if not evidence.stable:
        return None
    return _disputed("kernel", evidence.kernel_walk, evidence.kernel_second)


def second_opinion_user(evidence: PageEvidence, target: TargetFacts) -> Fired | None:
    if not evidence.stable:
        return None
    return _disputed("user", evidence.user_walk, evidence.user_second)


def _same_frame(evidence: PageEvidence) -> bool:
    kernel, user = evidence.kernel_walk, evidence.user_walk
    return names_frame(kernel) and names_frame(user) and kernel.pfn == user.pfn


def memory_type_conflict(evidence: PageEvidence, target: TargetFacts) -> Fired | None:
    """Intel SDM 3A 12.12.4: one frame under two memory types is undefined in its ordering."""
    kernel, user = evidence.kernel_walk.memory_type, evidence.user_walk.memory_type
    if not _same_frame(evidence) or kernel is user or kernel is None or user is None:
        return None
    return (
        "memory-type-conflict",
        Severity.ERROR,
        "the two mappings of one frame have different memory types",
        (("kernel", kernel.value), ("user", user.value)),
    )


def kernel_executes_what_user_writes(evidence: PageEvidence, target: TargetFacts) -> Fired | None:
    kernel, user = evidence.kernel_walk.permissions, evidence.user_walk.permissions
    if not _same_frame(evidence) or kernel is None or user is None:
        return None
    if not (kernel.execute and user.write and user.user):
        return None
    return (
        "user-writes-kernel-executes",
        Severity.ERROR,
        "user mode may write what the kernel's mapping may execute",
        (),
    )


def kernel_mapping_open_to_user(evidence: PageEvidence, target: TargetFacts) -> Fired | None:
    permissions = evidence.kernel_walk.permissions
    if permissions is None or not permissions.user:
        return None
    return (
        "kernel-address-open-to-user",
        Severity.ERROR,
        "user mode may use the kernel's own mapping (US is set on all levels)",
        (),
    )


def user_mapping_closed_to_user(evidence: PageEvidence, target: TargetFacts) -> Fired | None:
    permissions = evidence.user_walk.permissions
    if permissions is None or permissions.user:
        return None
    return (
        "user-address-closed-to-user",
        Severity.WARNING,
        "user mode may not use its own mapping (US is clear on some level)",
        (),
    )


def user_mapping_executable(evidence: PageEvidence, target: TargetFacts) -> Fired | None:
    permissions = evidence.user_walk.permissions
    if permissions is None or not permissions.execute:
        return None
    return (
        "user-mapping-executable",
        Severity.WARNING,
        "user mode may execute the shared memory",
        (),
    )


def user_writes_kernel_reads(evidence: PageEvidence, target: TargetFacts) -> Fired | None:
    kernel, user = evidence.kernel_walk.permissions, evidence.user_walk.permissions
    if not _same_frame(evidence) or kernel is None or user is None:
        return None
    if kernel.write or not user.write:
        return None
    return (
        "user-writes-kernel-read-only",
        Severity.WARNING,
        "user mode may write what the kernel's mapping may only read",
        (),
    )


def prot_none(evidence: PageEvidence, target: TargetFacts) -> Fired | None:
    if evidence.user_walk.outcome is not Outcome.PROT_NONE:
        return None
    return (
        "prot-none",
        Severity.NOTE,
        "the user's entry is PROT_NONE: it names the frame, but no access may use it now",
        (),
    )


def frame_is_free(evidence: PageEvidence, target: TargetFacts) -> Fired | None:
    if evidence.page is None or not evidence.page.buddy:
        return None
    return (
        "frame-is-free",
        Severity.ERROR,
        "the page allocator holds this frame as free while it is mapped",
        (("flags", evidence.page.flags_words),),
    )


def frame_is_poisoned(evidence: PageEvidence, target: TargetFacts) -> Fired | None:
    if evidence.page is None or not evidence.page.hwpoison:
        return None
    return ("frame-is-poisoned", Severity.ERROR, "the hardware has given up this frame", ())


def content_routes_differ(evidence: PageEvidence, target: TargetFacts) -> Fired | None:
    """Only where nothing can change between two reads, or where even patience did not help."""
    digests = same_frame_digests(evidence)
    if len(set(digests.values())) < 2 or not _same_frame(evidence):
        return None
    shown = tuple((route.value, digest[:16]) for route, digest in digests.items())
    if target.live:
        return (
            "content-changing",
            Severity.NOTE,
            "the content changed each time it was read, so that the routes could not be compared",
            shown,
        )
    return (
        "content-routes-differ",
        Severity.ERROR,
        "one frame has different content by different routes, though nothing moves in a dump",
        shown,
    )


def content_all_zero(evidence: PageEvidence, target: TargetFacts) -> Fired | None:
    if not names_frame(evidence.kernel_walk) or not names_frame(evidence.user_walk):
        return None
    read = [content for content in evidence.content if content.sha256 is not None]
    if not read or not all(content.all_zero for content in read):
        return None
    return (
        "content-all-zero",
        Severity.NOTE,
        "the page is all zeros, so that its content is no evidence",
        (),
    )


def content_unreadable(evidence: PageEvidence, target: TargetFacts) -> Fired | None:
    if not names_frame(evidence.kernel_walk) or not names_frame(evidence.user_walk):
        return None
    failed = [content for content in evidence.content if content.sha256 is None]
    if not failed:
        return None
    return (
        "content-unreadable",
        Severity.NOTE,
        "the content could not be read by every route, so that it is less evidence",
        tuple((content.route.value, content.error) for content in failed),
    )


def same_frame_digests(evidence: PageEvidence) -> dict[Route, str]:
    """Digests by route, of the routes that gave one."""
    return {c.route: c.sha256 for c in evidence.content if c.sha256 is not None}


#: All rules, in the order in which findings are told.
RULES: Final[tuple[Rule, ...]] = (
    second_opinion_kernel,
    second_opinion_user,
    memory_type_conflict,
    kernel_executes_what_user_writes,
    kernel_mapping_open_to_user,
    frame_is_free,
    frame_is_poisoned,
    content_routes_differ,
    user_mapping_closed_to_user,
    user_mapping_executable,
    user_writes_kernel_reads,
    prot_none,
    content_all_zero,
    content_unreadable,
)


#: What a kind of region is made for.
_ALLOWED: Final = {"vdso": {user_mapping_executable}}


def findings_of(
    evidence: PageEvidence, target: TargetFacts, where: str, kind: str = ""
) -> tuple[Finding, ...]:
    """Run all rules over one page, but those that its kind of region is made to break."""
    found = []
    for rule in RULES:
        if rule in _ALLOWED.get(kind, ()):
            continue
        fired = rule(evidence, target)
        if fired is not None:
            name, severity, sentence, shown = fired
            found.append(Finding(name, severity, where, sentence, shown))
    return tuple(found)
