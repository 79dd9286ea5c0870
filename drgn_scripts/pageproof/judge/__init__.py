# SPDX-License-Identifier: GPL-2.0-or-later
"""The room that judges: takes facts, gives verdicts and findings, reads nothing, prints nothing."""

from __future__ import annotations

from pageproof.judge.device import kernel_side_unknown, mapping_kind
from pageproof.judge.report import (
    beyond_findings,
    coverage_findings,
    mapped_pages,
    page_at,
    page_list,
    prove,
    summarize,
    task_findings,
    unmapped_pages,
    unread,
)
from pageproof.judge.rules import RULES, findings_of
from pageproof.judge.verdict import agree, compare, disputes, judge_page, names_frame

__all__ = [
    "RULES",
    "agree",
    "beyond_findings",
    "compare",
    "coverage_findings",
    "disputes",
    "findings_of",
    "judge_page",
    "kernel_side_unknown",
    "mapped_pages",
    "mapping_kind",
    "names_frame",
    "page_at",
    "page_list",
    "prove",
    "summarize",
    "task_findings",
    "unmapped_pages",
    "unread",
]
