# SPDX-License-Identifier: GPL-2.0-or-later
"""Finders of memory that the running kernel shares with user space, one file for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import drgn

from pageproof.find.kernel.modules import load_when_missed, no_debug_info
from pageproof.find.kernel.symbols import symbol_name
from pageproof.find.process.mappings import search
from pageproof.find.shared.aio import AIO
from pageproof.find.shared.bpf import BPF
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
from pageproof.model import MappingFacts, PagingFacts, TaskFault

#: Pageproof's own finders, in the order of the output.
FINDERS: Final[tuple[Finder, ...]] = (
    UMH_SHM,
    PERF,
    IO_URING,
    PACKET,
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

#: Errors of a finder: memory that changes, or an unknown layout.
_BROKEN: Final = (drgn.FaultError, LookupError, AttributeError, TypeError, ValueError)

__all__ = [
    "FINDERS",
    "Claim",
    "Claimed",
    "Finder",
    "Found",
    "Unclaimed",
    "Unknown",
    "all_finders",
    "by_region",
    "claim_again",
    "find_shared",
    "kernel_pages",
]


@dataclass(frozen=True)
class Claimed:
    """A VMA and the region that it maps."""

    finder: Finder
    claim: Claim
    mapping: MappingFacts


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
    only: Callable[[drgn.Object], bool] | None = None,
) -> Found:
    """Find every VMA that maps shared memory which a finder recognises.

    Args:
        prog: the target.
        paging: its paging form.
        finders: finders to use. If several match a VMA's operations, the last is tried first.
        pid: only the address space of this process.
        only: filter of ``struct vm_area_struct *``.
    """
    finders = tuple(finders)
    of_any = tuple(finder for finder in finders if not finder.operations)
    by_operations: dict[str, list[Finder]] = {}
    for finder in finders:
        for name in finder.operations:
            by_operations.setdefault(name, []).insert(0, finder)
    claims: dict[int, tuple[Finder, Claim]] = {}
    parts: dict[int, tuple[str, str]] = {}
    unclaimed: list[Unclaimed] = []

    f_ops: dict[int, int] = {}  # by file, which many VMAs may share

    def operations(vma: drgn.Object) -> Iterator[int]:
        here = vma[0].read_()  # one read for all members
        if file := here.vm_file:
            address = file.value_()
            if address not in f_ops:
                f_ops[address] = file.f_op.value_()
            yield f_ops[address]
        yield here.vm_ops.value_()

    def matching(vma: drgn.Object) -> Iterator[Finder]:
        for address in operations(vma):
            if address:
                yield from by_operations.get(symbol_name(prog, address), ())
        yield from of_any

    def wanted(vma: drgn.Object) -> bool:
        if only is not None and not only(vma):
            return False
        for finder in matching(vma):
            try:
                claim = _claim(finder, vma)
            except UnknownPart as part:
                parts[vma.value_()] = finder.kind, str(part)
                continue
            except _BROKEN as error:
                message = _message(error)
                if isinstance(error, LookupError):  # a type is missing
                    message = no_debug_info(prog, finder.module) or message
                unclaimed.append(Unclaimed(finder.kind, vma.value_(), message))
                return False
            if claim is not None:
                claims[vma.value_()] = finder, claim
                return True
        return vma.value_() in parts

    mappings = search(prog, paging, wanted, pid)
    claimed, unknown = [], []
    for mapping in mappings.found:
        assert mapping.vma is not None  # search() found it by its VMA
        vma = mapping.vma.vma
        if vma in claims:
            claimed.append(Claimed(*claims[vma], mapping))
        else:
            kind, what = parts[vma]
            unknown.append(Unknown(kind, mapping, what))
    return Found(tuple(claimed), tuple(unclaimed), mappings.faults, tuple(unknown))


def _claim(finder: Finder, vma: drgn.Object) -> Claim | None:
    """Return a finder's claim. If a type is missing, load its module's debug info and retry."""
    try:
        return finder.claim(vma)
    except LookupError:
        if not finder.module or not load_when_missed(vma.prog_, finder.module):
            raise
    return finder.claim(vma)


def claim_again(prog: drgn.Program, one: Claimed) -> Claim | None:
    """Return the claim that the VMA gives now; None if it is gone or cannot be read."""
    assert one.mapping.vma is not None
    try:
        return _claim(one.finder, drgn.Object(prog, "struct vm_area_struct *", one.mapping.vma.vma))
    except (UnknownPart, *_BROKEN):
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
    except _BROKEN as error:
        raise ValueError(_message(error)) from None


def _message(error: Exception) -> str:
    return str(error.args[0]) if error.args else type(error).__name__
