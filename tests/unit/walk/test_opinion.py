# SPDX-License-Identifier: GPL-2.0-or-later
"""The second opinion: it agrees, contradicts or is silent."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import drgn
import pytest
from unit.facts import FRAME, USER, drgns, evidence, lost_walk, proof, user_walk

from pageproof.arch.x86_64.memtypes import X86MemoryType
from pageproof.find.frame import opinion
from pageproof.model import (
    Answer,
    Outcome,
    Permissions,
    Reason,
    SecondOpinion,
    Severity,
    Verdict,
    Walk,
)
from pageproof.walk.opinion import disputes, weigh

OTHER = SecondOpinion(0x7654_3000, 0x76543)
UNMAPPED = SecondOpinion(None, None, f"address is not mapped: {USER:#x}")
AGREES, CONTRADICTS, SILENT = Answer


def closed() -> Walk:
    """As a page after mprotect(PROT_NONE): its entry grants nothing, and has no bits that do."""
    return replace(
        user_walk(),
        outcome=Outcome.PROT_NONE,
        permissions=Permissions(write=False, execute=True, user=False, access=False),
    )


@pytest.mark.parametrize(
    ("walk", "said", "answer", "reason"),
    [
        (user_walk(), SecondOpinion(FRAME, FRAME >> 12), AGREES, ""),
        (user_walk(), OTHER, CONTRADICTS, ""),
        (user_walk(), UNMAPPED, CONTRADICTS, ""),
        (closed(), SecondOpinion(FRAME, FRAME >> 12), AGREES, ""),
        (closed(), OTHER, CONTRADICTS, ""),
        (closed(), UNMAPPED, SILENT, "without PRESENT"),
        (replace(closed(), outcome=Outcome.INVALIDATED), UNMAPPED, SILENT, "without PRESENT"),
        (replace(closed(), outcome=Outcome.INVALIDATED), OTHER, SILENT, "about to change"),
        (lost_walk(Outcome.MIGRATION), OTHER, SILENT, "about to change"),
        (lost_walk(Outcome.MIGRATION), UNMAPPED, AGREES, ""),
        (lost_walk(Outcome.RESERVED_BITS), OTHER, SILENT, "reserved bits"),
        (lost_walk(Outcome.RESERVED_BITS), UNMAPPED, AGREES, ""),
        (lost_walk(Outcome.NONE), UNMAPPED, AGREES, ""),
        (lost_walk(Outcome.NONE), OTHER, CONTRADICTS, ""),
        (lost_walk(Outcome.SWAP), OTHER, CONTRADICTS, ""),
        (lost_walk(Outcome.HWPOISON), OTHER, CONTRADICTS, ""),
        *(
            (lost_walk(gap), said, SILENT, "our walk could not read a table")
            for gap in (Outcome.EXCLUDED, Outcome.ZERO_FILLED, Outcome.UNREADABLE)
            for said in (OTHER, UNMAPPED)
        ),
    ],
)
def test_the_three_answers(walk: Walk, said: SecondOpinion, answer: Answer, reason: str) -> None:
    weighed = weigh(walk, said)
    assert weighed.answer is answer
    assert reason in weighed.silence
    assert bool(weighed.silence) is (answer is SILENT)
    assert disputes(walk, said) is (answer is CONTRADICTS)


def test_a_silence_from_the_start_is_kept() -> None:
    silent = SecondOpinion(None, None, "it faulted", SILENT, "it is blind")
    assert weigh(user_walk(), silent) == silent
    one = proof(replace(evidence(), kernel_second=silent, user_second=silent))
    assert (one.verdict, one.findings) == (Verdict.SAME, ())


def test_every_report_has_the_answers() -> None:
    one = proof(replace(evidence(), user_second=OTHER)).evidence
    assert (one.kernel_second.answer, one.user_second.answer) == (AGREES, CONTRADICTS)


def test_an_entry_without_present_grants_nothing() -> None:
    """And drgn is silent about it: the page is SAME, with a note."""
    one = proof(evidence(user=closed()))
    assert (one.verdict, one.reason) == (Verdict.SAME, None)
    assert [(found.id, found.severity) for found in one.findings] == [("prot-none", Severity.NOTE)]
    assert one.evidence.user_second.answer is SILENT


def test_no_rule_about_rights_fires_on_the_kernels_closed_entry() -> None:
    """The bits of an entry without PRESENT are no rights, on either side."""
    may = Permissions(write=True, execute=True, user=True, access=False)
    shut = replace(evidence().kernel_walk, outcome=Outcome.PROT_NONE, permissions=may)
    one = evidence(kernel=shut)
    assert proof(replace(one, kernel_second=drgns(shut))).findings == ()
    read_only = replace(may, write=False)
    one = evidence(kernel=replace(shut, permissions=read_only))
    assert proof(one).findings == ()


def test_nothing_is_used_through_a_closed_entry_by_its_memory_type() -> None:
    one = proof(evidence(user=replace(closed(), memory_type=X86MemoryType.UC)))
    assert [found.id for found in one.findings] == ["prot-none"]


# What drgn itself says


class Program:
    """Enough of a program for the kernel's own tables."""

    def __getitem__(self, name: str) -> Any:
        assert name == "init_mm"
        return SimpleNamespace(address_of_=lambda: "init_mm")


def asked(monkeypatch: pytest.MonkeyPatch, said: int | Exception, mask: int = 0) -> SecondOpinion:
    def follow_phys(_space: object, _address: int) -> Any:
        if isinstance(said, Exception):
            raise said
        return SimpleNamespace(value_=lambda: said)

    monkeypatch.setattr(opinion, "follow_phys", follow_phys)
    program: Any = Program()
    return opinion.second_opinion(program, None, USER, mask)


def test_a_table_that_drgn_can_not_read_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The words of drgn 0.3.0: of an entry that maps nothing, and of a table beyond memory."""
    unmapped = drgn.FaultError("address is not mapped", USER)
    assert asked(monkeypatch, unmapped) == UNMAPPED
    lost = drgn.FaultError("could not find physical memory segment", 0x7F00_0000_0000)
    said = asked(monkeypatch, lost)
    assert (said.pfn, said.answer) == (None, SILENT)
    assert "could not read a table" in said.silence
    assert not disputes(user_walk(), said)


def test_with_an_sme_mask_drgn_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """It leaves the C-bit in the address of each table. A leaf's is taken out for it."""
    mask = 1 << 47
    for words in ("address is not mapped", "could not find physical memory segment"):
        said = asked(monkeypatch, drgn.FaultError(words, USER), mask)
        assert said.answer is SILENT
        assert "C-bit" in said.silence
        assert proof(replace(evidence(), user_second=said)).verdict is Verdict.SAME
    assert asked(monkeypatch, mask | FRAME, mask) == SecondOpinion(FRAME, FRAME >> 12)


def test_a_contradiction_is_still_one() -> None:
    one = proof(replace(evidence(), user_second=OTHER))
    assert (one.verdict, one.reason) == (Verdict.UNKNOWN, Reason.DISPUTED)
