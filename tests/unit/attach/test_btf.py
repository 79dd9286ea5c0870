# SPDX-License-Identifier: GPL-2.0-or-later
"""BTF and kallsyms, written here by hand, whole and damaged."""

import random
import struct
from collections.abc import Callable

import drgn
import pageproof_pagewalk
import pytest
from unit.madebtf import KERNEL, MODULE, Row, damaged, packed_symbols, within_bounds, write

from pageproof.attach.btf import format as btf_format
from pageproof.attach.btf import kallsyms, plain
from pageproof.attach.btf.drgntypes import Types
from pageproof.attach.btf.format import Btf, Kind
from pageproof.errors import PageproofError

CASES = 5000


@pytest.fixture(autouse=True, params=(pageproof_pagewalk, plain), ids=("C", "Python"))
def _both(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test with the index in C, and with the one for installations without a compiler."""
    for module in btf_format, kallsyms:
        monkeypatch.setattr(module, "engine", request.param)


def program() -> drgn.Program:
    return drgn.Program(drgn.Platform(drgn.Architecture.X86_64))


@pytest.fixture
def types() -> Types:
    return Types(program(), Btf(write(KERNEL), "here"))


def named(types: Types, kind: drgn.TypeKind, name: str) -> drgn.Type:
    found = types.find(drgn.TypeKindSet({kind}), name)
    assert found is not None
    return found


def test_a_structure(types: Types) -> None:
    node = named(types, drgn.TypeKind.STRUCT, "node")
    assert node.size == 24
    assert [(one.name, one.bit_offset, one.bit_field_size) for one in node.members or ()] == [
        ("next", 0, None),
        (None, 64, None),
        ("low", 128, 3),
        ("high", 131, 29),
    ]
    assert node.member("next").type.type.tag == "node"
    assert node.member("value").type.type_name() == "int"
    assert node.member("flag").bit_offset == 64


@pytest.mark.parametrize(
    ("type_id", "name"),
    [
        (7, "node_t"),
        (8, "const volatile struct node"),
        (10, "struct node *[7]"),
        (13, "struct hidden"),
        (14, "int (struct node *first, struct node *[7] second, ...)"),
        (21, "struct node * restrict"),
        (23, "struct node *[]"),
        (24, "tagged"),
        (18, "double"),
        (0, "void"),
    ],
)
def test_kinds(types: Types, type_id: int, name: str) -> None:
    found = types.make(type_id)
    if type_id == 14:
        assert [one.name for one in found.parameters] == ["first", "second"]
        assert found.is_variadic
    else:
        assert found.type_name() == name


def test_constants(types: Types) -> None:
    for name, value in ("RED", -1), ("BLUE", 3), ("HUGE", 1 | 2 << 32):
        found = types.find_constant(name)
        assert found is not None and found.value_() == value
    assert types.find_constant("next") is None


def test_variables_and_functions(types: Types) -> None:
    variable, function = types.find_typed(Kind.VAR, "copy"), types.find_typed(Kind.FUNC, "call")
    assert variable is not None and variable.type_name() == "struct node"
    assert function is not None and function.kind is drgn.TypeKind.FUNCTION
    assert types.find_typed(Kind.VAR, "call") is None


def test_a_module_goes_on_where_the_kernel_ends() -> None:
    prog = program()
    types = Types(prog, Btf(write(KERNEL), "here"))
    btf = Btf(write(MODULE, "", types.btf.end_of_strings), "module", types.btf)
    module = Types(prog, btf, types)
    own = named(module, drgn.TypeKind.STRUCT, "own")
    assert own.member("head").type.size == 24
    # The declaration is resolved by the kernel's structure.
    assert own.member("far").type.type.is_complete()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("", Kind.PTR, 0, False, 1, ())], "64 types deep"),
        ([("a", Kind.TYPEDEF, 0, False, 2, ()), ("b", Kind.TYPEDEF, 0, False, 1, ())], "deep"),
        ([("s", Kind.STRUCT, 1, False, 8, ("", 1, 0))], "64 types deep"),
        ([("s", Kind.STRUCT, 1, False, 8, ("m", 1, 65))], "at bit 65"),
        (
            [
                ("", Kind.ARRAY, 0, False, 0, (2, 2, 1 << 31)),
                *[("", Kind.ARRAY, 0, False, 0, (3, 3, 1 << 31))],
                ("i", Kind.INT, 0, False, 8, (64,)),
            ],
            "an array of",
        ),
        ([("", Kind.PTR, 0, False, 9, ())], "type 9 does not exist"),
        ([("i", Kind.INT, 0, False, 99, (32,))], "integer 'i' of 99 bytes"),
        ([("", Kind.PTR, 0, False, 2, ()), ("f", Kind.FUNC, 0, False, 0, ())], "is a FUNC"),
        ([(1 << 20, Kind.FWD, 0, False, 0, ())], "of the strings"),
    ],
)
def test_damaged_types(rows: list[Row], message: str) -> None:
    types = Types(program(), Btf(write(rows), "here"))
    with pytest.raises(PageproofError, match=message) as caught:
        types.make(1)
    assert caught.value.where == "here"


def test_unnamed_members_do_not_multiply() -> None:
    """Each structure has the next one twice: drgn would list 2^40 members."""
    rows = [("", Kind.STRUCT, 2, False, 8, ("", n + 1, 0, "", n + 1, 0)) for n in range(1, 40)]
    types = Types(program(), Btf(write([*rows, ("i", Kind.INT, 0, False, 4, (32,))]), "here"))
    with pytest.raises(PageproofError, match="members"):
        types.make(1)


@pytest.mark.parametrize("length", range(0, len(write(KERNEL)), 7))
def test_cut(length: int) -> None:
    with pytest.raises(PageproofError, match="the BTF is damaged"):
        Btf(write(KERNEL)[:length], "here")


def _use_all(data: bytes) -> None:
    types = Types(program(), Btf(data, "here"))
    kinds = drgn.TypeKindSet(drgn.TypeKind)
    for name in ("node", "colour", "own", "tail", "int", "call"):
        types.find(kinds, name)
        types.find_typed(Kind.VAR, name)
    for name in ("RED", "HUGE", "next"):
        types.find_constant(name)
    for type_id in range(types.btf.count):
        made = types.make(type_id)
        if made.kind in (drgn.TypeKind.STRUCT, drgn.TypeKind.UNION) and made.is_complete():
            for member in made.members or ():
                member.type.type_name()
            made.has_member("none")


def _reader(memory: dict[int, bytes]) -> Callable[[int, int], bytes]:
    start, whole = min(memory), b"".join(memory[at] for at in sorted(memory))

    def read(address: int, length: int) -> bytes:
        if not start <= address <= address + length <= start + len(whole):
            raise drgn.FaultError("not there", address)
        return whole[address - start : address - start + length]

    return read


def test_kallsyms() -> None:
    places, memory = packed_symbols()
    table = kallsyms.unpack(_reader(memory), places)
    base = places["_stext"]
    assert len(table) == 4
    assert table.address("_stext") == base
    assert table.lengths("_stext", 8) == range(17, 33)  # the next one may be aligned to 128 bytes
    assert table.lengths("same", 8) == range(1, 17)
    assert table.lengths("last", 8) == range(0)
    assert [one.name for one in table.find(None, base + 0x17F, True)] == ["same"]
    assert [one.name for one in table.find(None, base + 0x180, True)] == ["last"]
    assert table.find(None, base + 0x181, True) == []  # its length is not known
    assert table.find(None, 17, True) == []  # no symbol reaches from per-CPU memory to the image
    assert [one.address for one in table.find("first", None, True)] == [16]
    assert table.find("irst", None, True) == []
    with pytest.raises(LookupError):
        table.address("none")


def test_offsets_from_their_own_place() -> None:
    """Without kallsyms_relative_base, as in 7.2, an offset counts from where it is."""
    places, memory = packed_symbols()
    del places["kallsyms_relative_base"]
    at = places["kallsyms_offsets"]
    memory[at] = struct.pack("<4i", *(32 * number - 4 * number for number in range(4)))
    table = kallsyms.unpack(_reader(memory), {**places, "_stext": at + 32})
    assert [table.address(name) for name in ("first", "_stext", "same")] == [at, at + 32, at + 64]


def test_text_ofpacked_symbols() -> None:
    table = kallsyms.parse(b"0 A a\nffffffff81000000 T b\nffffffffc0000000 t c\t[mod]\n", "x", 4096)
    assert table.address("b") == 0xFFFF_FFFF_8100_1000
    assert table.find("c", None, False) == []
    for text in b"0 T a\n", b"", b"hello\n", b"zz T a\n", b"1 T a\n\n", b"\x7fELF\0\0\n":
        with pytest.raises(PageproofError):
            kallsyms.parse(text, "x")


def test_damaged_btf() -> None:
    data = write(KERNEL)
    errors = within_bounds(CASES, lambda seed: _use_all(damaged(data, random.Random(seed))))
    assert CASES // 4 < errors < CASES


def test_damaged_kallsyms() -> None:
    def use(seed: int) -> None:
        chance = random.Random(seed)
        places, memory = packed_symbols()
        at = chance.choice(sorted(memory))
        memory[at] = damaged(memory[at], chance).ljust(len(memory[at]), b"\xff")
        try:
            table = kallsyms.unpack(_reader(memory), places)
        except drgn.FaultError:
            raise PageproofError("not readable", "memory") from None
        table.find(None, places["_stext"], True)
        table.find(None, None, False)

    assert CASES // 4 < within_bounds(CASES, use) < CASES
