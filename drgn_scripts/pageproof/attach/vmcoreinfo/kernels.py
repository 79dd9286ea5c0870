# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernels in physical memory: candidates whose own page tables confirm them.

A text alone proves nothing: it may be what a kernel left behind that ran before a reboot, a nested
guest's, a copy in a file, or made up by a program. The tables that it names have to lead from the
address of the tables to the tables themselves, and from ``init_uts_ns`` to the same release.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from pageproof import arch
from pageproof.arch import Architecture
from pageproof.arch.image import ImagePlace, OtherWordSize, Unsuitable
from pageproof.arch.paging import ENTRY_BYTES
from pageproof.attach.physical import PhysicalMemory
from pageproof.attach.vmcoreinfo.search import Candidate, search
from pageproof.model import MemoryGap, Outcome
from pageproof.space.units import ADDRESS_END, PAGE_BYTES
from pageproof.walk import ReadPhysical, walk_address

#: Limit of candidates that are examined, which takes 0.3 ms each, and 15 ms through QEMU's monitor.
#: A sound guest has two or three; a program can fill all memory with them.
_MOST_CANDIDATES: Final = 2_000
#: Limit of reasons that are kept.
_MOST_REJECTED: Final = 16
#: ``__NEW_UTS_LEN`` + 1 (include/uapi/linux/utsname.h): sysname, nodename, then release.
_UTS_BYTES: Final = 65
#: Before 5.11 VMCOREINFO lacks the offset of ``uts_namespace.name``, which then has only a kref
#: before it (9a56493f6942, "uts: Use generic ns_common::count").
_KREF_BYTES: Final = 4
_RELEASE: Final = re.compile(r"[\x21-\x7e]{1,64}")
_BUILD_ID: Final = re.compile(r"[0-9a-f]{16,128}")
#: ``crash_save_vmcoreinfo()`` appends it when the kernel panics.
_CRASHED: Final = "CRASHTIME"


@dataclass(frozen=True)
class FoundKernel:
    """A kernel in memory, confirmed by its own page tables.

    Attributes:
        text: its VMCOREINFO.
        paddr: where that is.
        release: its ``uname -r``.
        build_id: hex; "" before Linux 5.9, which does not name it.
        place: its image.
        crashed: it has panicked.
        copies: how many texts of this kernel there are.
        contradicted: there are texts with other contents that name the same page tables.
    """

    text: bytes
    paddr: int
    release: str
    build_id: str
    place: ImagePlace
    crashed: bool
    copies: int = 1
    contradicted: bool = False

    @property
    def root(self) -> int:
        """Physical address of the topmost table of ``init_mm``."""
        return self.place.physical(self.place.tables)


@dataclass(frozen=True)
class Rejected:
    """A candidate that is no kernel, and why.

    Attributes:
        word_size: it is a 32-bit kernel's.
        place, release_at: where it places its image, and the virtual address of its release; None
            if it does not parse.
    """

    paddr: int
    release: str
    why: str
    word_size: bool = False
    place: ImagePlace | None = field(default=None, repr=False)
    release_at: int = 0


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        kernels: by physical address of their texts.
        rejected: the first ones.
        candidates: pages that looked like VMCOREINFO.
        searched_bytes: of memory.
        ended_early: there were too many candidates.
    """

    kernels: tuple[FoundKernel, ...]
    rejected: tuple[Rejected, ...]
    candidates: int
    searched_bytes: int
    ended_early: bool


def find_kernels(
    memory: PhysicalMemory,
    progress: Callable[[str], None] = lambda message: None,
    architecture: Architecture = arch.ASSUMED,
) -> Found:
    """Search memory for kernels.

    Args:
        memory: what is searched.
        progress: called with one line now and then.
        architecture: of the machine.
    """
    total = sum(length for _, length in memory.ranges)
    kernels: dict[tuple[int, str, str], FoundKernel] = {}
    rejected: list[Rejected] = []
    count, ended_early = 0, False

    def say(done: int) -> None:
        progress(f"searching memory for VMCOREINFO: {done >> 20} of {total >> 20} MiB")

    for candidate in search(memory, say):
        if count == _MOST_CANDIDATES:
            ended_early = True
            break
        count += 1
        kernel = _examine(memory, candidate, architecture)
        if isinstance(kernel, Rejected):
            if len(rejected) < _MOST_REJECTED:
                rejected.append(kernel)
            continue
        key = kernel.root, kernel.release, kernel.build_id
        kernels[key] = _merge(kernels[key], kernel) if key in kernels else kernel
    return Found(tuple(kernels.values()), tuple(rejected), count, total, ended_early)


def parse(text: bytes) -> dict[str, str]:
    """Return the lines of a VMCOREINFO by the text before their first "="."""
    lines = text.decode("ascii", "replace").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def leads_to(read: ReadPhysical, place: ImagePlace, root: int, address: int) -> int | None:
    """Return the physical address that tables give a virtual one; None if they map nothing."""
    if not 0 <= root < ADDRESS_END:
        return None
    walk = walk_address(read, root, address, place.paging)
    return walk.paddr if walk.outcome is Outcome.MAPPED else None


def release_in(read: ReadPhysical, place: ImagePlace, root: int, address: int) -> str:
    """Return the release in a ``struct new_utsname``; "" if it is not mapped."""
    data = b""
    while len(data) < _UTS_BYTES:
        paddr = leads_to(read, place, root, address + len(data))
        if paddr is None:
            return ""
        some = min(_UTS_BYTES - len(data), PAGE_BYTES - paddr % PAGE_BYTES)
        try:
            data += read(paddr, some)
        except MemoryGap:
            return ""
    return data.partition(b"\0")[0].decode("ascii", "replace")


def runs_on(read: ReadPhysical, kernel: FoundKernel, root: int) -> bool:
    """Return whether a topmost table has the entry of this kernel's image.

    Every address space has it (pgd_ctor() of arch/x86/mm/pgtable.c), and it names a table that is
    itself in the image, so no other kernel has the same. The processor sets bits in it.
    """
    paging = kernel.place.paging
    offset = paging.tables[0].index_of(kernel.place.tables) * ENTRY_BYTES
    try:
        ours, theirs = (
            int.from_bytes(read(table + offset, ENTRY_BYTES), "little")
            for table in (kernel.root, root)
        )
    except MemoryGap:
        return False
    entries = [paging.decode(raw, paging.tables[0], upper=True) for raw in (ours, theirs)]
    return entries[0].base is not None and entries[0] == entries[1]


def _examine(
    memory: PhysicalMemory, candidate: Candidate, architecture: Architecture
) -> FoundKernel | Rejected:
    info = parse(candidate.text)
    release, build_id = info.get("OSRELEASE", ""), info.get("BUILD-ID", "")
    try:
        if not _RELEASE.fullmatch(release):
            raise Unsuitable("its OSRELEASE is damaged")
        if build_id and not _BUILD_ID.fullmatch(build_id):
            raise Unsuitable("its BUILD-ID is damaged")
        place = architecture.image_place(info)
        if info.get("PAGESIZE") != str(PAGE_BYTES):
            raise Unsuitable("its PAGESIZE is damaged")
        release_at = _release_address(info)
    except Unsuitable as error:
        small = isinstance(error, OtherWordSize)
        return Rejected(candidate.paddr, release[:_UTS_BYTES], str(error), small)
    why = _doubt(memory.read, place, release, release_at)
    if why:
        return Rejected(candidate.paddr, release, why, False, place, release_at)
    crashed = _CRASHED in info
    return FoundKernel(candidate.text, candidate.paddr, release, build_id, place, crashed)


def _doubt(read: ReadPhysical, place: ImagePlace, release: str, release_at: int) -> str:
    """Return what is wrong with the page tables of a VMCOREINFO, "" for nothing."""
    root = place.physical(place.tables)
    if leads_to(read, place, root, place.tables) != root:
        return f"there are no page tables at {root:#x} that lead to themselves"
    if release_in(read, place, root, release_at) != release:
        return "its page tables do not lead to its release"
    return ""


def is_confirmed(read: ReadPhysical, kernel: FoundKernel) -> bool:
    """Return whether a kernel's own page tables confirm it."""
    try:
        release_at = _release_address(parse(kernel.text))
    except Unsuitable:
        return False
    return not _doubt(read, kernel.place, kernel.release, release_at)


def _release_address(info: Mapping[str, str]) -> int:
    try:
        address = int(info["SYMBOL(init_uts_ns)"], 16)
        offset = int(info.get("OFFSET(uts_namespace.name)", _KREF_BYTES))
    except (KeyError, ValueError):
        raise Unsuitable("it does not name init_uts_ns") from None
    if not 0 <= offset < PAGE_BYTES or not 0 <= address < ADDRESS_END - 2 * PAGE_BYTES:
        raise Unsuitable("its init_uts_ns is damaged")
    return address + offset + 2 * _UTS_BYTES


def kernel_named(text: bytes, architecture: Architecture) -> FoundKernel | None:
    """Return the kernel that a trusted VMCOREINFO describes; None if that cannot be used."""
    info = parse(text)
    try:
        place = architecture.image_place(info)
    except Unsuitable:
        return None
    return FoundKernel(text, 0, info.get("OSRELEASE", ""), "", place, _CRASHED in info)


def _merge(known: FoundKernel, other: FoundKernel) -> FoundKernel:
    """Return two texts of one kernel as one: that of its panic has one line more."""
    newer = other if other.crashed and not known.crashed else known
    return replace(
        newer,
        copies=known.copies + 1,
        contradicted=known.contradicted or _stable(known.text) != _stable(other.text),
    )


def _stable(text: bytes) -> list[bytes]:
    return [line for line in text.splitlines() if not line.startswith(_CRASHED.encode())]
