# SPDX-License-Identifier: GPL-2.0-or-later
"""A process that maps /dev/umh_shm in the guest, as told, says where, and stays.

Prints one line of JSON: pid, address and length_bytes of the mapping. Ends when it is killed.
"""

import argparse
import ctypes
import json
import mmap
import os
import signal
from pathlib import Path

PAGE_BYTES = 4096
MAP_FIXED = 0x10

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)


def map_pages(address: int | None, pages: int, flags: int, fd: int, offset: int, prot: int) -> int:
    result = libc.mmap(address, pages * PAGE_BYTES, prot, flags, fd, offset)
    if result is None or result == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), f"mmap: {os.strerror(ctypes.get_errno())}")
    return int(result)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pages", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="first page of the region to map")
    parser.add_argument("--read-only", action="store_true")
    parser.add_argument(
        "--touch", type=int, nargs="*", default=[], help="pages of the mapping to read"
    )
    parser.add_argument(
        "--write", nargs=3, action="append", default=[], metavar=("PAGE", "BYTE", "HEX")
    )
    parser.add_argument(
        "--replace", type=int, nargs="*", default=[], help="pages to put an anonymous page over"
    )
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()

    prot = mmap.PROT_READ | (0 if args.read_only else mmap.PROT_WRITE)
    fd = os.open("/dev/umh_shm", os.O_RDONLY if args.read_only else os.O_RDWR)
    address = map_pages(None, args.pages, mmap.MAP_SHARED, fd, args.first * PAGE_BYTES, prot)
    os.close(fd)
    for page in args.touch:
        ctypes.string_at(address + page * PAGE_BYTES, 1)
    for page, byte, text in args.write:
        data = bytes.fromhex(text)
        ctypes.memmove(address + int(page) * PAGE_BYTES + int(byte), data, len(data))
    for page in args.replace:
        at = address + page * PAGE_BYTES
        content = ctypes.string_at(at, PAGE_BYTES)
        private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_FIXED
        map_pages(at, 1, private, -1, 0, mmap.PROT_READ | mmap.PROT_WRITE)
        ctypes.memmove(at, content, PAGE_BYTES)  # the same bytes: only the walk can tell

    facts = {"pid": os.getpid(), "address": address, "length_bytes": args.pages * PAGE_BYTES}
    part = args.output.with_suffix(".part")
    part.write_text(json.dumps(facts))
    part.rename(args.output)
    signal.pause()


main()
