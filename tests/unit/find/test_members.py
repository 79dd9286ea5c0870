# SPDX-License-Identifier: GPL-2.0-or-later
"""Members of a type by the names that people write, and their values in words."""

import drgn
import pytest

from pageproof.errors import PageproofError
from pageproof.find.kernel.members import (
    Enumerated,
    Member,
    MemberWords,
    bytes_member,
    find_member,
    members_of,
)
from pageproof.find.kernel.owner import OwnerRule

TEXT_BYTES = 16


class Slot:
    """A struct with a struct in it, as ``struct umh_shm_slot`` is, and odd members after it."""

    def __init__(self) -> None:
        self.prog = prog = drgn.Program(drgn.host_platform)
        u32 = prog.int_type("unsigned int", 4, False)
        char = prog.int_type("char", 1, True)
        u8 = prog.typedef_type("u8", prog.int_type("unsigned char", 1, False))
        text = prog.array_type(char, TEXT_BYTES)
        self.states = prog.enum_type(
            "umh_shm_state",
            u32,
            [drgn.TypeEnumerator("UMH_SHM_IDLE", 0), drgn.TypeEnumerator("UMH_SHM_POSTED", 1)],
        )
        req = prog.struct_type(
            "rztee_kreq", 20, [drgn.TypeMember(u32, "id"), drgn.TypeMember(text, "payload", 32)]
        )
        inner = prog.union_type(None, 4, [drgn.TypeMember(u32, "word"), drgn.TypeMember(u8, "low")])
        bits = drgn.TypeMember(drgn.Object(prog, u32, bit_field_size=3), "bits", 8 * 32 + 4)
        self.kind = prog.struct_type(
            "umh_shm_slot",
            48,
            [
                drgn.TypeMember(req, "req"),
                drgn.TypeMember(u32, "state", 8 * 20),
                drgn.TypeMember(prog.array_type(u32, 2), "words", 8 * 24),
                bits,
                drgn.TypeMember(inner, None, 8 * 36),
                drgn.TypeMember(prog.array_type(u8, 4), "raw", 8 * 40),
                drgn.TypeMember(prog.array_type(u32, 0), "rest", 8 * 48),
            ],
        )
        prog.register_type_finder("made", self._find, enable_index=0)

    def _find(
        self, prog: drgn.Program, kinds: drgn.TypeKindSet, name: str, filename: str | None
    ) -> drgn.Type | None:
        return self.states if name == "umh_shm_state" else None

    def member(self, text: str) -> Member:
        return find_member(self.prog, self.kind, text)


@pytest.fixture
def slot() -> Slot:
    return Slot()


def test_all_members_with_those_of_structs_inside(slot: Slot) -> None:
    found = [(one.name, one.offset, one.length) for one in members_of(slot.kind)]
    assert found == [
        ("rztee_kreq.id", 0, 4),
        ("rztee_kreq.payload", 4, 16),
        ("state", 20, 4),
        ("words", 24, 8),
        ("bits", 32, 1),
        ("word", 36, 4),
        ("low", 36, 1),
        ("raw", 40, 4),
    ]


@pytest.mark.parametrize("text", ["id", "req.id", "rztee_kreq.id"])
def test_a_member_has_several_names(slot: Slot, text: str) -> None:
    assert slot.member(text).offset == 0


@pytest.mark.parametrize(
    ("text", "name", "offset", "length"),
    [
        ("payload[0:8]", "rztee_kreq.payload[0:8]", 4, 8),
        ("payload[3]", "rztee_kreq.payload[3]", 7, 1),
        ("words[1]", "words[1]", 28, 4),
        ("words[0:2]", "words[0:2]", 24, 8),
    ],
)
def test_elements_of_an_array(slot: Slot, text: str, name: str, offset: int, length: int) -> None:
    found = slot.member(text)
    assert (found.name, found.offset, found.length) == (name, offset, length)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("idd", "has no such member, --field idd; it has rztee_kreq.id, "),
        ("words[2]", "the array has 2 elements, from 0"),
        ("words[1:1]", "the array has 2 elements"),
        ("words[0:3]", "the array has 2 elements"),
        ("state[0]", "this member is not an array"),
        ("req", "has no such member"),
        ("a b", "this is not a member"),
        ("", "this is not a member"),
    ],
)
def test_what_is_no_member(slot: Slot, text: str, message: str) -> None:
    with pytest.raises(PageproofError, match=message.replace("[", r"\[").replace(".", r"\.")):
        slot.member(text)


def test_values_in_words(slot: Slot) -> None:
    words = MemberWords(slot.prog, [Enumerated("state", "enum umh_shm_state", "UMH_SHM_")])

    def said(text: str, data: bytes) -> str:
        return words.words(slot.member(text), data)

    assert said("id", b"\2\0\0\0") == "2"
    assert said("payload", b"hello".ljust(TEXT_BYTES, b"\0")) == '"hello"'
    assert said("payload[0:4]", b"a\x1b\xffb") == '"a\\x1b\\xffb"'
    assert said("state", b"\1\0\0\0") == "POSTED"
    assert said("state", b"\7\0\0\0") == "7"
    assert said("raw", b"\1\2\3\4") == "0102 0304"
    assert said("bits", b"\x70") == "70"
    assert words.words(bytes_member(8, 20), bytes(range(20))).endswith("0c0d 0e0f …")


def test_a_part_of_a_value_is_bytes(slot: Slot) -> None:
    assert MemberWords(slot.prog).words(slot.member("id"), b"\2\0") == "0200"


def test_who_may_write_by_an_expression(slot: Slot) -> None:
    rule = OwnerRule(slot.prog, slot.kind, "user if state == 1 and req.id != 3 else kernel")
    assert [one.name for one in rule.members] == ["state", "rztee_kreq.id"]
    assert rule(bytes(48)) == "kernel"
    posted = bytes(20) + b"\1" + bytes(27)
    assert rule(posted) == "user"
    assert rule(b"\3" + posted[1:]) == "kernel"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user if", "this is not an expression"),
        ("user", "this reads no member of struct umh_shm_slot"),
        ("state", "this gives Object"),
        ("user if state.x else kernel", "can't be evaluated"),
        ("nothing if state == 0 else user", "can't be evaluated: NameError"),
        ("__import__('os') if state == 0 else user", "can't be evaluated: NameError"),
    ],
)
def test_an_expression_that_is_wrong(slot: Slot, text: str, message: str) -> None:
    with pytest.raises(PageproofError, match=message):
        OwnerRule(slot.prog, slot.kind, text)(bytes(48))
