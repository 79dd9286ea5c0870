# SPDX-License-Identifier: GPL-2.0-or-later
"""What cannot be in a target's data, and content that a target cannot give."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import drgn
import pytest
from unit.facts import CORE, LIVE, PAGING, kernel_walk, lost_walk

from pageproof.find.frame import folio
from pageproof.model import MemoryGap, Outcome, TargetKind, Walk
from pageproof.model.auditfacts import Span
from pageproof.observe import content, places
from pageproof.observe.content import ContentReader
from pageproof.observe.places import Places

HEAD, OTHER, MAPPING = 0xFFFFEA0000000040, 0xFFFFEA0000000080, 0xFFFF888001000008
BASE = 0xFFFF888000000000
INSIDE = SimpleNamespace(**{**vars(LIVE), "kind": TargetKind.LIVE})


def head(mapping: int = MAPPING) -> Any:
    """A ``struct page *``."""
    return SimpleNamespace(value_=lambda: HEAD, mapping=SimpleNamespace(value_=lambda: mapping))


@pytest.fixture
def xarray(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Any]:
    """An XArray of a file that has an entry at index 5."""

    def made(now: int) -> Any:
        monkeypatch.setattr(
            folio, "xa_load", lambda _pages, index: SimpleNamespace(value_=lambda: now)
        )
        monkeypatch.setattr(drgn, "offsetof", lambda _kind, _member: 8)
        prog = SimpleNamespace(type=lambda name: name)
        return SimpleNamespace(value_=lambda: MAPPING + 8, prog_=prog)

    return made


def test_both_sides_must_say_that_a_page_is_the_files(xarray: Callable[[int], Any]) -> None:
    assert folio.is_cached(head(), xarray(HEAD), 5, (HEAD,))
    with pytest.raises(ValueError, match="is damaged: the file's page cache contains it"):
        folio.is_cached(head(0xBAD), xarray(HEAD), 5, (HEAD,))


def test_a_page_that_left_the_file_meanwhile_is_not_damaged(xarray: Callable[[int], Any]) -> None:
    assert not folio.is_cached(head(0), xarray(OTHER), 5, (HEAD,))


# Frames that nothing has


def test_what_no_resource_has_is_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    spans = (Span(0x1000, 0x9FC00), Span(0x10_0000, 0x8000_0000))
    monkeypatch.setattr(places, "physical_resources", lambda _prog: spans)
    target: Any = SimpleNamespace(prog=None)
    there = Places(target)
    assert [there.is_nowhere(paddr) for paddr in (0, 0x1000, 0x9FBFF, 0x9FC00)] == [
        *(True, False, False, True)
    ]
    assert [there.is_nowhere(paddr) for paddr in (0x7FFF_F000, 0x8000_0000)] == [False, True]


@pytest.mark.parametrize("error", [drgn.FaultError("lost", 0), LookupError(), ValueError()])
def test_nothing_is_nowhere_if_the_list_can_not_be_read(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def lost(_prog: object) -> tuple[Span, ...]:
        raise error

    monkeypatch.setattr(places, "physical_resources", lost)
    target: Any = SimpleNamespace(prog=None)
    assert not Places(target).is_nowhere(1 << 51)


# Content


class Reader:
    """Has any memory."""

    def read_physical(self, paddr: int, length: int) -> bytes:
        return b"p" * length

    def read_kernel_virtual(self, address: int, length: int) -> bytes:
        return b"v" * length


def reader(monkeypatch: pytest.MonkeyPatch, walks: dict[int, Walk], live: bool) -> ContentReader:
    monkeypatch.setattr(content, "physmap", lambda _prog: range(BASE, BASE + (1 << 30)))

    class Walker:
        def walk(self, root: int, address: int) -> Walk:
            assert root == PAGING.kernel_root
            return walks[address]

    target: Any = SimpleNamespace(prog=None, facts=INSIDE if live else CORE, reader=Reader())
    walker: Any = Walker()
    return ContentReader(target, PAGING, walker)


def mapped(paddr: int) -> Walk:
    walk = kernel_walk()
    return walk.__class__(**{**vars(walk), "paddr": paddr, "pfn": paddr >> 12})


def test_content_of_a_dump_is_asked_for_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    dump = reader(monkeypatch, {}, live=False)
    assert dump.read_physical(0x5000, 2) == b"pp"
    assert dump.read_kernel_virtual(BASE, 2) == b"vv"


def test_the_live_kernel_gives_what_its_direct_map_has(monkeypatch: pytest.MonkeyPatch) -> None:
    vmalloc = 0xFFFF_C900_0000_0000
    gone = lost_walk(Outcome.NONE)
    walks = {
        BASE + 0x5000: mapped(0x5000),
        BASE + 0x6000: gone,
        BASE + 0x7000: mapped(0x8000),
        vmalloc: mapped(0x5000),
        vmalloc + 0x1000: mapped(0x6000),
        vmalloc + 0x2000: gone,
    }
    live = reader(monkeypatch, walks, live=True)
    assert live.read_physical(0x5FFF, 1) == b"p"
    assert live.read_kernel_virtual(vmalloc + 8, 8) == b"v" * 8
    for paddr, length in ((0x6000, 8), (0x5FFF, 2), (0x7000, 8), (1 << 30, 8)):
        with pytest.raises(MemoryGap, match="direct map") as caught:
            live.read_physical(paddr, length)
        assert caught.value.outcome is Outcome.UNREADABLE
    for address, length in ((vmalloc + 0x1000, 8), (vmalloc + 0xFFF, 2)):
        with pytest.raises(MemoryGap, match="direct map"):
            live.read_kernel_virtual(address, length)
    with pytest.raises(MemoryGap, match="is none"):
        live.read_kernel_virtual(vmalloc + 0x2000, 8)
