# SPDX-License-Identifier: GPL-2.0-or-later
"""Rules about a region's extent, and about memory that could not be checked."""

from __future__ import annotations

from typing import Final

from pageproof.judge.conditions import TASK_UNREADABLE
from pageproof.model import Severity
from pageproof.model.rule import Rule

MAPPING_BEYOND_REGION: Final = Rule(
    id="mapping-beyond-region",
    severity=Severity.ERROR,
    sentence="{pages} pages of the mapping {what} behind the end of {name}, which has {size}: that "
    "memory belongs to the kernel or to another owner, and the process can access it",
    cause="mmap() checks neither the length nor vm_pgoff, or adds them without a check for "
    "overflow; or the mapping was grown by mremap() and fault() does not check vmf->pgoff.",
    fix="Check pgoff + pages against the region's size (check_add_overflow()); set VM_DONTEXPAND; "
    "return SIGBUS from fault() behind the end.",
    reference="mm/memory.c, vm_map_pages(); mm/mremap.c, VM_DONTEXPAND",
)
MAPPING_PARTIAL: Final = Rule(
    id="mapping-partial",
    severity=Severity.NOTE,
    sentence="this process maps {pages} of the region, but not {lacking}",
    cause="It mapped only a part, or it has unmapped or covered the rest.",
    fix="Nothing is wrong, unless the rest should be mapped.",
    reference="mmap(2), MAP_FIXED",
)
REGION_PAGES_UNMAPPED: Final = Rule(
    id="region-pages-unmapped",
    severity=Severity.NOTE,
    sentence="{pages} of {size} have no user mapping in any process, so there is nothing to "
    "compare",
    cause="No process maps them.",
    fix="Nothing is wrong.",
    reference="mmap(2)",
)
REGION_UNREADABLE: Final = Rule(
    id="region-unreadable",
    severity=Severity.WARNING,
    sentence="it maps memory of kind {kind}, whose kernel side could not be read",
    cause="Debug info of the module is missing, pageproof does not know the layout of the kernel's "
    "data, or the dump omits it.",
    fix="See the reason; give the module with -s, or install its debug package.",
    reference="docs/your-driver.md",
)
REGION_PART_UNKNOWN: Final = Rule(
    id="region-part-unknown",
    severity=Severity.NOTE,
    sentence="{count} of a part of a file of kind {kind} that pageproof does not know: {what}; it "
    "was not compared with the kernel's side",
    cause="The finder of this kind recognises only other parts of such a file, or the object that "
    "owned the memory is gone.",
    fix="Nothing is wrong. To prove it, name both sides: verify --pid PID --user ADDRESS --kernel "
    "ADDRESS.",
    reference="docs/regions.md",
)
NOTHING_TO_VERIFY: Final = Rule(
    id="nothing-to-verify",
    severity=Severity.NOTE,
    sentence="{who} {what} now: there is nothing to verify",
    cause="No process has the device open, or nothing that you selected is shared now.",
    fix="Start the program that maps it; pageproof regions lists what is shared.",
    reference="docs/regions.md",
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
