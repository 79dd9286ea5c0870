# SPDX-License-Identifier: GPL-2.0-or-later
"""A process in the guest with mappings that are easily counted wrong; it sleeps.

The first argument is the output file, for one line of JSON: pid; partner, its child; address of
each mapping.
"""

import ctypes
import json
import mmap
import os
import signal
import sys
from pathlib import Path

PAGE = 4096
HUGE = 2 << 20
PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
MAP_HUGETLB = 0x40000
PROT_NONE = 0
#: ``MADV_GUARD_INSTALL``, since 6.13.
GUARD_INSTALL = 102

libc = ctypes.CDLL(None, use_errno=True)
libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


def address_of(memory: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


def take_away(address: int) -> None:
    """Set PROT_NONE on a page that is present."""
    if libc.mprotect(address, PAGE, PROT_NONE):
        raise OSError(ctypes.get_errno(), "mprotect")


def huge_pages(length: int) -> tuple[mmap.mmap, int]:
    """Return memory that may get huge pages, and the offset of the first aligned one."""
    memory = mmap.mmap(-1, length, flags=PRIVATE)
    memory.madvise(mmap.MADV_HUGEPAGE)
    return memory, -address_of(memory) % HUGE


def main() -> None:
    nobody = mmap.mmap(-1, 8 * PAGE, flags=PRIVATE)
    for page in (1, 2, 6):
        nobody[page * PAGE] = 1
    take_away(address_of(nobody) + 2 * PAGE)
    guard = libc.madvise(address_of(nobody) + 4 * PAGE, PAGE, GUARD_INSTALL) == 0
    only_read, aligned = huge_pages(3 * HUGE)
    assert only_read[aligned] == 0  # the huge zero page
    pool = mmap.mmap(-1, HUGE, flags=PRIVATE | MAP_HUGETLB)
    pool[PAGE] = 1
    split, aligned_split = huge_pages(4 * HUGE)
    for number in range(2):
        split[aligned_split + number * HUGE] = 1
    partner = os.fork()
    if partner:
        # Split into small pages here, still a huge page in the partner.
        take_away(address_of(split) + aligned_split + 7 * PAGE)
        facts = {
            "pid": os.getpid(),
            "partner": partner,
            "nobody": address_of(nobody) + 2 * PAGE,
            "guard": address_of(nobody) + 4 * PAGE if guard else None,
            "only_read": address_of(only_read) + aligned,
            "pool": address_of(pool),
            "split": address_of(split) + aligned_split,
        }
        output = Path(sys.argv[1])
        part = output.with_suffix(".part")
        part.write_text(json.dumps(facts))
        part.rename(output)
    while True:
        signal.pause()


main()
