# SPDX-License-Identifier: GPL-2.0-or-later
"""What is said of a device's VMAs, and of frames whose kernel side nobody named."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.commandfacts import alias_report
from unit.facts import USER, mapping

from pageproof import judge
from pageproof.model import Severity
from pageproof.model.alias import Alias

PHYSMAP, *_ = alias_report().kernel
WHERE = f"pid 133 at {USER:#x}"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("READ|WRITE|PFNMAP|IO", "it maps raw frames (VM_PFNMAP): nothing counts these mappings"),
        ("READ|MIXEDMAP", "it may map raw frames and pages (VM_MIXEDMAP): only what struct page"),
        ("READ|WRITE|SHARED", "it maps ordinary pages: each is counted in struct page"),
    ],
)
def test_the_kind_of_a_mapping(flags: str, words: str) -> None:
    one = mapping()
    assert one.vma is not None
    found = judge.mapping_kind(replace(one, vma=replace(one.vma, vm_flags_words=flags)))
    assert (found.id, found.severity, found.where) == ("mapping-kind", Severity.NOTE, WHERE)
    assert found.sentence.startswith(words)
    assert found.evidence == (("vm_flags", flags),)


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
    found = judge.kernel_side_unknown(133, USER, pages, 0x3400, aliases)
    assert (found.id, found.severity) == ("kernel-side-unknown", Severity.NOTE)
    assert found.where == WHERE
    assert found.sentence.startswith(frames)
    assert found.sentence.endswith(what)
    assert found.evidence == tuple(
        (f"physmap {PHYSMAP.address:#x}", owner or "?") for _, owner in aliases
    )
