# SPDX-License-Identifier: GPL-2.0-or-later
"""The pure parts of whatis: what places mean, what frames are used for, what is open."""

from __future__ import annotations

from dataclasses import replace

import drgn
import pytest
from unit.facts import FRAME, KERNEL, PAGE, PAGING, kernel_walk, lost_walk
from unit.layouts import FIVE, FOUR, MOVED_FOUR

from pageproof.arch.x86_64.areas import (
    espfix_offset,
    find_espfix,
    find_fixmap,
    find_ldt,
    member_path,
    slot_name,
)
from pageproof.arch.x86_64.rows import memory_map
from pageproof.errors import PageproofError
from pageproof.find.identify import Missing, Place, Question, identify, questions_of, unanswered
from pageproof.find.identify.memory import find_page_struct, vmap_words
from pageproof.find.identify.shadow import find_shadow, meaning, shadow_of, shadowed
from pageproof.find.kernel.percpu import find_copy
from pageproof.judge.whatis import alias_addresses, as_alias, exit_code, is_known, page_use
from pageproof.model import MemoryGap, Outcome, StructPageFacts
from pageproof.model.kmap import LayoutFacts
from pageproof.model.whatis import (
    FixmapFacts,
    Identity,
    LdtFacts,
    OwnerFacts,
    PageUse,
    SymbolFacts,
    Unknown,
)
from pageproof.space.rows import row_at

SYMBOL = SymbolFacts("schedule", 0xFFFF_FFFF_8100_0000, 166, 0, "text", False, "debug info")


def no_memory(address: int, length: int) -> bytes:
    raise MemoryGap(Outcome.EXCLUDED, f"{address:#x} was left out of the dump")


def place(
    address: int, region: str = "", layout: LayoutFacts = FOUR, prog: drgn.Program | None = None
) -> Place:
    """A place in a kernel without memory; the region is that of the map if none is named."""
    return Place(
        prog=prog or drgn.Program(drgn.Platform(drgn.Architecture.X86_64)),
        read_virtual=no_memory,
        paging=replace(PAGING, levels=layout.levels),
        layout=layout,
        region=region or row_at(memory_map(layout), address).region,
        address=address,
        pid=None,
        walk=kernel_walk(),
    )


# Rows


@pytest.mark.parametrize(
    ("address", "region"),
    [
        (0, "user"),
        (0x7FFF_FFFF_FFFF, "user"),
        (0x8000_0000_0000, "non-canonical"),
        (0xFFFF_8000_0000_0000, "guard-hole"),
        (KERNEL, "physmap"),
        (0xFFFF_C900_0000_0000, "vmalloc"),
        (0xFFFF_FFFF_FF60_0000, "vsyscall"),
        (0xFFFF_FFFF_FF5F_FFFF, "fixmap"),
        (2**64 - 1, "top-hole"),
    ],
)
def test_the_row_of_an_address(address: int, region: str) -> None:
    assert row_at(memory_map(FOUR), address).region == region


# Fixmap, cpu_entry_area, espfix, LDT

SLOTS = (
    (511, "VSYSCALL_PAGE"),
    (512, "FIX_DBGP_BASE"),
    (515, "FIX_IO_APIC_BASE_0"),
    (642, "FIX_IO_APIC_BASE_END"),
    (646, "__end_of_permanent_fixed_addresses"),
    (646, "FIX_BTMAP_END"),
)


@pytest.mark.parametrize(
    ("slot", "expected"),
    [
        (511, ("VSYSCALL_PAGE", 0)),
        (512, ("FIX_DBGP_BASE", 0)),
        (514, ("FIX_DBGP_BASE", 2)),
        (520, ("FIX_IO_APIC_BASE_0", 5)),
        (646, ("FIX_BTMAP_END", 0)),
        (3, ("", 3)),
    ],
)
def test_names_of_slots(slot: int, expected: tuple[str, int]) -> None:
    assert slot_name(SLOTS, slot) == expected


def fixmap_program() -> drgn.Program:
    made = drgn.Program(drgn.Platform(drgn.Architecture.X86_64))
    kind = made.enum_type(
        "fixed_addresses",
        made.int_type("unsigned int", 4, False),
        [drgn.TypeEnumerator(name, value) for value, name in SLOTS],
    )
    made.register_type_finder(
        "test",
        lambda prog, kinds, name, file: kind if name == "fixed_addresses" else None,
        enable_index=0,
    )
    return made


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (0xFFFF_FFFF_FF60_0010, FixmapFacts(511, "VSYSCALL_PAGE", 0, 0x10)),
        (0xFFFF_FFFF_FF5F_F000, FixmapFacts(512, "FIX_DBGP_BASE", 0, 0)),
        (0xFFFF_FFFF_FF5F_BFFF, FixmapFacts(516, "FIX_IO_APIC_BASE_0", 1, 0xFFF)),
        (0xFFFF_FFFF_FF57_8000, FixmapFacts(647, "FIX_BTMAP_END", 1, 0)),
        (KERNEL, None),
    ],
)
def test_fixmap_slots_count_down_from_the_top(address: int, expected: FixmapFacts | None) -> None:
    assert find_fixmap(place(address, prog=fixmap_program())) == expected


def test_members_of_members() -> None:
    """struct area { char gdt[64]; struct { struct io { int a; int b; } io; long end; }; }"""
    made = drgn.Program(drgn.Platform(drgn.Architecture.X86_64))
    number = made.int_type("int", 4, True)
    inner = made.struct_type(
        "io", 8, (drgn.TypeMember(number, "a", 0), drgn.TypeMember(number, "b", 32))
    )
    nameless = made.struct_type(
        None,
        24,
        (
            drgn.TypeMember(made.typedef_type("io_t", inner), "io", 0),
            drgn.TypeMember(made.int_type("long", 8, True), "end", 128),
        ),
    )
    area = made.struct_type(
        "area",
        88,
        (
            drgn.TypeMember(made.array_type(made.int_type("char", 1, True), 64), "gdt", 0),
            drgn.TypeMember(nameless, None, 512),
        ),
    )
    assert member_path(area, 5) == ("gdt", 0)
    assert member_path(area, 64) == ("io.a", 64)
    assert member_path(area, 69) == ("io.b", 68)
    assert member_path(area, 74) == ("", 64)  # padding of the nameless one
    assert member_path(area, 87) == ("end", 80)


ESPFIX = 0xFFFF_FF12_0000_5A40


@pytest.mark.parametrize(
    ("address", "offset"),
    [
        (ESPFIX, 0),
        (ESPFIX + 63, 63),
        (ESPFIX + 0x1234_0000, 0),  # another image of the same stack
        (ESPFIX + 64, None),
        (ESPFIX - 1, None),
        (ESPFIX + (1 << 32), None),
    ],
)
def test_images_of_espfix_stacks(address: int, offset: int | None) -> None:
    assert espfix_offset(ESPFIX, address) == offset


def test_espfix_where_the_kernel_has_none() -> None:
    assert find_espfix(place(0xFFFF_FF12_0000_0000, layout=MOVED_FOUR)) is None


@pytest.mark.parametrize(
    ("offset", "expected"),
    [
        (0, LdtFacts(0, 0)),
        (0x10008, LdtFacts(1, 1)),
        (0xFFF8, LdtFacts(0, 8191)),
        (0x20000, None),
    ],
)
def test_ldt_entries(offset: int, expected: LdtFacts | None) -> None:
    isolated = replace(place(FOUR.ldt + offset), paging=replace(PAGING, pti=True), pid=1)
    assert find_ldt(isolated) == expected
    assert find_ldt(replace(isolated, paging=PAGING)) is None  # without PTI there is no remap
    with pytest.raises(Missing, match="--pid"):
        find_ldt(replace(isolated, pid=None))


# KASAN


@pytest.mark.parametrize("layout", [FOUR, FIVE])
def test_the_shadow_begins_and_ends_where_the_region_does(layout: LayoutFacts) -> None:
    assert layout.kasan_end is not None
    first = 2**64 - (1 << 47 if layout.levels == 4 else 1 << 56)
    assert shadow_of(2**64 - 1, layout.kasan_end) == layout.kasan_end - 1
    start = shadow_of(first, layout.kasan_end)
    # mm.rst rounds the start of 5 levels down to a PGD entry: KASAN_SHADOW_START is in it.
    assert start == (0xFFFF_EC00_0000_0000 if layout.levels == 4 else 0xFFDF_FC00_0000_0000)
    assert shadowed(start, layout.kasan_end) == first


def test_the_early_shadow_before_the_shadow_is_of_no_address() -> None:
    """With 5 levels the region begins at a PGD entry, and the shadow inside of it."""
    assert find_shadow(place(0xFFDF_0000_0000_0000, layout=FIVE)) is None
    assert find_shadow(place(0xFFDF_FBFF_FFFF_FFFF, layout=FIVE)) is None
    found = find_shadow(place(0xFFDF_FC00_0000_0000, layout=FIVE))
    assert found is not None
    assert found.memory == 0xFF00_0000_0000_0000


def test_shadow_bytes() -> None:
    """``KASAN_SHADOW_OFFSET`` is 0xdffffc0000000000 (arch/x86/Kconfig)."""
    address = KERNEL + 5
    shadow = (address >> 3) + 0xDFFF_FC00_0000_0000
    memory = {shadow: bytes((0, 3, 0xFC, 0xFB, 0xFF, 0xF1, 0xF8, 0x42))}
    found = find_shadow(replace(place(address), read_virtual=lambda at, length: memory[at]))
    assert found is not None
    assert (found.shadow, found.memory) == (shadow, KERNEL)
    assert found.meanings[:4] == (
        "all 8 bytes may be used",
        "the first 3 of 8 bytes may be used",
        "redzone of a slab object",
        "freed slab object",
    )
    assert found.meanings[-1] == "code 0x42"
    back = find_shadow(replace(place(shadow), read_virtual=lambda at, length: memory[at]))
    assert back is not None
    assert (back.shadow, back.memory, back.values) == (shadow, KERNEL, found.values)


def test_no_shadow() -> None:
    """Without KASAN, of a user address, and where none is mapped."""
    assert find_shadow(place(KERNEL, "physmap", MOVED_FOUR)) is None
    assert find_shadow(place(0x1000)) is None
    found = find_shadow(place(KERNEL))
    assert found is not None
    assert (found.values, found.meanings) == ((), ())


def test_every_code_has_a_meaning() -> None:
    """mm/kasan/kasan.h of 6.12."""
    codes = (0xFF, 0xFE, 0xFC, 0xFB, 0xF8, 0xFA, 0xF9, 0xF1, 0xF2, 0xF3, 0xF4, 0xCA, 0xCB)
    assert all(not meaning(code).startswith("code") for code in codes)


# vmalloc, struct page


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (0, ""),
        (0x1, "ioremap"),
        (0x22, "vmalloc|uninitialized"),
        (0x102, "vmalloc|flush-reset-perms"),
        (0x8000_0004, "vmap|bit 31"),
    ],
)
def test_flags_of_areas(flags: int, words: str) -> None:
    assert vmap_words(flags) == words


def test_struct_page_of_a_frame() -> None:
    found = find_page_struct(place(FOUR.vmemmap_base + 0x1234 * 64 + 8))
    assert found is not None
    assert (found.pfn, found.offset_bytes) == (0x1234, 8)
    assert found.start == FOUR.vmemmap_base + 0x1234 * 64


# Questions are asked independently


def test_an_error_in_one_question_leaves_the_others() -> None:
    def fault(place: Place) -> None:
        raise drgn.FaultError("could not read memory from kdump: Excluded page: 0x1000", 0x1000)

    def missing(place: Place) -> None:
        raise Missing("the slab has no cache")

    questions: tuple[tuple[str, Question], ...] = (
        ("slab", fault),
        ("vmap", missing),
        ("symbol", lambda place: SYMBOL),
        ("module", lambda place: None),
    )
    identity, unknown = identify(place(0x1000, "user"), questions)
    assert identity == Identity(symbol=SYMBOL)
    assert [(one.question, one.outcome) for one in unknown] == [
        ("slab", Outcome.EXCLUDED),
        ("vmap", Outcome.UNREADABLE),
    ]
    assert "no cache" in unknown[1].reason


@pytest.mark.parametrize(
    ("error", "outcome", "reason"),
    [
        (MemoryGap(Outcome.EXCLUDED, "left out"), Outcome.EXCLUDED, "left out"),
        (drgn.FaultError("could not find memory segment", 1), Outcome.UNREADABLE, "segment"),
        (LookupError("could not find 'pcpu_unit_size'"), Outcome.UNREADABLE, "pcpu_unit_size"),
        (AttributeError("no member 'caller'"), Outcome.UNREADABLE, "no member"),
        (ValueError(), Outcome.UNREADABLE, "ValueError"),
    ],
)
def test_an_error_is_a_question_without_an_answer(
    error: Exception, outcome: Outcome, reason: str
) -> None:
    found = unanswered("x", error)
    assert found.outcome is outcome
    assert reason in found.reason


def test_every_question_fills_a_field() -> None:
    fields = set(Identity.__dataclass_fields__)
    prog = drgn.Program(drgn.Platform(drgn.Architecture.X86_64))
    assert {name for name, _ in questions_of(prog)} | {"drgn", "task"} == fields


def test_a_user_address_is_none_of_the_kernels_things() -> None:
    """On a program that knows nothing, so that a finder that looks further would fail."""
    assert identify(place(0x7F00_0000_0000)) == (Identity(), ())


# What a frame is used for

PLAIN = replace(PAGE, type_words="", refcount=1, mapcount=0, reserved=False, buddy=False)


@pytest.mark.parametrize(
    ("page", "owner", "use"),
    [
        (PLAIN, OwnerFacts(), PageUse.OTHER),
        (PLAIN, None, PageUse.UNKNOWN),
        (PLAIN, OwnerFacts(mapping=0x1001, anonymous=True), PageUse.ANONYMOUS),
        (PLAIN, OwnerFacts(mapping=0x1003, anonymous=True, ksm=True), PageUse.KSM),
        (PLAIN, OwnerFacts(mapping=0x1000, inode_number=0), PageUse.FILE),
        (PLAIN, OwnerFacts(mapping=0x1000), PageUse.OTHER),
        (replace(PLAIN, refcount=0), OwnerFacts(), PageUse.UNCOUNTED),
        (replace(PLAIN, refcount=0), OwnerFacts(free_order=0), PageUse.FREE),
        (replace(PLAIN, refcount=0, buddy=True, mapcount=None), None, PageUse.FREE),
        (replace(PLAIN, reserved=True), OwnerFacts(), PageUse.RESERVED),
        (replace(PLAIN, type_words="slab", refcount=0, mapcount=None), None, PageUse.SLAB),
        (replace(PLAIN, type_words="large kmalloc", mapcount=None), None, PageUse.LARGE_KMALLOC),
        (replace(PLAIN, type_words="table", mapcount=None), OwnerFacts(page_table=True), "table"),
        (replace(PLAIN, type_words="offline", mapcount=None), OwnerFacts(), PageUse.TYPED),
        (replace(PLAIN, hwpoison=True), OwnerFacts(anonymous=True), PageUse.HWPOISON),
    ],
)
def test_page_use(page: StructPageFacts, owner: OwnerFacts | None, use: PageUse | str) -> None:
    expected = PageUse.PAGE_TABLE if use == "table" else use
    assert page_use(page, owner) is expected


# Aliases


def test_aliases_of_the_image_and_of_others() -> None:
    paging = replace(PAGING, phys_base=0)
    inside = FOUR.image_start + 0x1234
    paddr = inside - FOUR.kernel_map
    physmap = FOUR.page_offset_base + paddr
    assert alias_addresses(paging, FOUR, inside, paddr) == (("physmap", physmap),)
    assert alias_addresses(paging, FOUR, physmap, paddr) == (("text", inside),)
    assert alias_addresses(paging, FOUR, 0x7000, paddr) == (("physmap", physmap), ("text", inside))
    device = FOUR.memory_bytes
    assert alias_addresses(paging, FOUR, 0x7000, device) == ()
    assert alias_addresses(paging, FOUR, 0x7000, device - 1) == (
        ("physmap", FOUR.page_offset_base + device - 1),
    )


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        (FOUR.image_start - 1, False),
        (FOUR.image_start, True),
        (FOUR.image_end - 1, True),
        (FOUR.image_end, False),
    ],
)
def test_the_image_is_where_it_was_loaded(text: int, inside: bool) -> None:
    """``phys_base`` is what KASLR moved it by in physical memory, or loaded it lower."""
    for phys_base in (0x0600_0000, 0, -0x0080_0000):
        paging = replace(PAGING, phys_base=phys_base)
        paddr = text - FOUR.kernel_map + phys_base
        found = dict(alias_addresses(paging, FOUR, 0x7000, paddr))
        assert found == {"physmap": FOUR.page_offset_base + paddr} | (
            {"text": text} if inside else {}
        )


def test_an_alias_is_walked() -> None:
    walk = kernel_walk()
    assert as_alias("physmap", walk, FRAME).same
    assert not as_alias("physmap", walk, FRAME + 4096).same
    gone = as_alias("physmap", lost_walk(Outcome.NONE), FRAME)
    assert (gone.same, gone.outcome) == (False, Outcome.NONE)


# Exit codes

OPEN = (Unknown("slab", Outcome.EXCLUDED, "left out"),)


@pytest.mark.parametrize(
    ("outcome", "unknown", "known", "stable", "code"),
    [
        (Outcome.MAPPED, (), True, True, 0),
        (Outcome.NONE, (), True, True, 0),  # a guard page of an area that is known
        (Outcome.NONE, (), False, True, 3),
        (Outcome.MAPPED, OPEN, True, True, 3),
        (Outcome.MAPPED, (), True, False, 3),
        (Outcome.EXCLUDED, (), True, True, 3),
        (Outcome.ZERO_FILLED, (), True, True, 3),
    ],
)
def test_exit_codes(
    outcome: Outcome, unknown: tuple[Unknown, ...], known: bool, stable: bool, code: int
) -> None:
    walk = kernel_walk() if outcome is Outcome.MAPPED else lost_walk(outcome)
    assert exit_code(walk, unknown, known=known, stable=stable) == code


def test_what_is_known() -> None:
    assert not is_known(Identity(), None, in_vma=False)
    assert not is_known(Identity(drgn=("something",)), None, in_vma=False)
    assert is_known(Identity(symbol=SYMBOL), None, in_vma=False)
    assert is_known(Identity(), PageUse.OTHER, in_vma=False)
    assert is_known(Identity(), None, in_vma=True)


# Whose copy of a variable


@pytest.fixture
def per_cpu_program() -> drgn.Program:
    """Per-CPU variables from 0 on, as before 6.15, and one that is none; two CPUs' worth of it."""
    made = drgn.Program(drgn.Platform(drgn.Architecture.X86_64))
    number = made.int_type("int", 4, True)
    places = {"counter": 0x40, "plain": 0xFFFF_FFFF_8100_0000}
    marks = {"__per_cpu_start": 0, "__per_cpu_end": 0x1000}
    made.register_object_finder(
        "test",
        lambda prog, name, flags, file: (
            drgn.Object(prog, number, address=places[name]) if name in places else None
        ),
        enable_index=0,
    )
    made.register_symbol_finder(
        "test",
        lambda prog, name, address, one: (
            [drgn.Symbol(name, marks[name], 0, drgn.SymbolBinding.GLOBAL, drgn.SymbolKind.OBJECT)]
            if name in marks
            else []
        ),
        enable_index=0,
    )
    return made


def test_a_per_cpu_variable_wants_a_cpu(per_cpu_program: drgn.Program) -> None:
    prog = per_cpu_program
    assert find_copy(prog, "plain", None) == 0xFFFF_FFFF_8100_0000
    assert find_copy(prog, "40", None) == 0x40  # a number is what it is
    with pytest.raises(PageproofError, match="name a CPU with --cpu"):
        find_copy(prog, "counter", None)
    for text in ("plain", "40"):
        with pytest.raises(PageproofError, match="not a per-CPU variable"):
            find_copy(prog, text, 0)
