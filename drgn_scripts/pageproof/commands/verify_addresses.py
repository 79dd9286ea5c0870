# SPDX-License-Identifier: GPL-2.0-or-later
"""``verify --user``: compare an address of a process with the kernel's side of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from pageproof import judge
from pageproof.attach import Target
from pageproof.commands.verify_regions import Proved
from pageproof.errors import Exit, PageproofError, TornError
from pageproof.find.kernel.expression import find_address
from pageproof.find.process.mappings import Wanted, find_mappings, mapping_at, search
from pageproof.find.shared import Claimed, all_finders, find_shared
from pageproof.find.shared.device import Resolved, resolve, user_side
from pageproof.find.shared.finder import adjoining
from pageproof.find.umh_shm.region import MODULE, find_region
from pageproof.model import MappingFacts, PageEvidence, PagingFacts, RegionFacts
from pageproof.model.asked import VerifyAsked
from pageproof.observe.attempts import look_again
from pageproof.observe.kernel_aliases import Spot, kernel_aliases
from pageproof.observe.page import Observer, Pair, without_vanished
from pageproof.observe.region import pages_of_region
from pageproof.observe.walkers import walker_of
from pageproof.space.units import PAGE_BYTES


@dataclass(frozen=True)
class _Expected:
    """What a user page should map.

    Attributes:
        address: the kernel's; None for a page that does not exist.
        index: the page's number in its region, if known.
        kind: the region's, if a finder recognises it.
    """

    address: int | None
    index: int | None = None
    kind: str = ""


@dataclass(frozen=True)
class _Against:
    """The kernel's side of the user pages.

    Attributes:
        pages: one for each user page; fewer if the kernel's side is smaller.
        region: the module's region, if the pages are in it.
        ends: the kernel object that ends before the user's pages do; "" for none.
        by_value: see :class:`pageproof.find.kernel.expression.KernelAddress`.
    """

    pages: Sequence[_Expected]
    region: RegionFacts | None = None
    ends: str = ""
    by_value: str = ""


@dataclass(frozen=True)
class _User:
    """The user pages.

    Attributes:
        address: as the user gave it.
        pages: their number.
        mappings: in order of address; one without a VMA stands for pages outside all VMAs.
        mapping_of: index of the mapping, by page.
    """

    address: int
    pages: int
    mappings: tuple[MappingFacts, ...]
    mapping_of: tuple[int, ...]

    @property
    def first(self) -> int:
        return self.address & -PAGE_BYTES

    def page_address(self, page: int) -> int:
        return self.first + page * PAGE_BYTES


def prove_addresses(
    target: Target, paging: PagingFacts, asked: VerifyAsked, progress: Callable[[str], None]
) -> tuple[RegionFacts | None, Proved]:
    """Judge each page from an address on, each by the mapping that covers it.

    Returns:
        The module's region, if the pages are in it; and the result.

    Raises:
        PageproofError: there is no such process, or the given kernel side is neither an address
            nor a list of pages.
    """
    assert asked.pid is not None
    assert asked.user is not None
    pid = asked.pid
    address = find_address(target.prog, asked.user)
    pages = -(-(address % PAGE_BYTES + (asked.kernel.length_bytes or 1)) // PAGE_BYTES)
    user = look_again(lambda: _user(target, paging, pid, address, pages), live=target.facts.live)
    against = _against(target, paging, asked, pid, user)
    walker = walker_of(target, paging, asked.walker)
    if against is None:
        sides = kernel_aliases(target, paging, walker, _spots(user))
        aliases = tuple(judge.kernel_side_unknown(sides))
        return None, Proved((), user.mappings, (), (), aliases)
    observer = Observer(target, paging, user.mappings, walker)
    beyond = _beyond(user, against, observer)
    if len(against.pages) < pages and not beyond:
        length = asked.kernel.length_bytes
        raise PageproofError(
            f"the kernel's side has {len(against.pages)} pages from there on, fewer than the "
            f"{pages} that are asked for",
            "" if length is None else f"--length {length}",
        )
    seen: list[PageEvidence] = []
    for page, one in enumerate(against.pages):
        if page % 64 == 0:
            progress(f"page {page + 1} of {pages}")
        at = user.page_address(page)
        if one.address is None:
            what = f"the kernel has no page for {at:#x} now"
            raise PageproofError(what, exit_code=Exit.UNDECIDED)
        slot = bool(against.region) and one.kind in ("", MODULE)
        pair = Pair(user.mapping_of[page], one.index, one.address, at, slot=slot)
        seen.append(observer.observe(pair))
    if target.facts.live:
        after: tuple[MappingFacts, ...] = ()
        with suppress(PageproofError):  # the process has exited meanwhile
            after = _user(target, paging, pid, address, pages).mappings
        seen = without_vanished(seen, user.mappings, after)
    proofs = tuple(
        judge.prove(one, target.facts, user.mappings, expected.kind)
        for one, expected in zip(seen, against.pages, strict=True)
    )
    findings = [
        *judge.beyond_findings("what --kernel names", len(against.pages), beyond, against.ends)
    ]
    if against.by_value:
        where = judge.place_of(user.mappings[0])
        findings.append(judge.kernel_side_by_value(where, against.by_value))
    return against.region, Proved((), user.mappings, proofs, (), tuple(findings))


def _user(target: Target, paging: PagingFacts, pid: int, address: int, pages: int) -> _User:
    """Return the mapping of each page. Pages may cross VMAs and gaps between them.

    Raises:
        PageproofError: there is no such process.
        TornError: its VMAs cannot be read.
    """
    prog, first = target.prog, address & -PAGE_BYTES
    at_first = mapping_at(prog, paging, pid, address)
    end = first + pages * PAGE_BYTES
    vma = at_first.vma
    if vma is not None and end <= vma.end:
        return _User(address, pages, (at_first,), (0,) * pages)
    found = search(
        prog,
        paging,
        Wanted(vma=lambda vma: vma.start < end and first < vma.end),
        pid,
    )
    if found.faults:
        raise TornError(f"process {pid} can't be read: {found.faults[0].message}")
    mappings: list[MappingFacts] = []
    mapping_of: list[int] = []
    covering = iter(found.found)
    now = next(covering, None)
    gap: MappingFacts | None = None
    for page in range(first, end, PAGE_BYTES):
        while now is not None and now.vma is not None and now.vma.end <= page:
            now = next(covering, None)
        if now is not None and now.vma is not None and now.vma.start <= page:
            here = now
        else:
            gap = gap or mapping_at(prog, paging, pid, page)
            here = gap
        if not mappings or mappings[-1] is not here:
            mappings.append(here)
        mapping_of.append(len(mappings) - 1)
    return _User(address, pages, tuple(mappings), tuple(mapping_of))


def _spots(user: _User) -> list[Spot]:
    """Return the user pages by mapping."""
    spots = []
    for number, mapping in enumerate(user.mappings):
        first = user.mapping_of.index(number)
        spots.append(Spot(mapping, user.page_address(first), user.mapping_of.count(number)))
    return spots


def _beyond(user: _User, against: _Against, observer: Observer) -> dict[int, int]:
    """Count pages with a frame beyond the end of the kernel's object, by pid; empty if none."""
    if not against.ends:
        return {}
    frames = 0
    for page in range(len(against.pages), user.pages):
        mapping = user.mappings[user.mapping_of[page]]
        frames += observer.walk_user(mapping, user.page_address(page)).pfn is not None
    return {user.mappings[0].pid: frames} if frames else {}


def _against(
    target: Target, paging: PagingFacts, asked: VerifyAsked, pid: int, user: _User
) -> _Against | None:
    """Return what the pages are compared with; None if it is unknown."""
    prog = target.prog
    if asked.kernel.said:
        vma = user.mappings[0].vma
        side = user_side(prog, vma.vma if vma else 0)
        try:
            found = resolve(prog, asked.kernel, side, user.pages)
        except (ValueError, LookupError) as error:
            raise PageproofError(f"{error}", repr(asked.kernel.pages)) from None
        return _said(target, asked, found, user)
    end = user.page_address(user.pages)
    claimed = find_shared(
        prog,
        paging,
        all_finders(),
        pid,
        Wanted(vma=lambda one: one.start < end and user.first < one.end),
    ).claimed
    return _claimed(target, claimed, user) or _around(target, paging, pid, user)


def _said(target: Target, asked: VerifyAsked, found: Resolved, user: _User) -> _Against:
    """Return the kernel's side as the user gave it."""
    listed = asked.kernel.address is None
    if listed:
        return _Against([_Expected(one) for one in found.pages[: user.pages]])
    kernel = (found.pages[0] or 0) + found.offset_bytes if found.pages else 0
    if kernel % PAGE_BYTES != user.address % PAGE_BYTES:
        raise PageproofError(
            f"--user {user.address:#x} and --kernel {kernel:#x} can't be the same memory: they are "
            "at different places in their pages",
            "",
            "give addresses of the same byte, or of two pages",
        )
    region, index = None, None
    with suppress(PageproofError):  # two addresses can be compared without the module too
        region = find_region(target.prog).facts
        inside = (kernel - region.kernel_address) // PAGE_BYTES
        index = inside if 0 <= inside < region.pages else None
    expected = [
        _Expected(one, None if index is None else index + page)
        for page, one in enumerate(found.pages)
    ]
    return _Against(expected, region, found.ends, found.by_value)


def _claimed(target: Target, claimed: Sequence[Claimed], user: _User) -> _Against | None:
    """Return the kernel's side that finders know; None if no finder recognises the first page.

    Pages that no finder recognises are expected to continue the region before them.
    """
    by_start = {one.mapping.vma.start: one for one in claimed if one.mapping.vma}
    sides: dict[int, Sequence[int | None]] = {}
    expected: list[_Expected] = []
    region = None
    now: Claimed | None = None
    for page in range(user.pages):
        vma = user.mappings[user.mapping_of[page]].vma
        now = by_start.get(vma.start, now) if vma is not None else now
        if now is None:
            return None
        start = now.mapping.vma.start if now.mapping.vma else 0
        if start not in sides:
            sides[start] = _pages(target, now)
            if now.finder.kind == MODULE:
                region = find_region(target.prog).facts
        index = now.claim.first_page + (user.page_address(page) - start) // PAGE_BYTES
        if index >= len(sides[start]):
            break
        expected.append(_Expected(sides[start][index], index, now.finder.kind))
    return _Against(expected, region)


def _pages(target: Target, one: Claimed) -> Sequence[int | None]:
    try:
        return pages_of_region(target, one)
    except ValueError as error:
        raise PageproofError(f"the {one.finder.kind} region there can't be read: {error}") from None


def _around(target: Target, paging: PagingFacts, pid: int, user: _User) -> _Against | None:
    """Return the module's page that belongs there, derived from the process's other mappings."""
    try:
        found = find_region(target.prog)
    except PageproofError:
        return None
    around = find_mappings(target.prog, paging, found.fops, pid).found
    index = judge.page_at(found.facts, around, user.address)
    if index is None:
        return None
    address = found.facts.kernel_address + index * PAGE_BYTES
    pages = adjoining(address, user.pages)
    return _Against([_Expected(one, index + n) for n, one in enumerate(pages)], found.facts)
