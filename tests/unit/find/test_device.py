# SPDX-License-Identifier: GPL-2.0-or-later
"""Findings about a device's VMAs, and about frames whose kernel side is unknown."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.commandfacts import alias_report
from unit.facts import USER, mapping

from pageproof import judge
from pageproof.errors import PageproofError
from pageproof.files.places import read_where
from pageproof.find.process.devices import major_minor, number_words, parse_number
from pageproof.find.shared.device import check_kernel_side
from pageproof.model import Severity
from pageproof.model.alias import Alias, KernelSides, SweepGap
from pageproof.model.asked import KernelSide
from pageproof.render.where import where_words

PHYSMAP, *_ = alias_report().kernel
WHERE = f"pid 133 at {USER:#x}"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("READ|WRITE|PFNMAP|IO", "it maps raw frames (VM_PFNMAP): nothing counts these mappings"),
        ("READ|MIXEDMAP", "it may map raw frames and pages (VM_MIXEDMAP): only pages whose"),
        ("READ|WRITE|SHARED", "it maps ordinary pages: struct page counts each mapping"),
        # Flags are compared as whole words.
        ("READ|NOPFNMAP|MIXEDMAPPED", "it maps ordinary pages: struct page counts each mapping"),
    ],
)
def test_the_kind_of_a_mapping(flags: str, words: str) -> None:
    one = mapping()
    assert one.vma is not None
    found = judge.mapping_kind(replace(one, vma=replace(one.vma, vm_flags_words=flags)))
    assert (found.id, found.severity, where_words(found.where)) == (
        "mapping-kind",
        Severity.NOTE,
        WHERE,
    )
    assert found.sentence.startswith(words)
    assert found.evidence == (("vm_flags", flags),)


def test_a_value_that_is_taken_for_an_address() -> None:
    found = judge.kernel_side_by_value(read_where(WHERE), "block is an integer")
    assert (found.id, found.severity, where_words(found.where)) == (
        *("kernel-side-by-value", Severity.NOTE),
        WHERE,
    )
    assert found.sentence.startswith("block is an integer: its value is used")


def test_parts_that_no_finder_knows() -> None:
    """Equal parts give one finding."""
    one = mapping()
    assert one.vma is not None
    other = replace(one, pid=134)
    parts = [
        ("io_uring", "a ring", one),
        ("packet", "a socket", one),
        ("io_uring", "a ring", other),
    ]
    rings, socket = judge.unknown_parts(parts)
    assert (rings.id, rings.severity, where_words(rings.where)) == (
        *("region-part-unknown", Severity.NOTE),
        WHERE,
    )
    assert rings.sentence.startswith("these are 2 mappings of a part of a file of kind io_uring")
    assert rings.evidence == (("mapping", f"pid 134 at {USER:#x}"),)
    assert socket.sentence.startswith("this is a mapping of a part of a file of kind packet")
    assert "does not know: a socket; it " in socket.sentence
    assert socket.evidence == ()


def test_parts_of_processes_without_a_vma() -> None:
    one = replace(mapping(), vma=None)
    (found,) = judge.unknown_parts(("bpf", "a map", each) for each in (one, replace(one, pid=134)))
    assert where_words(found.where) == "pid 133"
    assert found.evidence == (("mapping", "pid 134"),)


def test_the_object_with_which_a_region_ends() -> None:
    (found,) = judge.beyond_findings("ring", 2, {133: 1, 134: 0}, "vmalloc area of 2 pages")
    assert (found.id, where_words(found.where)) == ("mapping-beyond-region", "pid 133")
    assert found.evidence == (("the region ends with", "vmalloc area of 2 pages"),)
    (found,) = judge.beyond_findings("ring", 2, {133: 1})
    assert found.evidence == ()


@pytest.mark.parametrize("text", ["file.private_data)", "prog[", "a b", "0x", "x" * 9 + "\0"])
def test_what_is_no_expression_is_refused_at_once(text: str) -> None:
    for side in (KernelSide(address=text), KernelSide(pages=text)):
        with pytest.raises(PageproofError, match=r"this can't be evaluated: (Syntax|Value)Error"):
            check_kernel_side(side)


@pytest.mark.parametrize(
    "text", ["ffff888000000000", "ring", "ctx.ring[0]->page", "&ring", "1 + 1"]
)
def test_what_may_be_an_expression(text: str) -> None:
    check_kernel_side(KernelSide(address=text))


def test_the_number_of_a_device() -> None:
    assert parse_number("10:260") == 0xA00104
    assert major_minor(0xA00104) == (10, 260)
    assert number_words(0xA00104) == "10:260"
    assert parse_number("/dev/10:260") is None


@pytest.mark.parametrize(
    ("pages", "aliases", "frames", "what"),
    [
        (1, ((PHYSMAP, "slab kmalloc-4k"),), "frame 0x3400: ", "the kernel maps it at"),
        (1, (), "frame 0x3400: ", "the kernel maps nowhere"),
        (2, ((PHYSMAP, ""),), "frames 0x3400-0x3401: ", "the kernel maps them from"),
        (3, (), "frames 0x3400-0x3402: ", "the kernel maps nowhere"),
    ],
)
def test_frames_whose_kernel_side_nobody_named(
    pages: int, aliases: tuple[tuple[Alias, str], ...], frames: str, what: str
) -> None:
    gap = SweepGap("pid 133", unreadable=True)
    found, doubt = judge.kernel_side_unknown([KernelSides(133, USER, pages, 0x3400, aliases), gap])
    assert (doubt.id, where_words(doubt.where)) == ("incomplete", "pid 133")
    assert (found.id, found.severity) == ("kernel-side-unknown", Severity.NOTE)
    assert where_words(found.where) == WHERE
    assert found.sentence.startswith(frames)
    assert found.sentence.endswith(what)
    assert found.evidence == tuple(
        (f"physmap {PHYSMAP.address:#x}", owner or "?") for _, owner in aliases
    )
