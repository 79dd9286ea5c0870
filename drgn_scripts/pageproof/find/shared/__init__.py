# SPDX-License-Identifier: GPL-2.0-or-later
"""Finders of memory that the running kernel shares with user space, one file for each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import drgn

from pageproof.find.bulk.protocol import VmaRecord
from pageproof.find.kernel.modules import no_debug_info
from pageproof.find.kernel.symbols import symbol_name
from pageproof.find.process.mappings import Backing, MappingKey, Search, Wanted, in_order
from pageproof.find.process.spaces import spaces_of
from pageproof.find.shared.aio import AIO
from pageproof.find.shared.bpf import BPF
from pageproof.find.shared.claims import BROKEN, Claims, claim_of
from pageproof.find.shared.devmem import DEVMEM
from pageproof.find.shared.finder import Claim, Finder, UnknownPart
from pageproof.find.shared.hugetlb import HUGETLB
from pageproof.find.shared.io_uring import IO_URING
from pageproof.find.shared.kvm import KVM
from pageproof.find.shared.packet import PACKET
from pageproof.find.shared.pci import PCI
from pageproof.find.shared.perf import PERF
from pageproof.find.shared.plugins import plugin_finders
from pageproof.find.shared.shmem import SHMEM
from pageproof.find.shared.udmabuf import UDMABUF
from pageproof.find.shared.uio import UIO
from pageproof.find.shared.umh_shm import UMH_SHM
from pageproof.find.shared.vdso import VDSO
from pageproof.find.shared.xdp import XDP
from pageproof.model import MappingFacts, PagingFacts, TaskFault
from pageproof.model.quick import quick, without_collector

#: Pageproof's own finders, in the order of the output.
FINDERS: Final[tuple[Finder, ...]] = (
    UMH_SHM,
    PERF,
    IO_URING,
    PACKET,
    XDP,
    AIO,
    BPF,
    SHMEM,
    HUGETLB,
    UDMABUF,
    KVM,
    DEVMEM,
    PCI,
    UIO,
    VDSO,
)

__all__ = [
    "FINDERS",
    "Claim",
    "Claimed",
    "Finder",
    "Found",
    "FoundClaims",
    "Unclaimed",
    "Unknown",
    "all_finders",
    "by_region",
    "claim_again",
    "find_claims",
    "find_shared",
    "kernel_pages",
]


@dataclass(frozen=True, slots=True)
class Claimed:
    """A VMA and the region that it maps."""

    finder: Finder
    claim: Claim
    mapping: MappingFacts


_claimed: Final = quick(Claimed)


@dataclass(frozen=True)
class Unclaimed:
    """A VMA whose region could not be read, and the reason."""

    kind: str
    vma: int
    message: str


@dataclass(frozen=True)
class Unknown:
    """A VMA that maps an unknown part of a known file, and the finder's text about the part."""

    kind: str
    mapping: MappingFacts
    what: str


@dataclass(frozen=True)
class Found:
    """The result of a search."""

    claimed: tuple[Claimed, ...]
    unclaimed: tuple[Unclaimed, ...]
    faults: tuple[TaskFault, ...]
    unknown: tuple[Unknown, ...] = ()


@dataclass(frozen=True)
class FoundClaims:
    """The claims of a search, by what identifies their mappings."""

    claims: dict[MappingKey, Claim]
    unclaimed: tuple[Unclaimed, ...]
    faults: tuple[TaskFault, ...]


@cache
def all_finders() -> tuple[Finder, ...]:
    """Return pageproof's own finders, then those of installed packages.

    Raises:
        PageproofError: a package's finder cannot be used.
    """
    return FINDERS + plugin_finders(finder.kind for finder in FINDERS)


def find_shared(
    prog: drgn.Program,
    paging: PagingFacts,
    finders: Iterable[Finder] = FINDERS,
    pid: int | None = None,
    only: Wanted | None = None,
) -> Found:
    """Find every VMA that maps shared memory which a finder recognises.

    Args:
        prog: the target.
        paging: its paging form.
        finders: finders to use. If several match a VMA's operations, the last is tried first.
        pid: only the address space of this process.
        only: filter of VMAs.
    """
    faults: list[TaskFault] = []
    look = Search(prog, paging, spaces_of(prog, pid, faults))
    shared = _Shared(prog, tuple(finders), look, only or Wanted())
    claimed: list[Claimed] = []
    unknown: list[Unknown] = []
    with without_collector():
        for mapping, (finder, claim) in look.pick(shared.wanted, shared.take):
            if isinstance(claim, UnknownPart):
                unknown.append(Unknown(finder.kind, mapping, str(claim)))
            else:
                claimed.append(_claimed(finder, claim, mapping))
    if not look.is_sorted:
        claimed.sort(key=lambda one: in_order(one.mapping))
        unknown.sort(key=lambda one: in_order(one.mapping))
    faults += look.faults
    return Found(tuple(claimed), tuple(shared.unclaimed), tuple(faults), tuple(unknown))


def find_claims(
    prog: drgn.Program,
    paging: PagingFacts,
    finders: Iterable[Finder] = FINDERS,
    pid: int | None = None,
    only: Wanted | None = None,
) -> FoundClaims:
    """Find the claims of :func:`find_shared` alone, in half the time."""
    faults: list[TaskFault] = []
    look = Search(prog, paging, spaces_of(prog, pid, faults))
    shared = _Shared(prog, tuple(finders), look, only or Wanted())
    with without_collector():
        claims = {
            key: claim
            for key, (_, claim) in look.pick_keys(shared.wanted, shared.take)
            if not isinstance(claim, UnknownPart)
        }
    return FoundClaims(claims, tuple(shared.unclaimed), (*faults, *look.faults))


class _Shared:
    """Asks the finders about each VMA of a look.

    Attributes:
        wanted: the VMAs whose operations a finder knows, among those that the caller wants.
        unclaimed: VMAs whose region could not be read.
    """

    def __init__(
        self, prog: drgn.Program, finders: tuple[Finder, ...], look: Search, only: Wanted
    ) -> None:
        self._prog, self._only = prog, only
        self._files = look.files
        self._of_any = tuple(finder for finder in finders if not finder.operations)
        self._by_operations: dict[str, list[Finder]] = {}
        for finder in finders:
            for name in finder.operations:
                self._by_operations.setdefault(name, []).insert(0, finder)
        self._claims = Claims(prog, [space.mm for space in look.spaces])
        self._matching: dict[tuple[int, int], tuple[Finder, ...]] = {}
        self.wanted = Wanted(self._is_known, only.vma)
        self.unclaimed: list[Unclaimed] = []

    def _is_known(self, backing: Backing) -> bool:
        if self._only.backing is not None and not self._only.backing(backing):
            return False
        finders: list[Finder] = []
        for address in (backing.f_op, backing.vm_ops):
            if address:
                finders += self._by_operations.get(symbol_name(self._prog, address), ())
        self._matching[backing.vm_ops, backing.file] = (*finders, *self._of_any)
        return bool(finders or self._of_any)

    def take(self, number: int, vma: VmaRecord) -> tuple[Finder, Claim | UnknownPart] | None:
        """Return the first finder that claims a VMA; None if none does."""
        part: tuple[Finder, UnknownPart] | None = None
        for finder in self._matching[vma.vm_ops, vma.file]:
            try:
                claim = self._claims.of(finder, number, vma)
            except UnknownPart as error:
                part = finder, error
                continue
            except BROKEN as error:
                message = _message(error)
                if isinstance(error, LookupError):  # a type is missing
                    message = no_debug_info(self._prog, finder.module) or message
                self.unclaimed.append(Unclaimed(finder.kind, vma.address, message))
                return None
            if claim is not None:
                return finder, claim
        return part


def claim_again(prog: drgn.Program, one: Claimed) -> Claim | None:
    """Return the claim that the VMA gives now; None if it is gone or cannot be read."""
    assert one.mapping.vma is not None
    vma = drgn.Object(prog, "struct vm_area_struct *", one.mapping.vma.vma)
    try:
        return claim_of(one.finder, vma)
    except (UnknownPart, *BROKEN):
        return None


def by_region(claimed: Iterable[Claimed]) -> list[list[Claimed]]:
    """Group VMAs by region, in the order of the finders and then of processes."""
    order = {finder.kind: number for number, finder in enumerate(all_finders())}
    regions: dict[tuple[str, int, str], list[Claimed]] = {}
    for one in claimed:
        key = one.finder.kind, one.claim.owner, one.claim.part
        regions.setdefault(key, []).append(one)
    return sorted(
        regions.values(),
        key=lambda uses: (order.get(uses[0].finder.kind, len(order)), uses[0].mapping.pid),
    )


def kernel_pages(prog: drgn.Program, one: Claimed) -> Sequence[int | None]:
    """Return the kernel virtual address of each page of a region; None for a missing page.

    Raises:
        ValueError: the list of pages cannot be read.
    """
    try:
        return one.finder.kernel_pages(prog, one.claim)
    except BROKEN as error:
        raise ValueError(_message(error)) from None


def _message(error: Exception) -> str:
    return str(error.args[0]) if error.args else type(error).__name__
