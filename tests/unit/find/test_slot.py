# SPDX-License-Identifier: GPL-2.0-or-later
"""Decoding of slots, with a type made by hand that is like the one in the module's DWARF."""

from __future__ import annotations

import struct

import drgn
import pytest

from pageproof.find.umh_shm.slot import SlotReader
from pageproof.model import SlotFacts


@pytest.fixture
def prog() -> drgn.Program:
    return drgn.Program(drgn.Platform(drgn.Architecture.X86_64))


def slot_type(prog: drgn.Program) -> drgn.Type:
    u32 = prog.int_type("__u32", 4, False)
    s32 = prog.int_type("__s32", 4, True)
    text = prog.array_type(prog.int_type("char", 1, True), 1024)
    member = drgn.TypeMember
    request = prog.struct_type(
        "rztee_kreq",
        2052,
        (member(u32, "id", 0), member(text, "payload", 32), member(text, "pl_hash", 8224)),
    )
    return prog.struct_type(
        "umh_shm_slot",
        4096,
        (
            member(request, "req", 0),
            member(u32, "state", 2052 * 8),
            member(u32, "seq", 2056 * 8),
            member(s32, "status", 2068 * 8),
            member(text, "reply", 2076 * 8),
        ),
    )


#: Words by offset: 0x6c6c656800000002 is id 2 and "hell", then "o", a hole, "world".
WORDS = {0: 0x6C6C_6568_0000_0002, 8: 0x6F, 1024: 0x6C72_6F77_0000_0000, 1032: 0x64}


def article_bytes() -> bytearray:
    data = bytearray(4096)
    for offset, word in WORDS.items():
        struct.pack_into("<Q", data, offset, word)
    return data


def slot_facts(prog: drgn.Program, data: bytearray) -> SlotFacts:
    facts = SlotReader(prog, slot_type(prog)).facts(bytes(data))
    assert facts is not None
    return facts


def test_the_articles_words(prog: drgn.Program) -> None:
    facts = slot_facts(prog, article_bytes())
    assert (facts.id, facts.payload, facts.pl_hash) == (2, "hello", "world")


def test_the_protocols_words(prog: drgn.Program) -> None:
    data = article_bytes()
    struct.pack_into("<II", data, 2052, 3, 7)
    struct.pack_into("<i", data, 2068, -22)
    data[2076 : 2076 + 13] = b"2 hello world"
    facts = slot_facts(prog, data)
    assert facts.state == "3"
    assert facts.words == (("seq", 7), ("status", -22))
    assert facts.reply == "2 hello world"


def test_a_payload_without_a_nul_ends_with_its_array(prog: drgn.Program) -> None:
    data = article_bytes()
    data[4:1028] = b"x" * 1024
    assert slot_facts(prog, data).payload == "x" * 1024


def test_a_page_shorter_than_the_type_has_no_facts(prog: drgn.Program) -> None:
    assert SlotReader(prog, slot_type(prog)).facts(bytes(2048)) is None
