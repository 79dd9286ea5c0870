# SPDX-License-Identifier: GPL-2.0-or-later
"""``verify --user``: an address of a process against what the user, or a finder, says it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from pageproof import judge
from pageproof.commands.kernel_aliases import Spot, kernel_aliases
from pageproof.commands.observe import Observer, Pair, without_vanished
from pageproof.commands.prove import pages_of_region
from pageproof.commands.tables import walker_of
from pageproof.commands.verify_regions import Proved
from pageproof.errors import Exit, PageproofError
from pageproof.find.expression import UserSide, evaluate, find_address, kernel_address
from pageproof.find.mappings import find_mappings, mapping_at
from pageproof.find.page import PAGE_BYTES
from pageproof.find.pagelist import page_addresses
from pageproof.find.region import MODULE, find_region
from pageproof.find.shared import Claimed, all_finders, find_shared
from pageproof.find.shared.device import KernelSide
from pageproof.find.shared.finder import adjoining
from pageproof.model import MappingFacts, PageEvidence, PagingFacts, RegionFacts
from pageproof.target import Target
from pageproof.walk import WalkerChoice


@dataclass(frozen=True)
class Place:
    """Where a user looks.

    Attributes:
        pid: the process.
        user: an address in it, as the user wrote it.
        kernel: what it is compared with, if that is said, and how much from there on.
    """

    pid: int
    user: str
    kernel: KernelSide
    walker: WalkerChoice


@dataclass(frozen=True)
class _Against:
    """The kernel's side of the user's pages.

    Attributes:
        addresses: of each page; None for one that is not there.
        region: the module's, where they are in it.
        index: the first one's page in a region, if that is known.
        kind: the region's, if a finder knows it.
    """

    addresses: Sequence[int | None]
    region: RegionFacts | None = None
    index: int | None = None
    kind: str = ""


def prove_addresses(
    target: Target, paging: PagingFacts, place: Place, progress: Callable[[str], None]
) -> tuple[RegionFacts | None, Proved]:
    """Judge each page from an address on.

    Returns:
        The module's region, if the pages are in it; and what was seen.

    Raises:
        PageproofError: there is no such process, or what was said of the kernel's side is no
            address or list of pages.
    """
    user = find_address(target.prog, place.user)
    mapping = mapping_at(target.prog, paging, place.pid, user)
    pages = -(-(user % PAGE_BYTES + (place.kernel.length_bytes or 1)) // PAGE_BYTES)
    against = _against(target, paging, place, mapping, user, pages)
    first = user & -PAGE_BYTES
    walker = walker_of(target, paging, place.walker)
    if against is None:
        findings = kernel_aliases(target, paging, walker, [Spot(mapping, first, pages)])
        return None, Proved((), (mapping,), (), (), tuple(findings))
    if len(against.addresses) < pages:
        raise PageproofError(
            f"the kernel's side has {len(against.addresses)} pages from there on, fewer than the "
            f"{pages} that are asked for",
            f"--length {place.kernel.length_bytes}",
        )
    observer = Observer(target, paging, (mapping,), walker)
    seen: list[PageEvidence] = []
    for number, address in enumerate(against.addresses):
        if number % 64 == 0:
            progress(f"page {number + 1} of {pages}")
        if address is None:
            what = f"the kernel has no page for {first + number * PAGE_BYTES:#x} now"
            raise PageproofError(what, exit_code=Exit.UNDECIDED)
        index = None if against.index is None else against.index + number
        pair = Pair(0, index, address, first + number * PAGE_BYTES, slot=bool(against.region))
        seen.append(observer.observe(pair))
    if target.facts.live:
        after = []
        with suppress(PageproofError):  # the process has ended meanwhile
            after.append(mapping_at(target.prog, paging, place.pid, user))
        seen = without_vanished(seen, (mapping,), after)
    proofs = tuple(judge.prove(one, target.facts, (mapping,), against.kind) for one in seen)
    return against.region, Proved((), (mapping,), proofs, (), ())


def _against(
    target: Target, paging: PagingFacts, place: Place, mapping: MappingFacts, user: int, pages: int
) -> _Against | None:
    """What the pages are compared with; None where nobody knows."""
    prog, vma = target.prog, mapping.vma
    side = UserSide(vma.vma if vma else 0, vma.file.file if vma and vma.file else 0)
    if place.kernel.address is not None:
        return _address(target, place.kernel.address, side, user, pages)
    if place.kernel.pages is not None:
        try:
            listed = page_addresses(evaluate(prog, place.kernel.pages, side), pages)
        except (ValueError, LookupError) as error:
            raise PageproofError(f"{error}", repr(place.kernel.pages)) from None
        return _Against(listed[:pages])
    claimed = find_shared(
        prog,
        paging,
        all_finders(),
        place.pid,
        lambda one: bool(one.vm_start <= user < one.vm_end),
    ).claimed
    return next((_claimed(target, one, user, pages) for one in claimed), None) or _around(
        target, paging, place.pid, user, pages
    )


def _address(target: Target, text: str, side: UserSide, user: int, pages: int) -> _Against:
    kernel = kernel_address(target.prog, text, side)
    if kernel % PAGE_BYTES != user % PAGE_BYTES:
        raise PageproofError(
            f"--user {user:#x} and --kernel {kernel:#x} can't be the same memory: they are at "
            "different places in their pages",
            "",
            "give addresses of the same byte, or of two pages",
        )
    addresses = adjoining(kernel & -PAGE_BYTES, pages)
    with suppress(PageproofError):  # two addresses can be compared without the module too
        region = find_region(target.prog).facts
        inside = (kernel - region.kernel_address) // PAGE_BYTES
        return _Against(addresses, region, inside if 0 <= inside < region.pages else None)
    return _Against(addresses)


def _claimed(target: Target, one: Claimed, user: int, pages: int) -> _Against:
    """The kernel's side as a finder knows it."""
    vma = one.mapping.vma
    assert vma is not None
    index = one.claim.first_page + (user - vma.start) // PAGE_BYTES
    try:
        addresses = pages_of_region(target, one)[index : index + pages]
    except ValueError as error:
        raise PageproofError(f"the {one.finder.kind} region there can't be read: {error}") from None
    region = find_region(target.prog).facts if one.finder.kind == MODULE else None
    return _Against(addresses, region, index, one.finder.kind)


def _around(
    target: Target, paging: PagingFacts, pid: int, user: int, pages: int
) -> _Against | None:
    """The module's page that belongs there, by the process's other mappings of its region."""
    try:
        found = find_region(target.prog)
    except PageproofError:
        return None
    around = find_mappings(target.prog, paging, found.fops, pid).found
    index = judge.page_at(found.facts, around, user)
    if index is None:
        return None
    address = found.facts.kernel_address + index * PAGE_BYTES
    return _Against(adjoining(address, pages), found.facts, index)
