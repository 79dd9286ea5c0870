# SPDX-License-Identifier: GPL-2.0-or-later
"""What may come out of a case, and the words that may not."""

from __future__ import annotations

import json
from typing import Any

from hostile.run import CPU_SECONDS, MEMORY_BYTES, Outcome

PAGE = 4096
#: A statement of a report: what it is about, and what it says.
Word = tuple[str, ...]

#: The documented ends.
_CODES = {0: "decided", 1: "decided", 2: "message", 3: "unknown"}


def words_of(outcome: Outcome) -> frozenset[Word]:
    """Return the verdicts SAME and DIFFERENT, and the error findings, of a report."""
    if not outcome.out.startswith("{"):
        return frozenset()
    report = json.loads(outcome.out)
    found: set[Word] = set()
    mappings = report.get("mappings", [])
    for region in report.get("regions", []):
        for use in region.get("uses", []):
            if not isinstance(use.get("mapping"), int):
                continue
            mapping = mappings[use["mapping"]]
            start = int(mapping["vma"]["start"], 16)
            for run in use["runs"]:
                for page in range(run["first_page"], run["first_page"] + min(run["pages"], 4096)):
                    place = f"{mapping['pid']} {start + page * PAGE:x}"
                    if run["verdict"] != "UNKNOWN":
                        found.add((run["verdict"], place))
    for proof in report.get("proofs", []):
        mapping = mappings[proof["evidence"]["mapping"]]
        if proof["verdict"] != "UNKNOWN":
            place = f"{mapping['pid']} {int(proof['evidence']['user_address'], 16):x}"
            found.add((proof["verdict"], place))
    found |= {
        ("error", one["id"]) for one in report.get("findings", []) if one["severity"] == "error"
    }
    return frozenset(found)


def kind_of(outcome: Outcome) -> str:
    """Return the kind of end, for the counts."""
    return _CODES.get(outcome.code, "wrong")


def wrong(outcome: Outcome, sound: Outcome, *, strict: bool) -> str | None:
    """Return why an outcome is not allowed; None if it is.

    Args:
        outcome: of the case.
        sound: of the same command on the sound dump.
        strict: no statement may be new. Else the memory was damaged: what it holds now may be
            DIFFERENT or an error, but never SAME.
    """
    if outcome.code < 0:
        return f"signal {-outcome.code}"
    if "Traceback" in outcome.err or "bug in pageproof" in outcome.err:
        return "traceback"
    if outcome.code not in _CODES:
        return f"exit code {outcome.code}"
    if outcome.code == 2 and "pageproof: error: " not in outcome.err:
        return "exit code 2 without a message"
    if any(not one.isprintable() for one in outcome.err.replace("\n", "")):
        return "an unprintable character in a message"
    if outcome.peak_bytes > MEMORY_BYTES:
        return f"{outcome.peak_bytes >> 20} MiB of memory"
    if outcome.cpu_seconds > CPU_SECONDS:
        return f"{outcome.cpu_seconds:.1f} s of CPU time"
    try:
        said = words_of(outcome)
    except ValueError as error:
        return f"the report is not JSON: {error}"
    new = said - words_of(sound)
    same = [word for word in new if word[0] == "SAME"]
    if same or (strict and new):
        return f"false words: {sorted(same or new)[:4]}"
    return None


def statements(outcome: Outcome, sound: Outcome) -> Any:
    """Return the new statements of damaged memory, for the counts."""
    return words_of(outcome) - words_of(sound)
