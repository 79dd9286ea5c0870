# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether accesses to shared memory keep to the protocol that its two sides agreed on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from pageproof.model import Finding, Severity
from pageproof.model.rule import Rule
from pageproof.model.watch import Access, Event, Mode, Place
from pageproof.model.where import Where, WhereKind, in_process

#: Kinds of violations that are reported; more are counted only.
_MOST: Final = 50

UNSYNCHRONIZED: Final = Rule(
    id="unsynchronized-access",
    severity=Severity.ERROR,
    sentence="{who} {what} while the state is {state}: {why}",
    cause="One side uses the memory before it was handed over, or after it handed it on: a state "
    "word that is written too early or not checked, a lock that is not taken, or a program that "
    "should not map the memory at all.",
    fix="Write the data first, then the state (smp_store_release()); read the state first "
    "(smp_load_acquire()), then the data. The evidence has the last accesses of both sides.",
    reference="Documentation/memory-barriers.txt; module/umh_shm_abi.h",
)

#: Judges an access by the state before it: why it is wrong, or "".
Judge = Callable[[Event, str, Mode], str]

_REQUEST: Final = frozenset({"id", "payload", "pl_hash", "seq", "payload_len"})
_ANSWER: Final = frozenset({"ack", "status", "reply_len", "reply", "reply_hash"})
#: module/umh_shm_abi.h: who may read and who may write which part of a slot, by its state.
_SLOT: Final[dict[str, dict[Mode, tuple[frozenset[str], frozenset[str]]]]] = {
    "IDLE": {
        Mode.KERNEL: (_REQUEST | _ANSWER, _REQUEST),
        Mode.USER: (frozenset(), frozenset()),
    },
    "POSTED": {
        Mode.KERNEL: (_REQUEST, frozenset()),
        Mode.USER: (frozenset(), frozenset()),
    },
    "CLAIMED": {
        Mode.KERNEL: (_REQUEST, frozenset()),
        Mode.USER: (_REQUEST | _ANSWER, _ANSWER),
    },
    "DONE": {
        Mode.KERNEL: (_REQUEST | _ANSWER, frozenset()),
        Mode.USER: (frozenset(), frozenset()),
    },
}
#: The changes of the state. The kernel takes a slot back from a helper that is gone in any state.
_STEPS: Final = frozenset(
    {
        (Mode.KERNEL, "IDLE", "POSTED"),
        (Mode.KERNEL, "POSTED", "IDLE"),
        (Mode.KERNEL, "CLAIMED", "IDLE"),
        (Mode.KERNEL, "DONE", "IDLE"),
        (Mode.USER, "POSTED", "CLAIMED"),
        (Mode.USER, "CLAIMED", "DONE"),
    }
)
#: The member that the state is in.
SLOT_STATE: Final = "state"


#: Two steps, of which the first one, the helper's compare-exchange, was not seen.
_UNSEEN: Final = (Mode.USER, "POSTED", "DONE")


def judge_slot(event: Event, member: str, side: Mode, *, blind: bool = False) -> str:
    """Return why an access to a slot of ``umh_shm`` breaks its protocol; "" if it does not.

    Both sides may read the state at any time, and a compare-exchange that fails writes the old
    value.

    Args:
        event: the access.
        member: what it is to.
        side: of the address.
        blind: locked instructions are not seen.
    """
    rights = _SLOT.get(event.state)
    if rights is None:
        return ""  # the state is not known, or damaged, which other rules see
    if member == SLOT_STATE:
        step = side, event.before, event.after
        wrote = event.access is not Access.READ and event.before != event.after
        if not wrote or step in _STEPS or (blind and step == _UNSEEN):
            return ""
        return f"the {_SIDES[side]} may not change it to {event.after}"
    if member not in _REQUEST | _ANSWER:
        return ""
    reads, writes = rights[side]
    if event.access is Access.READ:
        return "" if member in reads else f"the {_SIDES[side]} may not read it then"
    if member in writes or (event.access is Access.ACCESS and event.before == event.after):
        return ""
    return f"the {_SIDES[side]} may not write it then"


_SIDES: Final = {Mode.KERNEL: "kernel", Mode.USER: "helper"}
_OWNERS: Final = {Mode.KERNEL: "kernel", Mode.USER: "user"}


def judge_owner(event: Event, member: str, side: Mode) -> str:
    """Return why a write breaks the rule that ``--owner`` gave; "" if it does not."""
    wrote = event.access is Access.WRITE or event.before != event.after
    if not wrote or event.state in ("", "both", _OWNERS[side]):
        return ""
    return "nobody may write then" if event.state == "nobody" else f"only {event.state} may write"


def _value(event: Event) -> str:
    return event.after if event.access is Access.READ else f"{event.before} -> {event.after}"


def _code(event: Event) -> str:
    return event.code.symbol or f"{event.code.address:#x}"


@dataclass
class ProtocolCheck:
    """Judges events one by one, and keeps the findings.

    Attributes:
        judge: of one access.
        members: name of the member that each watched field is of, by its number.
        names: name of each field as shown.
        places: the watched places, by number.
    """

    judge: Judge
    members: Sequence[str]
    names: Sequence[str]
    places: Sequence[Place]
    _last: dict[Mode, Event] = field(default_factory=dict)
    _found: dict[tuple[object, ...], tuple[Finding, int]] = field(default_factory=dict)
    more: int = 0

    def see(self, event: Event) -> str:
        """Judge an event; return why it breaks the protocol, or ""."""
        place = self.places[event.place]
        member, side = self.members[place.field], place.side
        why = self.judge(event, member, side)
        if why:
            self._add(event, place, why)
        self._last[side] = event
        return why

    def _add(self, event: Event, place: Place, why: str) -> None:
        function = event.code.symbol.partition("+")[0]
        key = place.field, place.side, event.access, event.state, function, event.pid
        if key in self._found:
            finding, times = self._found[key]
            self._found[key] = finding, times + 1
        elif len(self._found) < _MOST:
            self._found[key] = self._finding(event, place, why), 1
        else:
            self.more += 1

    def _finding(self, event: Event, place: Place, why: str) -> Finding:
        name = self.names[place.field]
        verb = {Access.READ: "reads", Access.WRITE: "writes", Access.ACCESS: "changes"}
        who = f"{event.comm} (pid {event.pid})"
        code = _code(event), event.code.module, event.code.source
        shown = [
            ("access", _value(event)),
            ("code", " ".join(filter(None, code))),
            ("at", f"{event.seconds:.6f} s, CPU {event.cpu}"),
        ]
        for side, words in (
            (Mode.KERNEL, "last of the kernel"),
            (Mode.USER, "last of user mode"),
        ):
            if side in self._last:
                shown.append((words, self._words(self._last[side])))
        where = (
            in_process(place.pid, place.address)
            if place.side is Mode.USER
            else Where(
                WhereKind.KERNEL, address=place.address, last=place.address + place.length_bytes - 1
            )
        )
        return UNSYNCHRONIZED.finding(
            where,
            tuple(shown),
            who=who,
            what=f"{verb[event.access]} {name}",
            state=event.state,
            why=why,
        )

    def _words(self, event: Event) -> str:
        name = self.names[self.places[event.place].field]
        how = f"{event.access} of {name}: {_value(event)}, by {_code(event)}"
        return f"{how}, at {event.seconds:.6f} s"

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, each with the number of times that it was seen."""
        return tuple(
            replace(one, evidence=(*one.evidence, ("times", str(times))))
            for one, times in self._found.values()
        )
