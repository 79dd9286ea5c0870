# SPDX-License-Identifier: GPL-2.0-or-later
"""Address spaces that were freed while they were looked at."""

from __future__ import annotations

import struct

import drgn
import pytest
from unit.facts import PAGING

from pageproof.errors import TornError
from pageproof.find import mappings

PID, MM, ROOT = 7, 0x1000, 0x5000


def of_a_process(pgd: int, monkeypatch: pytest.MonkeyPatch) -> drgn.Program:
    """A target with one process, whose mm_struct says this of its tables."""
    prog = drgn.Program(drgn.Platform(drgn.Architecture.X86_64))
    prog.add_memory_segment(MM, 8, lambda *_: struct.pack("<Q", pgd))
    word = prog.int_type("unsigned long", 8, False)
    kind = prog.struct_type("mm_struct", 8, [drgn.TypeMember(word, "pgd")])
    mm = drgn.Object(prog, prog.pointer_type(kind), MM)
    space = mappings._Space(mm, {PID: "gone"}, 1)
    monkeypatch.setattr(mappings, "_spaces", lambda *_: iter([space]))
    return prog


def test_an_address_space(monkeypatch: pytest.MonkeyPatch) -> None:
    prog = of_a_process(PAGING.page_offset_base + ROOT, monkeypatch)
    (found,) = mappings.address_spaces(prog, PAGING).found
    assert (found.pid, found.mm, found.kernel_half_root) == (PID, MM, ROOT)


@pytest.mark.parametrize(
    "pgd", [0, *(PAGING.page_offset_base + offset for offset in (0, -ROOT, ROOT + 8))]
)
def test_one_whose_tables_make_no_sense(pgd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    prog = of_a_process(pgd, monkeypatch)
    seen = mappings.address_spaces(prog, PAGING)
    assert (seen.found, [one.pid for one in seen.faults]) == ((), [PID])
    monkeypatch.setattr(mappings, "for_each_vma", lambda mm: iter(()))
    with pytest.raises(TornError, match=f"process {PID} can't be read: page tables at"):
        mappings.address_space(prog, PAGING, PID)
