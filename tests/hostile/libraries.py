# SPDX-License-Identifier: GPL-2.0-or-later
"""What the libraries below pageproof do with damaged dumps. Only drgn is used here.

    python tests/hostile/libraries.py no-records SCRATCH
    python tests/hostile/libraries.py notes-at-the-end SCRATCH VMCORE
    python tests/hostile/libraries.py shrinks SCRATCH VMCORE
    python tests/hostile/libraries.py bitmap SCRATCH VMCORE

SCRATCH is a file to write, VMCORE a kdump-compressed dump that is not flattened.
"""

import os
import shutil
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import drgn

PAGE = 4096
#: struct disk_dump_header: sub_hdr_size and bitmap_blocks; struct kdump_sub_header:
#: offset_note (makedumpfile's diskdump_mod.h).
SUB_BLOCKS_AT, NOTES_AT = 432, PAGE + 48


def opened(path: Path) -> drgn.Program:
    prog = drgn.Program()
    prog.set_core_dump(path)
    return prog


def no_records(scratch: Path) -> None:
    """Open a flattened file that ends after its header: SIGSEGV."""
    head = b"makedumpfile".ljust(16, b"\0") + struct.pack(">QQ", 1, 1)
    scratch.write_bytes(head.ljust(PAGE, b"\0") + struct.pack(">qq", -1, -1))
    opened(scratch)


def notes_at_the_end(scratch: Path, vmcore: Path) -> None:
    """Open a dump whose ELF notes begin where the file ends: SIGBUS."""
    shutil.copyfile(vmcore, scratch)
    size = scratch.stat().st_size // PAGE * PAGE + PAGE + 8
    with scratch.open("r+b") as file:
        file.truncate(size)
        file.seek(NOTES_AT)
        file.write(struct.pack("<QQ", size, PAGE))
    opened(scratch)


def shrinks(scratch: Path, vmcore: Path) -> None:
    """Read memory after another program has truncated the dump: SIGBUS."""
    shutil.copyfile(vmcore, scratch)
    prog = opened(scratch)
    os.truncate(scratch, PAGE)
    for address in range(0, 1 << 28, PAGE):
        try:
            prog.read(address, 8, True)
        except drgn.FaultError:
            continue


def bitmap(scratch: Path, vmcore: Path) -> None:
    """Flip the bit of a page that the dump omits: every later page is read as another one."""
    shutil.copyfile(vmcore, scratch)
    with scratch.open("r+b") as file:
        file.seek(SUB_BLOCKS_AT)
        sub_blocks, bitmap_blocks = struct.unpack("<iI", file.read(8))
        start = (1 + sub_blocks) * PAGE + bitmap_blocks // 2 * PAGE
        file.seek(start)
        bits = file.read(bitmap_blocks // 2 * PAGE)
        at = next(number for number, byte in enumerate(bits) if 0 < byte < 255)
        file.seek(start + at)
        file.write(bytes([bits[at] | (bits[at] + 1)]))
    sound, damaged = opened(vmcore), opened(scratch)
    print("as before, others, errors:", *compared(sound, damaged, at * 8))


def compared(sound: drgn.Program, damaged: drgn.Program, first: int) -> tuple[int, int, int]:
    """Return how many pages read as before, as something else, and not at all."""
    counts = [0, 0, 0]
    for page in range(first, first + 20_000):
        try:
            before = sound.read(page * PAGE, PAGE, True)
        except drgn.FaultError:
            continue
        try:
            counts[0 if damaged.read(page * PAGE, PAGE, True) == before else 1] += 1
        except drgn.FaultError:
            counts[2] += 1
    return counts[0], counts[1], counts[2]


FAULTS: dict[str, Callable[..., None]] = {
    "no-records": no_records,
    "notes-at-the-end": notes_at_the_end,
    "shrinks": shrinks,
    "bitmap": bitmap,
}

if __name__ == "__main__":
    print(f"drgn {drgn.__version__}", flush=True)
    FAULTS[sys.argv[1]](*map(Path, sys.argv[2:]))
    print("no fault")
