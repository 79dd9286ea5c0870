# SPDX-License-Identifier: GPL-2.0-or-later
"""The protocol of a slot, and --owner: what is allowed, what is not, and the evidence."""

from dataclasses import replace

import pytest

from pageproof.judge.rules.protocol import (
    ProtocolCheck,
    judge_owner,
    judge_slot,
)
from pageproof.model import Severity
from pageproof.model.watch import Access, CodePlace, Context, Event, Mode, Place

KERNEL, USER = Mode.KERNEL, Mode.USER
READ, WRITE = Access.READ, Access.WRITE
CODE = CodePlace(0xFFFFFFFFC0000010, "post+0x10", "umh_shm", "proto.c:200")
EVENT = Event(
    1, 0.5, 0, 0, WRITE, KERNEL, Context.TASK, 9, 9, "kworker", "0", "2", "IDLE", CODE
)  # fmt: skip
MEMBERS = ("id", "state", "payload", "reply", "seq", "payload_len", "ack")
PLACES = tuple(
    Place(number, number % len(MEMBERS), 0x1000 + number, 4, 0x5000, side, pid=7, comm="helper")
    for number, side in enumerate([KERNEL] * len(MEMBERS) + [USER] * len(MEMBERS))
)


def event(
    state: str, side: Mode, access: Access, member: str, before: str = "0", after: str = "1"
) -> Event:
    number = MEMBERS.index(member) + (len(MEMBERS) if side is USER else 0)
    return replace(
        EVENT, state=state, place=number, access=access, before=before, after=after, mode=side
    )


def judged(one: Event) -> str:
    place = PLACES[one.place]
    return judge_slot(one, MEMBERS[place.field], place.side)


#: A request and its answer, as module/umh_shm_abi.h draws it.
SOUND = [
    ("IDLE", KERNEL, WRITE, "id"),
    ("IDLE", KERNEL, WRITE, "payload"),
    ("IDLE", KERNEL, WRITE, "seq"),
    ("IDLE", KERNEL, WRITE, "payload_len"),
    ("IDLE", KERNEL, WRITE, "state", "IDLE", "POSTED"),
    ("POSTED", USER, WRITE, "state", "POSTED", "CLAIMED"),
    ("CLAIMED", USER, READ, "id"),
    ("CLAIMED", USER, READ, "payload"),
    ("CLAIMED", USER, WRITE, "ack"),
    ("CLAIMED", USER, WRITE, "reply"),
    ("CLAIMED", USER, WRITE, "state", "CLAIMED", "DONE"),
    ("DONE", KERNEL, READ, "state"),
    ("DONE", KERNEL, READ, "reply"),
    ("DONE", KERNEL, READ, "ack"),
    ("DONE", KERNEL, WRITE, "state", "DONE", "IDLE"),
    # The kernel withdraws a request, and takes a slot back from a helper that is gone.
    ("POSTED", KERNEL, WRITE, "state", "POSTED", "IDLE"),
    ("CLAIMED", KERNEL, WRITE, "state", "CLAIMED", "IDLE"),
    # A compare-exchange that fails writes the old value.
    ("IDLE", USER, WRITE, "state", "IDLE", "IDLE"),
    ("DONE", KERNEL, WRITE, "state", "DONE", "DONE"),
]
WRONG = [
    ("POSTED", KERNEL, WRITE, "payload", "the kernel may not write it then"),
    ("CLAIMED", KERNEL, WRITE, "id", "the kernel may not write it then"),
    ("CLAIMED", KERNEL, READ, "reply", "the kernel may not read it then"),
    ("IDLE", USER, WRITE, "payload", "the helper may not write it then"),
    ("CLAIMED", USER, WRITE, "payload", "the helper may not write it then"),
    ("POSTED", USER, READ, "payload", "the helper may not read it then"),
    ("DONE", USER, WRITE, "reply", "the helper may not write it then"),
    ("IDLE", USER, READ, "reply", "the helper may not read it then"),
]


@pytest.mark.parametrize("words", SOUND, ids=lambda one: " ".join(one[:4]))
def test_a_sound_access(words: tuple[str, Mode, Access, str]) -> None:
    assert judged(event(*words)) == ""


@pytest.mark.parametrize("words", WRONG, ids=lambda one: " ".join(one[:4]))
def test_an_unsynchronized_access(words: tuple[str, Mode, Access, str, str]) -> None:
    *access, why = words
    assert judged(event(*access)) == why  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("side", "before", "after"),
    [(USER, "IDLE", "POSTED"), (USER, "DONE", "IDLE"), (KERNEL, "IDLE", "CLAIMED")],
)
def test_a_change_of_state_that_is_not_its_own(side: Mode, before: str, after: str) -> None:
    assert judged(event(before, side, WRITE, "state", before, after)).endswith(f"to {after}")


def test_a_step_that_could_not_be_seen() -> None:
    done = event("POSTED", USER, WRITE, "state", "POSTED", "DONE")
    assert judge_slot(done, "state", USER) == "the helper may not change it to DONE"
    assert judge_slot(done, "state", USER, blind=True) == ""


def test_an_unknown_state_is_not_judged() -> None:
    assert judged(event("17", USER, WRITE, "payload")) == ""


@pytest.mark.parametrize(
    ("owner", "side", "access", "before", "after", "wrong"),
    [
        ("kernel", USER, WRITE, "0", "1", True),
        ("kernel", KERNEL, WRITE, "0", "1", False),
        ("user", KERNEL, WRITE, "0", "0", True),
        ("both", USER, WRITE, "0", "1", False),
        ("nobody", KERNEL, WRITE, "0", "1", True),
        ("kernel", USER, READ, "1", "1", False),
        ("kernel", USER, Access.ACCESS, "0", "1", True),
        ("kernel", USER, Access.ACCESS, "1", "1", False),
        ("", USER, WRITE, "0", "1", False),
    ],
)
def test_only_the_owner_writes(
    owner: str, side: Mode, access: Access, before: str, after: str, wrong: bool
) -> None:
    one = event(owner, side, access, "id", before, after)
    assert bool(judge_owner(one, "id", side)) is wrong


def check() -> ProtocolCheck:
    return ProtocolCheck(judge_slot, MEMBERS, MEMBERS, PLACES)


def test_a_finding_has_the_last_accesses_of_both_sides() -> None:
    seen = check()
    seen.see(event("IDLE", KERNEL, WRITE, "id"))
    seen.see(event("CLAIMED", USER, READ, "id"))
    wrong = replace(event("CLAIMED", USER, WRITE, "payload", '"a"', '"b"'), pid=7, comm="rogue")
    assert seen.see(wrong) == "the helper may not write it then"
    seen.see(wrong)
    (finding,) = seen.findings
    assert finding.severity is Severity.ERROR
    assert finding.sentence.startswith("rogue (pid 7) writes payload while the state is CLAIMED: ")
    shown = dict(finding.evidence)
    assert shown["access"] == '"a" -> "b"'
    assert shown["code"] == "post+0x10 umh_shm proto.c:200"
    assert shown["last of the kernel"] == "write of id: 0 -> 1, by post+0x10, at 0.500000 s"
    assert shown["last of user mode"] == "read of id: 1, by post+0x10, at 0.500000 s"
    assert shown["times"] == "2"


def test_findings_are_bounded() -> None:
    seen = check()
    for pid in range(100):
        seen.see(replace(event("IDLE", USER, WRITE, "payload"), pid=1000 + pid))
    assert len(seen.findings) == 50
    assert seen.more == 50
