# SPDX-License-Identifier: GPL-2.0-or-later
"""Which bytes of a frame ``watch`` watches, and what is known of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import drgn

from pageproof.errors import PageproofError
from pageproof.find.kernel.members import (
    Member,
    MemberWords,
    bytes_member,
    find_member,
    find_type,
    members_of,
)
from pageproof.find.kernel.owner import OwnerRule
from pageproof.find.umh_shm.slot import SLOT, SLOT_ENUMS
from pageproof.judge.rules.protocol import SLOT_STATE, Judge, judge_owner, judge_slot
from pageproof.model.asked import WatchAsked
from pageproof.model.watch import WatchedField
from pageproof.observe.chosen import Chosen
from pageproof.space.units import PAGE_BYTES


@dataclass(frozen=True)
class Fields:
    """The watched fields.

    Attributes:
        members: one for each field.
        words: puts their values into words.
        judge: of the protocol; None if there is none, or if its state is not watched.
        state: the protocol's state, from the page.
        notes: for the user.
    """

    members: tuple[Member, ...]
    words: MemberWords
    judge: Judge | None = None
    state: Callable[[bytes], str] | None = None
    notes: tuple[str, ...] = ()

    @property
    def shown(self) -> tuple[WatchedField, ...]:
        """The fields as a report has them."""
        return tuple(
            WatchedField(one.name, one.offset, one.length, one.kind.type_name() if one.kind else "")
            for one in self.members
        )


def choose_fields(prog: drgn.Program, asked: WatchAsked, frame: Chosen) -> Fields:
    """Find the bytes that the user means.

    Raises:
        PageproofError: there is no such type or member.
    """
    if asked.sample:
        return Fields((Member("the page", (), 0, PAGE_BYTES, None),), MemberWords(prog))
    name = asked.type_name or frame.content
    if asked.owner is not None and not name:
        raise PageproofError("--owner needs the type of the page", "", "add --type 'struct …'")
    if asked.fields and not name:
        raise PageproofError(
            "--field needs the type of the page", "", "add --type 'struct …', or use --offset"
        )
    if not name:
        return Fields((_bytes(asked),), MemberWords(prog))
    kind = find_type(prog, name)
    at = frame.offset
    members = tuple(one._replace(offset=at + one.offset) for one in _members(prog, kind, asked))
    if any(one.offset + one.length > PAGE_BYTES for one in members):
        raise PageproofError(
            f"{name} ends after the page", "--type", "choose members in the page with --field"
        )
    if asked.owner is not None:
        return _owned(prog, kind, asked.owner, members, at)
    if name == SLOT:
        return _slot(prog, kind, members)
    return Fields(members, MemberWords(prog))


def _bytes(asked: WatchAsked) -> Member:
    if asked.offset is None or asked.length is None:
        return bytes_member(0, PAGE_BYTES)
    return bytes_member(asked.offset, asked.length)


def _members(prog: drgn.Program, kind: drgn.Type, asked: WatchAsked) -> tuple[Member, ...]:
    if asked.fields:
        return tuple(dict.fromkeys(find_member(prog, kind, text) for text in asked.fields))
    if asked.offset is not None:
        return (_bytes(asked),)
    return members_of(kind) or (bytes_member(0, drgn.sizeof(kind)),)


def _owned(
    prog: drgn.Program, kind: drgn.Type, text: str, members: tuple[Member, ...], at: int
) -> Fields:
    rule = OwnerRule(prog, kind, text)
    read = (one._replace(offset=at + one.offset) for one in rule.members)
    more = tuple(one for one in read if not _covered(one, members))
    return Fields(
        members + more,
        MemberWords(prog),
        judge_owner,
        lambda page: rule(page[at:]),
        tuple(f"{one.name} is watched too, because --owner reads it" for one in more),
    )


def _slot(prog: drgn.Program, kind: drgn.Type, members: tuple[Member, ...]) -> Fields:
    words = MemberWords(prog, SLOT_ENUMS)
    state = find_member(prog, kind, SLOT_STATE)
    if not _covered(state, members):
        note = f"the protocol is not checked: add --field {SLOT_STATE}"
        return Fields(members, words, notes=(note,))

    def state_of(page: bytes) -> str:
        return words.words(state, page[state.offset : state.offset + state.length])

    return Fields(members, words, judge_slot, state_of)


def _covered(one: Member, members: tuple[Member, ...]) -> bool:
    end = one.offset + one.length
    return any(each.offset <= one.offset and end <= each.offset + each.length for each in members)
