# SPDX-License-Identifier: GPL-2.0-or-later
"""Rules about what is in the frame: by several routes, and by the module's own protocol."""

from __future__ import annotations

from typing import Final

from pageproof.judge.rules.views import PageView
from pageproof.model import PageEvidence, Severity, SlotFacts
from pageproof.model.rule import Rule, Shown
from pageproof.walk.compare import names_frame

_U32: Final = 1 << 32
#: UMH_SHM_PAYLOAD_MAX and UMH_SHM_REPLY_MAX of module/umh_shm_abi.h.
_TEXT_MAX: Final = 1024

CONTENT_ROUTES_DIFFER: Final = Rule(
    "content-routes-differ",
    Severity.ERROR,
    "one frame has different content by different routes, though nothing moves in a dump",
    "A dump that was written while the machine ran, or a reader of it that is wrong.",
    "Read it with another tool (crash, drgn) and report it.",
    "makedumpfile(8)",
)
CONTENT_CHANGING: Final = Rule(
    "content-changing",
    Severity.NOTE,
    "the content changed each time it was read, so that the routes could not be compared",
    "Somebody writes to it all the time.",
    "Nothing is wrong. A guest can be stopped for the look (QMP stop, cont).",
    "observe/attempts.py",
)


def content_routes_differ(view: PageView) -> Shown | None:
    return None if view.target.live else _differing(view)


def content_changing(view: PageView) -> Shown | None:
    return _differing(view) if view.target.live else None


def _differing(view: PageView) -> Shown | None:
    """Only where nothing can change between two reads, or where even patience did not help."""
    digests = {c.route: c.sha256 for c in view.evidence.content if c.sha256 is not None}
    if len(set(digests.values())) < 2 or not view.same_frame:
        return None
    return tuple((route.value, digest[:16]) for route, digest in digests.items())


CONTENT_ALL_ZERO: Final = Rule(
    "content-all-zero",
    Severity.NOTE,
    "the page is all zeros, so that its content is no evidence",
    "Nobody has written to it.",
    "Nothing is wrong: both walks are the proof.",
    "makedumpfile(8), -d; fs/proc/kcore.c",
)


def content_all_zero(view: PageView) -> Shown | None:
    if not _has_frames(view.evidence):
        return None
    read = [content for content in view.evidence.content if content.sha256 is not None]
    return () if read and all(content.all_zero for content in read) else None


CONTENT_UNREADABLE: Final = Rule(
    "content-unreadable",
    Severity.NOTE,
    "the content could not be read by every route, so that it is less evidence",
    "The dump leaves the page out, it is a device's, or the process was swapped out meanwhile.",
    "Nothing is wrong: both walks are the proof.",
    "makedumpfile(8), -d",
)


def content_unreadable(view: PageView) -> Shown | None:
    if not _has_frames(view.evidence):
        return None
    failed = [content for content in view.evidence.content if content.sha256 is None]
    return tuple((content.route.value, content.error) for content in failed) or None


def _has_frames(evidence: PageEvidence) -> bool:
    return names_frame(evidence.kernel_walk) and names_frame(evidence.user_walk)


SLOT_STATE_IMPOSSIBLE: Final = Rule(
    "slot-state-impossible",
    Severity.ERROR,
    "the slot's state, or a length in it, is none that the protocol knows: somebody else writes to "
    "the region, or one side has lost the other",
    "A process that is not the helper maps the region (allow_any=1), or writes past a field.",
    "The module checks its copy of each field and reports it; end who writes there.",
    "module/umh_shm_abi.h",
)


def slot_state_impossible(view: PageView) -> Shown | None:
    slot = view.evidence.slot
    if slot is None or not slot.state:
        return None
    lengths = [(name, _word(slot, name)) for name in ("payload_len", "reply_len")]
    wrong = tuple((name, str(value)) for name, value in lengths if value > _TEXT_MAX)
    if slot.state.isdecimal():
        wrong = (("state", slot.state), *wrong)
    return wrong or None


SLOT_SEQUENCE_BACK: Final = Rule(
    "slot-sequence-back",
    Severity.ERROR,
    "the slot answers a request that was not made: ack is ahead of seq, or a slot that is DONE "
    "answers another request than its own",
    SLOT_STATE_IMPOSSIBLE.cause,
    SLOT_STATE_IMPOSSIBLE.fix,
    SLOT_STATE_IMPOSSIBLE.reference,
)


def slot_sequence_back(view: PageView) -> Shown | None:
    slot = view.evidence.slot
    if slot is None or not slot.state:
        return None
    seq, ack = _word(slot, "seq"), _word(slot, "ack")
    ahead = 0 < (ack - seq) % _U32 < _U32 // 2
    if not ahead and (slot.state != "DONE" or seq == ack):
        return None
    return ("seq", str(seq)), ("ack", str(ack)), ("state", slot.state)


SLOT_HASH_MISMATCH: Final = Rule(
    "slot-hash-mismatch",
    Severity.ERROR,
    "a text in the slot is not the one that its hash is of: it was changed after it was written",
    SLOT_STATE_IMPOSSIBLE.cause,
    SLOT_STATE_IMPOSSIBLE.fix,
    SLOT_STATE_IMPOSSIBLE.reference,
)


def slot_hash_mismatch(view: PageView) -> Shown | None:
    slot = view.evidence.slot
    if slot is None or not slot.broken_hashes:
        return None
    return tuple((name, "not its text's") for name in slot.broken_hashes)


def _word(slot: SlotFacts, name: str) -> int:
    return dict(slot.words).get(name, 0)
