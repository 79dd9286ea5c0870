# SPDX-License-Identifier: GPL-2.0-or-later
"""Rules about a region's extent, and about memory that could not be checked."""

from __future__ import annotations

from typing import Final

from pageproof.judge.conditions import TASK_UNREADABLE
from pageproof.model import Severity
from pageproof.model.rule import Rule

MAPPING_BEYOND_REGION: Final = Rule(
    "mapping-beyond-region",
    Severity.ERROR,
    "{pages} pages of the mapping {what} behind the end of {name}, which has {size}: that memory "
    "belongs to the kernel or to another owner, and the process can access it",
    "mmap() checks neither the length nor vm_pgoff, or adds them without a check for overflow; or "
    "the mapping was grown by mremap() and fault() does not check vmf->pgoff.",
    "Check pgoff + pages against the region's size (check_add_overflow()); set VM_DONTEXPAND; "
    "return SIGBUS from fault() behind the end.",
    "mm/memory.c, vm_map_pages(); mm/mremap.c, VM_DONTEXPAND",
)
MAPPING_PARTIAL: Final = Rule(
    "mapping-partial",
    Severity.NOTE,
    "this process maps {pages} of the region, but not {lacking}",
    "It mapped only a part, or it has unmapped or covered the rest.",
    "Nothing is wrong, unless the rest should be mapped.",
    "mmap(2), MAP_FIXED",
)
REGION_PAGES_UNMAPPED: Final = Rule(
    "region-pages-unmapped",
    Severity.NOTE,
    "{pages} of {size} have no user mapping in any process, so there is nothing to compare",
    "No process maps them.",
    "Nothing is wrong.",
    "mmap(2)",
)
REGION_UNREADABLE: Final = Rule(
    "region-unreadable",
    Severity.WARNING,
    "it maps memory of kind {kind}, whose kernel side could not be read",
    "Debug info of the module is missing, pageproof does not know the layout of the kernel's "
    "data, or the dump omits it.",
    "See the reason; give the module with -s, or install its debug package.",
    "docs/your-driver.md",
)
REGION_PART_UNKNOWN: Final = Rule(
    "region-part-unknown",
    Severity.NOTE,
    "{count} of a part of a file of kind {kind} that pageproof does not know: {what}; it was not "
    "compared with the kernel's side",
    "The finder of this kind recognises only other parts of such a file, or the object that "
    "owned the memory is gone.",
    "Nothing is wrong. To prove it, name both sides: verify --pid PID --user ADDRESS "
    "--kernel ADDRESS.",
    "docs/regions.md",
)
NOTHING_TO_VERIFY: Final = Rule(
    "nothing-to-verify",
    Severity.NOTE,
    "{who} {what} now: there is nothing to verify",
    "No process has the device open, or nothing that you selected is shared now.",
    "Start the program that maps it; pageproof regions lists what is shared.",
    "docs/regions.md",
)

COVERAGE_RULES: Final = (
    MAPPING_BEYOND_REGION,
    MAPPING_PARTIAL,
    REGION_PAGES_UNMAPPED,
    REGION_UNREADABLE,
    REGION_PART_UNKNOWN,
    TASK_UNREADABLE,
    NOTHING_TO_VERIFY,
)
