# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's RAM that the engine reads itself: the same bytes as drgn's, and no call of Python."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import pageproof_pagewalk as engine
import pytest
from attached import View, closed_at_the_end, frozen
from machine import Machine, on_one_kernel

from pageproof.attach import Reader, Target, Wanted, open_target
from pageproof.find.bulk import bulk_of
from pageproof.find.bulk.engine import EngineBulk
from pageproof.find.kernel.paging import read_paging
from pageproof.model.asked import WalkerChoice
from pageproof.observe.walkers import paging_form, walker_of
from pageproof.space.units import PAGE_BYTES
from pageproof.walk import make_walker

PAGES = 3000
#: Below it, drgn reads.
FIRST_MIB = 1 << 20


@contextmanager
def opened(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Target]:
    """Open the guest as commands do."""
    wanted = Wanted(str(machine.guest.sockets.qmp), None, (machine.kernel.vmlinux,))
    with closed_at_the_end(monkeypatch):
        yield open_target(wanted, ())


@on_one_kernel
def test_the_engine_reads_what_drgn_reads(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    read_physical = Reader.read_physical

    def count(self: Reader, paddr: int, length: int) -> bytes:
        asked.append(paddr)
        return read_physical(self, paddr, length)

    with opened(machine, monkeypatch) as target, frozen(machine):
        file = target.reader.file_memory()
        assert file is not None
        memory = engine.FileMemory(*file)
        parts = list(zip(file[1][::3], file[1][1::3], strict=True))
        assert sum(length for _, length in parts) >= 1020 << 20
        rng = random.Random(7)
        for paddr, length in parts:
            for page in rng.sample(range(paddr, paddr + length, PAGE_BYTES), PAGES):
                assert memory.read(page, PAGE_BYTES) == target.prog.read(page, PAGE_BYTES, True)

        paging = read_paging(target.prog)
        monkeypatch.setattr(Reader, "read_physical", count)
        quick = walker_of(target, paging, WalkerChoice.C)
        form = paging_form(target, paging)
        slow = make_walker(lambda *at: read_physical(target.reader, *at), form, WalkerChoice.C)
        view = View(target, paging, quick, slow)
        trees = [view.kernel(), *view.processes()]
        ranges = 0
        for tree in trees:
            got = list(quick.ranges(tree.root, tree.first, tree.last, merged=True))
            assert got == list(slow.ranges(tree.root, tree.first, tree.last, merged=True))
            ranges += len(got)
        assert ranges > 100
        bulk = bulk_of(target.prog)
        assert isinstance(bulk, EngineBulk)
        assert len(bulk.vmas([tree.mm.value_() for tree in trees[1:]])) > 10 * len(trees)
    assert [paddr for paddr in asked if paddr >= FIRST_MIB] == []
