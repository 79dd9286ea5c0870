# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether the program headers of an ELF dump agree with each other.

A header whose physical address or offset is wrong would put other memory, and so other page tables,
where the kernel's own are. kexec-tools, the kernel (fs/proc/vmcore.c), makedumpfile and QEMU give
every segment a part of the file of its own. Segments of the direct map have the same distance
between virtual and physical address.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from pageproof.attach.elfmap import Segment

#: A group with fewer segments says nothing about a further one.
_FEWEST: Final = 3
#: The row of the memory map that follows the direct map is further away (arch/x86/mm/kaslr.c).
_NEAR: Final = 1 << 30
_WORD: Final = (1 << 64) - 1


def disagreement(loads: Sequence[Segment]) -> str:
    """Return what does not agree; "" if all does."""
    for one in loads:
        if one.file_bytes > one.memory_bytes:
            return f"program header {one.order} has more bytes in the file than in memory"
    in_file = sorted((one for one in loads if one.file_bytes), key=lambda one: one.file_offset)
    for one, after in pairwise(in_file):
        if after.file_offset < one.file_offset + one.file_bytes:
            return f"program headers {one.order} and {after.order} share bytes of the file"
    return _wrong_distance(loads)


def _wrong_distance(loads: Sequence[Segment]) -> str:
    #: Virtual minus physical address -> virtual address, segment.
    groups: dict[int, list[tuple[int, Segment]]] = {}
    for one in loads:
        if one.vaddr is not None and one.paddr != _WORD:
            groups.setdefault((one.vaddr - one.paddr) & _WORD, []).append((one.vaddr, one))
    # The direct map, and the kernel's image.
    largest = sorted(groups, key=lambda distance: len(groups[distance]))[-2:]
    for distance in largest:
        group = groups[distance]
        if len(group) < _FEWEST:
            continue
        start = min(vaddr for vaddr, _ in group)
        end = max(vaddr + one.memory_bytes for vaddr, one in group)
        margin = end - start + _NEAR
        for other, members in groups.items():
            for vaddr, one in members if other != distance else ():
                if start - margin < vaddr + one.memory_bytes and vaddr < end + margin:
                    return (
                        f"program header {one.order} has the physical address {one.paddr:#x}, "
                        "which does not fit those of its neighbours"
                    )
    return ""
