# SPDX-License-Identifier: GPL-2.0-or-later
"""Judge facts: return verdicts and findings. This room reads no memory and prints nothing."""

from __future__ import annotations

from pageproof.judge.device import kernel_side_by_value, kernel_side_unknown, mapping_kind
from pageproof.judge.rules import (
    PAGE_RULES,
    RULES,
    Differing,
    FramesView,
    MappingView,
    frame_findings,
    mapping_findings,
    rule_ids,
)
from pageproof.judge.rules.coverage import NOTHING_TO_VERIFY
from pageproof.judge.tasks import task_findings
from pageproof.judge.verdict import judge_page
from pageproof.judge.verify import (
    beyond_findings,
    coverage_findings,
    mapped_pages,
    page_at,
    place_of,
    prove,
    prove_again,
    summarize,
    unknown_parts,
    unmapped_pages,
    unread,
)
from pageproof.judge.words import page_list

__all__ = [
    "NOTHING_TO_VERIFY",
    "PAGE_RULES",
    "RULES",
    "Differing",
    "FramesView",
    "MappingView",
    "beyond_findings",
    "coverage_findings",
    "frame_findings",
    "judge_page",
    "kernel_side_by_value",
    "kernel_side_unknown",
    "mapped_pages",
    "mapping_findings",
    "mapping_kind",
    "page_at",
    "page_list",
    "place_of",
    "prove",
    "prove_again",
    "rule_ids",
    "summarize",
    "task_findings",
    "unknown_parts",
    "unmapped_pages",
    "unread",
]
