# SPDX-License-Identifier: GPL-2.0-or-later
"""A process with two adjacent VMAs and a mapped socket; it reports the addresses and sleeps.

Two ordinary pages of a memfd are followed by two raw frames of /dev/mem. Arguments: output file for
the pid and the addresses, as JSON; offset in /dev/mem.
"""

import ctypes
import json
import mmap
import os
import signal
import socket
import sys
from pathlib import Path

PAGE = mmap.PAGESIZE
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.mmap.restype = ctypes.c_void_p
LIBC.mmap.argtypes = [
    *(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long),
]
MAP_FIXED, PROT_NONE = 0x10, 0


def map_pages(address: int, pages: int, prot: int, flags: int, fd: int, offset: int) -> int:
    mapped: int = LIBC.mmap(address, pages * PAGE, prot, flags, fd, offset)
    if mapped in (None, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), "mmap")
    return mapped


def main() -> None:
    output, offset = sys.argv[1:]
    room = map_pages(0, 4, PROT_NONE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    fixed = mmap.MAP_SHARED | MAP_FIXED
    file = os.memfd_create("adjoining")
    os.write(file, b"pageproof".ljust(PAGE) * 4)
    map_pages(room, 2, mmap.PROT_READ | mmap.PROT_WRITE, fixed, file, 0)
    memory = os.open("/dev/mem", os.O_RDONLY)
    map_pages(room + 2 * PAGE, 2, mmap.PROT_READ, fixed, memory, int(offset, 16))
    ctypes.string_at(room, 4 * PAGE)
    with socket.socket() as tcp:
        received = map_pages(0, 1, mmap.PROT_READ, mmap.MAP_SHARED, tcp.fileno(), 0)
    part = Path(f"{output}.part")
    facts = {"pid": os.getpid(), "address": room, "socket": received}
    part.write_text(json.dumps(facts))
    part.rename(output)
    signal.pause()


if __name__ == "__main__":
    main()
