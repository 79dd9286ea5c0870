# SPDX-License-Identifier: GPL-2.0-or-later
"""Rules about the content of a frame: read by several routes, and by the module's protocol."""

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
    id="content-routes-differ",
    severity=Severity.ERROR,
    sentence="one frame has different content by different routes, although a dump does not change",
    cause="The dump was written while the machine ran, or its reader is wrong.",
    fix="Read it with another tool (crash, drgn) and report it.",
    reference="makedumpfile(8)",
)
CONTENT_CHANGING: Final = Rule(
    id="content-changing",
    severity=Severity.NOTE,
    sentence="the content changed each time it was read, so the routes could not be compared",
    cause="The page is written to all the time.",
    fix="Nothing is wrong. To compare the routes, stop the guest first (QMP stop, cont).",
    reference="observe/attempts.py",
)


def content_routes_differ(view: PageView) -> Shown | None:
    return None if view.target.live else _differing(view)


def content_changing(view: PageView) -> Shown | None:
    return _differing(view) if view.target.live else None


def _differing(view: PageView) -> Shown | None:
    """Return the digests of the routes if they differ."""
    digests = {c.route: c.sha256 for c in view.evidence.content if c.sha256 is not None}
    if len(set(digests.values())) < 2 or not view.same_frame:
        return None
    return tuple((route.value, digest[:16]) for route, digest in digests.items())


CONTENT_ALL_ZERO: Final = Rule(
    id="content-all-zero",
    severity=Severity.NOTE,
    sentence="the page is all zeros, so its content is not evidence",
    cause="Nothing was written to it.",
    fix="Nothing is wrong: both walks are the proof.",
    reference="makedumpfile(8), -d; fs/proc/kcore.c",
)


def content_all_zero(view: PageView) -> Shown | None:
    if not _has_frames(view.evidence):
        return None
    read = [content for content in view.evidence.content if content.sha256 is not None]
    return () if read and all(content.all_zero for content in read) else None


CONTENT_UNREADABLE: Final = Rule(
    id="content-unreadable",
    severity=Severity.NOTE,
    sentence="the content could not be read by every route, so it counts as weaker evidence",
    cause="The dump omits the page, the page belongs to a device, or the process was swapped out "
    "meanwhile.",
    fix="Nothing is wrong: both walks are the proof.",
    reference="makedumpfile(8), -d",
)


def content_unreadable(view: PageView) -> Shown | None:
    if not _has_frames(view.evidence):
        return None
    failed = [content for content in view.evidence.content if content.sha256 is None]
    return tuple((content.route.value, content.error) for content in failed) or None


def _has_frames(evidence: PageEvidence) -> bool:
    return names_frame(evidence.kernel_walk) and names_frame(evidence.user_walk)


SLOT_STATE_IMPOSSIBLE: Final = Rule(
    id="slot-state-impossible",
    severity=Severity.ERROR,
    sentence="the slot's state, or a length in it, is not valid in the protocol: something else "
    "writes to the region, or the two sides are out of step",
    cause="A process other than the helper maps the region (allow_any=1), or one side writes past "
    "a field.",
    fix="The module checks its copy of each field and reports it; stop the process that writes "
    "there.",
    reference="module/umh_shm_abi.h",
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
    id="slot-sequence-back",
    severity=Severity.ERROR,
    sentence="the slot answers a request that was not made: ack is ahead of seq, or a slot in "
    "state DONE answers a different request",
    cause=SLOT_STATE_IMPOSSIBLE.cause,
    fix=SLOT_STATE_IMPOSSIBLE.fix,
    reference=SLOT_STATE_IMPOSSIBLE.reference,
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
    id="slot-hash-mismatch",
    severity=Severity.ERROR,
    sentence="a text in the slot does not match its hash: it was changed after it was written",
    cause=SLOT_STATE_IMPOSSIBLE.cause,
    fix=SLOT_STATE_IMPOSSIBLE.fix,
    reference=SLOT_STATE_IMPOSSIBLE.reference,
)


def slot_hash_mismatch(view: PageView) -> Shown | None:
    slot = view.evidence.slot
    if slot is None or not slot.broken_hashes:
        return None
    return tuple((name, "does not match its text") for name in slot.broken_hashes)


def _word(slot: SlotFacts, name: str) -> int:
    return dict(slot.words).get(name, 0)
