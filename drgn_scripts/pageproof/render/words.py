# SPDX-License-Identifier: GPL-2.0-or-later
"""What the flags and the ends of a walk mean, in plain words."""

from __future__ import annotations

from typing import Final

from pageproof.model import Outcome, TableSet, Walk

_FLAGS: Final = {
    "P": "present",
    "RW": "writable",
    "US": "user",
    "PWT": "write-through",
    "PCD": "cache-disable",
    "A": "accessed",
    "D": "dirty",
    "PSE": "huge leaf",
    "PAT": "PAT",
    "G": "global",
    "PROTNONE": "PROT_NONE",
    "NX": "no-execute",
}

TABLES: Final = {
    TableSet.KERNEL: "the kernel's own, init_mm",
    TableSet.PROCESS: "the process's, mm->pgd",
    TableSet.PROCESS_USER: "the process's, the half that user mode runs on",
}

_ENDS: Final = {
    Outcome.PROT_NONE: "the frame is there, but nothing may touch it: PROT_NONE, or a page that "
    "automatic NUMA balancing watches",
    Outcome.INVALIDATED: "a huge leaf that is being split or moved; the frame is still named",
    Outcome.NONE: "nothing is mapped: the entry is empty",
    Outcome.MIGRATION: "the page is being moved to another frame",
    Outcome.DEVICE_PRIVATE: "the page is in a device's memory",
    Outcome.HWPOISON: "the frame has failed: hardware poison",
    Outcome.GUARD_MARKER: "a guard page (MADV_GUARD_INSTALL): touching it is SIGSEGV",
    Outcome.UFFD_WP_MARKER: "a marker of userfaultfd's write protection; no page",
    Outcome.POISON_MARKER: "a poison marker: touching it is SIGBUS",
    Outcome.OTHER_MARKER: "a marker; no page",
    Outcome.SPECIAL: "not present and not empty, and the target does not say what it is",
    Outcome.RESERVED_BITS: "reserved bits are set: the processor would fault",
    Outcome.EXCLUDED: "not known: a table on the way was left out of the dump",
    Outcome.ZERO_FILLED: "not known: a table reads as zeros, which this target makes up for "
    "what it does not have",
    Outcome.UNREADABLE: "not known: a table on the way can't be read",
}


def flag(name: str) -> str:
    """A flag's manual name as a word; what has none, as it is."""
    if name.startswith("SW"):
        return f"software bit {name[2:]}"
    return _FLAGS.get(name, name)


def end(walk: Walk) -> str:
    """How a walk without a present frame ended; "" for one with."""
    if walk.outcome is Outcome.SWAP:
        return f"swapped out: swap area {walk.swap_type}, slot {walk.swap_offset}"
    if walk.outcome in (Outcome.SPECIAL, Outcome.INVALIDATED) and walk.address >> 63:
        return "not present: the kernel took it out of its own tables, as set_memory_np() does"
    return _ENDS.get(walk.outcome, "")
