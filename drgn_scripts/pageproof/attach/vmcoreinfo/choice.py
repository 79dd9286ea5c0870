# SPDX-License-Identifier: GPL-2.0-or-later
"""The one kernel in memory that the user means, or why there is none to report on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pageproof.attach.kernelchoice import KernelChoice
from pageproof.attach.physical import PhysicalMemory
from pageproof.attach.vmcoreinfo.kernels import (
    Found,
    FoundKernel,
    leads_to,
    release_in,
    runs_on,
)
from pageproof.errors import PageproofError
from pageproof.model import MemoryGap
from pageproof.space.units import PAGE_BYTES
from pageproof.walk import ReadPhysical

#: The topmost tables that each CPU may run on; none for memory without CPUs, such as an image.
CpuRoots = Sequence[frozenset[int]]

_SAMPLED_PAGES: Final = 512
#: Of 4096 random bytes, chi-squared over 256 values is 255 with a deviation of 23. Code and text
#: have thousands.
_CHI_SQUARED: Final = 400.0
_ENCRYPTED_SHARE: Final = 0.9
_FEWEST_PAGES: Final = 16


@dataclass(frozen=True)
class Chosen:
    """The kernel, and notes for the user."""

    kernel: FoundKernel
    notes: tuple[str, ...]


def running(read: ReadPhysical, kernel: FoundKernel, roots: CpuRoots) -> bool:
    """Return whether a CPU runs on this kernel's tables."""
    return any(runs_on(read, kernel, root) for each in roots for root in each)


def choose(
    memory: PhysicalMemory,
    found: Found,
    roots: CpuRoots,
    which: KernelChoice | None,
    where: str,
    remedy: str,
) -> Chosen:
    """Choose a kernel.

    Args:
        memory: that was searched.
        found: in it.
        roots: of the CPUs; with one kernel and no CPUs, it is that one.
        which: what the user asked for; None: the running one.
        where, remedy: for errors.

    Raises:
        PageproofError: there is none, or it cannot be decided which one.
    """
    runs = [one for one in found.kernels if running(memory.read, one, roots)]
    if not found.kernels or (roots and not runs and which is not KernelChoice.CRASHED):
        raise _none(memory, found, roots, where, remedy)
    crashed = [one for one in found.kernels if one.crashed]
    if which is KernelChoice.CRASHED:
        # The other CPUs of a kernel that has panicked stay in it, halted (arch/x86/kernel/reboot.c,
        # crash_nmi_callback()). Without them, an earlier boot may have left a second one.
        able = [one for one in crashed if one in runs] or crashed
        what = "crashed"
    else:
        able = [one for one in runs or found.kernels if not one.crashed] or runs
        what = "running"
    if len(able) != 1:
        raise PageproofError(
            f"{len(able) or 'none'} of the kernels in memory can be the {what} one: "
            f"{', '.join(map(_words, found.kernels))}",
            where,
            "choose with --which-kernel" if which is None else f"omit --which-kernel, or {remedy}",
        )
    (kernel,) = able
    if kernel.contradicted:
        raise PageproofError(
            f"memory has several VMCOREINFO of Linux {kernel.release} that contradict each other",
            where,
            f"a program may have made one up; {remedy}",
        )
    return Chosen(kernel, tuple(_notes(found, kernel, runs, what)))


def _notes(found: Found, kernel: FoundKernel, runs: Sequence[FoundKernel], what: str) -> list[str]:
    notes = [
        f"VMCOREINFO was found by searching {found.searched_bytes >> 20} MiB of memory, at "
        f"{kernel.paddr:#x}; its page tables confirm it"
    ]
    others = [one for one in found.kernels if one is not kernel]
    if others:
        other = KernelChoice.RUNNING if what == "crashed" else KernelChoice.CRASHED
        able = [one for one in others if one.crashed is (what == "running")]
        choice = f"; --which-kernel {other} selects the other" if able else ""
        notes.append(
            f"memory has {len(found.kernels)} kernels; this is the {what} one"
            f"{', which has panicked' if kernel.crashed and what == 'running' else ''}; besides: "
            f"{', '.join(map(_words, others))}{choice}"
        )
    return notes


def _words(kernel: FoundKernel) -> str:
    state = "crashed, " if kernel.crashed else ""
    return f"Linux {kernel.release} ({state}page tables at {kernel.root:#x})"


def _none(
    memory: PhysicalMemory, found: Found, roots: CpuRoots, where: str, remedy: str
) -> PageproofError:
    """Return the error for memory without a kernel that can be examined."""
    searched = (
        f"{found.searched_bytes >> 20} MiB of memory were searched for VMCOREINFO (candidates: "
        f"{found.candidates})"
    )
    if found.ended_early:
        searched += ", where the search ended"
    machine = _machine_frames(memory.read, found, roots)
    if machine:
        return PageproofError(
            f"this is a Xen PV guest, Linux {machine}: its page tables hold frames of the machine, "
            "not of the guest",
            where,
            "run pageproof inside it, or on an HVM or PVH guest",
        )
    small = [one for one in found.rejected if one.word_size]
    if small and not found.kernels:
        return PageproofError(
            f"the guest runs a 32-bit kernel, Linux {small[0].release}",
            where,
            "only 64-bit kernels are supported",
        )
    if not found.candidates and _looks_encrypted(memory):
        return PageproofError(
            f"the memory looks encrypted: its pages look random; {searched}",
            where,
            "memory of SEV, TDX and similar guests is readable only inside them",
        )
    if found.kernels:
        kernels = ", ".join(map(_words, found.kernels))
        return PageproofError(
            f"no CPU runs any of the kernels in memory: {kernels}; {searched}",
            where,
            f"try again: is the guest in its firmware, or is it nested?; {remedy}",
        )
    why = "".join(f"; the one at {one.paddr:#x}: {one.why}" for one in found.rejected[:3])
    return PageproofError(f"no Linux kernel was found: {searched}{why}", where, remedy)


def _machine_frames(read: ReadPhysical, found: Found, roots: CpuRoots) -> str:
    """Return the release of a kernel whose page tables do not hold its own physical addresses.

    A Xen PV guest's VMCOREINFO has pseudo-physical addresses and its tables machine addresses
    (arch/x86/xen/mmu_pv.c). So the tables that a CPU runs on lead to its release, but to another
    frame than VMCOREINFO's. "" if there is none.
    """
    for one in found.rejected:
        if one.place is None:
            continue
        for root in (root for each in roots for root in each):
            paddr = leads_to(read, one.place, root, one.release_at)
            if (
                paddr not in (None, one.place.physical(one.release_at))
                and release_in(read, one.place, root, one.release_at) == one.release
            ):
                return one.release
    return ""


def _looks_encrypted(memory: PhysicalMemory) -> bool:
    """Return whether nearly all pages that are not zeros look random."""
    total = sum(length // PAGE_BYTES for _, length in memory.ranges)
    step = max(1, total // _SAMPLED_PAGES)
    random = seen = 0
    for first, length in memory.ranges:
        for paddr in range(first, first + length, step * PAGE_BYTES):
            try:
                data = memory.read(paddr, PAGE_BYTES)
            except MemoryGap:
                continue
            if any(data):
                seen += 1
                random += _is_random(data)
    return seen >= _FEWEST_PAGES and random >= seen * _ENCRYPTED_SHARE


def _is_random(page: bytes) -> bool:
    expected = len(page) / 256
    counts = Counter(page)
    chi = sum((counts[byte] - expected) ** 2 for byte in range(256)) / expected
    return chi < _CHI_SQUARED
