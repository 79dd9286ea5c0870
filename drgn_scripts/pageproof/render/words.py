# SPDX-License-Identifier: GPL-2.0-or-later
"""Plain words for the bits of entries and for walks that end without a frame."""

from __future__ import annotations

from typing import Final

from pageproof.arch import Architecture
from pageproof.model import Outcome, TableSet, Walk

TABLES: Final = {
    TableSet.KERNEL: "the kernel's own, init_mm",
    TableSet.PROCESS: "the process's, mm->pgd",
    TableSet.PROCESS_USER: "the process's, the half that user mode runs on",
}

_ENDS: Final = {
    Outcome.PROT_NONE: "the entry has a frame but no access rights: PROT_NONE, or a page that "
    "automatic NUMA balancing samples",
    Outcome.INVALIDATED: "a huge leaf is being split or moved; the entry still has its frame",
    Outcome.NONE: "nothing is mapped: the entry is empty",
    Outcome.MIGRATION: "the page is being moved to another frame",
    Outcome.DEVICE_PRIVATE: "the page is in a device's memory",
    Outcome.HWPOISON: "the frame has failed: hardware poison",
    Outcome.GUARD_MARKER: "a guard page (MADV_GUARD_INSTALL): an access raises SIGSEGV",
    Outcome.UFFD_WP_MARKER: "a marker of userfaultfd's write protection; no page",
    Outcome.POISON_MARKER: "a poison marker: an access raises SIGBUS",
    Outcome.OTHER_MARKER: "a marker; no page",
    Outcome.SPECIAL: "the entry is neither present nor empty, and its meaning is unknown",
    Outcome.RESERVED_BITS: "reserved bits are set: an access would fault",
    Outcome.EXCLUDED: "unknown: the dump omits a page table on the way",
    Outcome.ZERO_FILLED: "unknown: a page table reads as zeros, which this target returns "
    "for memory that it does not have",
    Outcome.UNREADABLE: "unknown: a page table on the way cannot be read",
}


def flag(architecture: Architecture, name: str) -> str:
    """Return a word for a bit, or its name in the manual if there is none."""
    if name.startswith("SW"):
        return f"software bit {name[2:]}"
    return architecture.flag_words.get(name, name)


def end(architecture: Architecture, walk: Walk) -> str:
    """Return why a walk ended without a present frame; "" if it did not."""
    if walk.outcome is Outcome.SWAP:
        return f"swapped out: swap area {walk.swap_type}, slot {walk.swap_offset}"
    odd = walk.outcome in (Outcome.SPECIAL, Outcome.INVALIDATED)
    if odd and architecture.is_upper(walk.address):
        return "not present: the kernel removed it from its own tables, as set_memory_np() does"
    return _ENDS.get(walk.outcome, "")
