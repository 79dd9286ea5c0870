# SPDX-License-Identifier: GPL-2.0-or-later
"""The verdicts of all mappings of a region, compared with those page by page.

The facts are made by hand: tables that change from look to look, pages that are missing, swapped,
huge, not accessible or elsewhere, addresses inside a page, and VMAs beyond the region's end.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import cast

import drgn
import pytest
from unit.facts import CORE, LIVE, mapping
from unit.observe import slowverdicts
from unit.tables import NX, PROTNONE, PSE, TABLE, P, Tables

from pageproof.arch.x86_64.paging import X86Paging
from pageproof.attach import Target
from pageproof.find.shared import Claim, Claimed
from pageproof.find.shared.finder import Finder
from pageproof.model import Reason, SwapLayout, Verdict
from pageproof.model.asked import WalkerChoice
from pageproof.observe import attempts, region
from pageproof.observe.region import Judged, Prover
from pageproof.space.runs import Runs
from pageproof.space.units import PAGE_BYTES
from pageproof.walk import Sides, Spans, TooMuchWork, Walker, make_walker

ADDRESS_BITS = 0x000F_FFFF_FFFF_F000
PAGING = X86Paging(
    levels=4, swap=SwapLayout(hwpoison=(23, 1), migration=(24, 3), device=(27, 4), marker=(31, 1))
)
MIB2 = 1 << 21
KERNEL = 0x100000
USERS = (0x200000, 0x300000)
#: Tables of a root map this much.
PAGES = 1024
#: The kernel maps the region's pages here, upside down in the second half.
KERNEL_START = 0xFFFF_8000_0000_0000
USER_START = 0x7F00_0000_0000
#: From here on there is no memory.
NOWHERE = 0x4000_0000


def swap(kind: int, offset: int) -> int:
    return kind << 59 | (~offset & (1 << 50) - 1) << 9


def tables_at(root: int, first: int, entries: Sequence[int]) -> dict[int, int]:
    """Tables of a root that map pages from an address on, a multiple of 1 GiB."""
    pud, pmd = root + PAGE_BYTES, root + 2 * PAGE_BYTES
    made = {root + (first >> 39 & 511) * 8: pud | TABLE, pud + (first >> 30 & 511) * 8: pmd | TABLE}
    for at, entry in enumerate(entries):
        table = root + (3 + at // 512) * PAGE_BYTES
        made[pmd + at // 512 * 8] = table | TABLE
        if entry:
            made[table + at % 512 * 8] = entry
    return made


@dataclass
class Memory:
    """Tables that change: each look at the region's list of pages is the next version."""

    versions: list[Tables]
    addresses: list[list[int | None]]
    now: int = -1
    fails: set[int] = field(default_factory=set)

    def read(self, paddr: int, length: int) -> bytes:
        return self.versions[max(self.now, 0)].read(paddr, length)

    def kernel_pages(self, prog: drgn.Program, claim: Claim) -> Sequence[int | None]:
        self.now = min(self.now + 1, len(self.versions) - 1)
        if self.now in self.fails:
            raise ValueError("it changes")
        return self.addresses[self.now]


def random_user_entry(rng: random.Random, frame: int) -> int:
    """The entry of a page, mostly of its frame."""
    what = rng.random()
    if what < 0.80:
        return frame | P | rng.choice([0, 2, NX])
    if what < 0.85:
        return frame ^ ADDRESS_BITS | PROTNONE
    if what < 0.90:
        return 0
    if what < 0.94:
        return rng.choice([rng.randrange(1 << 12), (NOWHERE >> 12) + 7]) << 12 | P
    return rng.choice([swap(1, 7), swap(24, 9), swap(31, 4), swap(23, 1), frame | P | 1 << 51])


def make_version(rng: random.Random, frames: Sequence[int]) -> Tables:
    kernel = [
        0
        if rng.random() < 0.03
        else frame ^ ADDRESS_BITS | PROTNONE
        if rng.random() < 0.02
        else frame | P
        for frame in frames
    ]
    entries = tables_at(KERNEL, KERNEL_START, kernel)
    for root in USERS:
        user = [random_user_entry(rng, frame) for frame in frames]
        entries |= tables_at(root, USER_START, user)
        # The third 2 MiB are one page, at a frame of the region if its frames adjoin.
        entries[root + 2 * PAGE_BYTES + 16] = rng.choice([frames[-1] & -MIB2, MIB2 * 9]) | P | PSE
        if rng.random() < 0.2:
            entries[root + 2 * PAGE_BYTES + 8] = 0x900000 | TABLE  # a table that is not there
    return Tables(entries)


def changed(rng: random.Random, version: Tables) -> Tables:
    """Some entries of the last level changed, or none."""
    entries = dict(version.entries)
    some = [at for at in entries if at & 0xFFFFF >= 0x3000]
    for at in rng.sample(some, rng.choice([0, 0, 1, 3, 40])):
        entries[at] = rng.choice([0, entries[at] ^ 0x5000, swap(1, 3), entries[at]])
    return Tables(entries)


def random_memory(rng: random.Random) -> Memory:
    start = rng.choice([0x1000000, MIB2 * 9])
    frames = [start + page * PAGE_BYTES for page in range(PAGES)]
    if rng.random() < 0.5:
        rng.shuffle(frames)
    versions = [make_version(rng, frames)]
    addresses: list[list[int | None]] = [[]]
    addresses[0] = [
        None if rng.random() < 0.02 else KERNEL_START + page * PAGE_BYTES for page in range(PAGES)
    ]
    if rng.random() < 0.3:
        for page in range(8, 40):  # inside their pages
            addresses[0][page] = KERNEL_START + page * PAGE_BYTES + 0x40
    for _ in range(8):
        versions.append(changed(rng, versions[-1]) if len(versions) < 6 else versions[-1])
        addresses.append(list(addresses[-1]))
        if rng.random() < 0.2:
            addresses[-1][rng.randrange(PAGES)] = None
    return Memory(versions, addresses)


def random_uses(rng: random.Random, memory: Memory) -> list[Claimed]:
    finder = Finder("test", "", ("ops",), lambda vma: None, memory.kernel_pages)
    uses = []
    for number in range(rng.choice([1, 2, 6])):
        pages = rng.choice([1, 5, 300, 700])
        at = rng.randrange(PAGES + 512)
        start = USER_START + at * PAGE_BYTES
        first = rng.choice([at, at, at, rng.randrange(PAGES)])
        one = mapping(pid=number)
        assert one.vma is not None
        vma = replace(one.vma, vma=number, start=start, end=start + pages * PAGE_BYTES)
        claim = Claim(0, "", "", "", PAGES, first)
        uses.append(Claimed(finder, claim, replace(one, root=rng.choice(USERS), vma=vma)))
    return uses


class MadePlaces:
    """Memory ends at NOWHERE."""

    def __init__(self, target: Target) -> None:
        pass

    def is_nowhere(self, paddr: int) -> bool:
        return paddr >= NOWHERE

    def changes(self, paddr: int, pages: int) -> Iterator[int]:
        if paddr < NOWHERE < paddr + pages * PAGE_BYTES:
            yield (NOWHERE - paddr) // PAGE_BYTES


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "PAUSE_SECONDS", 0)
    monkeypatch.setattr(region, "Places", MadePlaces)


def prover(walker: Walker, *, live: bool) -> Prover:
    target = SimpleNamespace(facts=LIVE if live else CORE, prog=None)
    return Prover(cast(Target, target), KERNEL, walker)


def page_by_page(memory: Memory, walker: Walker, one: Claimed, *, live: bool) -> Judged:
    """The same looks, at one VMA only."""

    def looks() -> Iterator[slowverdicts.Look]:
        memory.now = -1
        while True:
            addresses = memory.kernel_pages(cast(drgn.Program, None), one.claim)
            yield slowverdicts.look(walker, KERNEL, addresses, one)

    assert one.mapping.vma is not None
    before, after = slowverdicts.last_two(looks(), live=live)
    verdicts = slowverdicts.judged(before, after, lambda paddr: paddr >= NOWHERE)
    runs = slowverdicts.runs_by_page(one.mapping.vma.pages, verdicts)
    beyond = sum(one.claim.first_page + page >= one.claim.pages for page in after)
    return Judged(tuple(runs), beyond, Runs(0), ())


def compare(seed: int, choice: WalkerChoice) -> Counter[Verdict | Reason | None]:
    rng = random.Random(seed)
    memory = random_memory(rng)
    uses = random_uses(rng, memory)
    walker = make_walker(memory.read, PAGING, choice)
    live = rng.random() < 0.7
    memory.now = -1
    found = prover(walker, live=live).judge(uses)
    seen: Counter[Verdict | Reason | None] = Counter()
    for one, judged in zip(uses, found, strict=True):
        assert isinstance(judged, Judged)
        obvious = page_by_page(memory, walker, one, live=live)
        assert judged.runs == obvious.runs
        assert judged.beyond == obvious.beyond
        different = any(run.verdict is Verdict.DIFFERENT for run in judged.runs)
        assert bool(judged.user) == different
        for run in judged.runs:
            seen[run.reason or run.verdict] += run.pages
    return seen


def test_the_verdicts_are_those_page_by_page() -> None:
    seen: Counter[Verdict | Reason | None] = Counter()
    for seed in range(14):
        seen += compare(seed, WalkerChoice.C)
    compare(100, WalkerChoice.PYTHON)
    # Otherwise the facts do not test enough.
    assert min(seen[one] for one in (Verdict.SAME, Verdict.DIFFERENT, *SOME_REASONS)) > 3


SOME_REASONS = (
    Reason.TORN,
    Reason.SWAPPED,
    Reason.NOT_PRESENT,
    Reason.NO_KERNEL_SIDE,
    Reason.DAMAGED,
    Reason.UNREADABLE,
)


def sound_memory(pages: int = 8) -> tuple[Memory, Callable[[int, int], Claimed]]:
    """A region whose pages are mapped by everybody, and its VMAs by number and first page."""
    entries = [(0x1000000 + page * 0x3000) | P for page in range(pages)]
    made = tables_at(KERNEL, KERNEL_START, entries)
    for root in USERS:
        made |= tables_at(root, USER_START, entries)
    addresses: list[int | None] = [KERNEL_START + page * PAGE_BYTES for page in range(pages)]
    memory = Memory([Tables(made)], [addresses])
    finder = Finder("test", "", ("ops",), lambda vma: None, memory.kernel_pages)

    def use(number: int, first: int) -> Claimed:
        one = mapping(pid=number)
        assert one.vma is not None
        start = USER_START + first * PAGE_BYTES
        vma = replace(one.vma, vma=number, start=start, end=USER_START + pages * PAGE_BYTES)
        claim = Claim(0, "", "", "", pages, first)
        return Claimed(finder, claim, replace(one, root=USERS[number % 2], vma=vma))

    return memory, use


def verdicts(found: Sequence[Judged | str]) -> list[list[tuple[int, Verdict]] | str]:
    return [
        one if isinstance(one, str) else [(run.pages, run.verdict) for run in one.runs]
        for one in found
    ]


def test_a_region_is_read_once_per_look() -> None:
    memory, use = sound_memory()
    uses = [use(number, number % 8) for number in range(100)]
    memory.versions *= 5
    memory.addresses *= 5
    found = prover(make_walker(memory.read, PAGING), live=True).judge(uses)
    assert memory.now == 1
    assert verdicts(found) == [[(8 - one.claim.first_page, Verdict.SAME)] for one in uses]
    first, other = found[0], found[8]
    assert isinstance(first, Judged)
    assert isinstance(other, Judged)
    assert first.runs[0] is other.runs[0]


def test_only_what_differs_is_looked_at_again() -> None:
    memory, use = sound_memory()
    torn = Tables(memory.versions[0].entries)
    torn.entries[USERS[1] + 3 * PAGE_BYTES] ^= 0x5000
    memory.versions = [torn, *memory.versions * 3]
    memory.addresses *= 4
    reads: list[tuple[int, int]] = []

    def read(paddr: int, length: int) -> bytes:
        reads.append((memory.now, paddr >> 20 << 20))
        return memory.read(paddr, length)

    found = prover(make_walker(read, PAGING), live=True).judge([use(0, 0), use(1, 0)])
    assert verdicts(found) == [[(8, Verdict.SAME)]] * 2
    roots = [{root for now, root in reads if now == look} for look in range(3)]
    assert roots == [{KERNEL, *USERS}, {KERNEL, *USERS}, {KERNEL, USERS[1]}]
    assert memory.now == 2


def test_a_region_that_cannot_be_read() -> None:
    memory, use = sound_memory()
    memory.versions *= 9
    memory.addresses *= 9
    memory.fails = {1, 2}
    walker = make_walker(memory.read, PAGING)
    assert verdicts(prover(walker, live=True).judge([use(0, 0)])) == [[(8, Verdict.SAME)]]
    memory.now, memory.fails = -1, set(range(9))
    assert prover(walker, live=True).judge([use(0, 0), use(1, 4)]) == ["it changes"] * 2
    memory.now = -1
    assert prover(walker, live=False).judge([use(0, 0)]) == ["it changes"]


def test_regions_of_another_size_are_read_on_their_own() -> None:
    """A file that grew during the search: each VMA is judged by the size that it was found with."""
    memory, use = sound_memory()
    one, other = use(0, 0), use(1, 0)
    small = replace(other, claim=replace(other.claim, pages=3))
    found = prover(make_walker(memory.read, PAGING), live=False).judge([one, small])
    assert [one.beyond for one in found if isinstance(one, Judged)] == [0, 5]


def test_tables_that_do_not_end_are_one_vmas_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    memory, use = sound_memory()
    one, other = use(0, 0), use(2, 4)
    assert one.mapping.root == other.mapping.root
    walker = make_walker(memory.read, PAGING)
    sides = walker.sides

    def limited(root: int, spans: Sequence[int], *more: object) -> object:
        if 8 in spans[1::3] and root != KERNEL:
            raise TooMuchWork("gave up at 0x0: too many entries")
        return sides(root, spans, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(walker, "sides", limited)
    found = prover(walker, live=True).judge([one, other])
    assert verdicts(found) == ["gave up at 0x0: too many entries", [(4, Verdict.SAME)]]


@pytest.mark.parametrize(
    ("start", "end", "first"), [(5, 5, 0), (0x2000, 0x1000, 0), (0, 1 << 65, 0), (0, 0x1000, -1)]
)
def test_a_vma_of_a_damaged_target(start: int, end: int, first: int) -> None:
    memory, use = sound_memory()
    one = use(0, 0)
    assert one.mapping.vma is not None
    vma = replace(one.mapping.vma, start=start, end=end)
    first %= 1 << 64
    claim = replace(one.claim, first_page=first)
    bad = replace(one, claim=claim, mapping=replace(one.mapping, vma=vma))
    found = prover(make_walker(memory.read, PAGING), live=True).judge([bad, use(1, 0)])
    assert isinstance(found[0], str)
    assert "is not a range of pages" in found[0]
    assert verdicts(found[1:]) == [[(8, Verdict.SAME)]]


def test_address_spaces_are_walked_in_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the walker allows it. The results are in order, and as those of one thread."""
    memory, use = sound_memory()
    memory.versions[0].entries[USERS[1] + 3 * PAGE_BYTES] ^= 0x5000
    uses = [use(number, number % 3) for number in range(6)]
    expected = prover(make_walker(memory.read, PAGING), live=False).judge(uses)
    monkeypatch.setattr(region, "_THREADED_PAGES", 0)
    meet = threading.Barrier(2, timeout=60)
    walker = make_walker(memory.read, PAGING)
    sides = walker.sides

    def together(root: int, spans: Spans, expected: Sides | None = None) -> Sides:
        if root != KERNEL:
            meet.wait()
        return sides(root, spans, expected)

    monkeypatch.setattr(walker, "sides", together)
    monkeypatch.setattr(walker, "threads", 2)
    found = prover(walker, live=False).judge(uses)
    assert verdicts(found) == verdicts(expected)
    assert [one.user for one in found if isinstance(one, Judged)] == [
        one.user for one in expected if isinstance(one, Judged)
    ]


def test_frames_of_a_region() -> None:
    memory, use = sound_memory()
    memory.addresses[0][3] = None
    seen = prover(make_walker(memory.read, PAGING), live=False).frames(use(0, 4))
    assert seen == {page: 0x1000 + page * 3 for page in (0, 1, 2, 4, 5, 6, 7)}


def test_pages_that_are_beyond_the_end_now() -> None:
    memory, use = sound_memory()
    one = use(0, 2)
    short = replace(one, claim=replace(one.claim, pages=5))
    seen = prover(make_walker(memory.read, PAGING), live=True)
    assert (seen.beyond(one), seen.beyond(short)) == (0, 3)
