# SPDX-License-Identifier: GPL-2.0-or-later
"""A process in the guest whose names try to control the reader's terminal; it sleeps.

Its own name, a memfd's and a file's contain terminal escapes, and a line that looks like part of a
report. The first argument is the output file, for one line of JSON: pid; the names; the address of
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
PR_SET_NAME = 15
#: At most 15 bytes: ESC, newline, a C1 control (CSI), an override of direction.
COMM = "\x1b[2J\nS\x9b1m\u202eab"
NAME = "\x1b]0;title\x07\x7f\x9b31m\u202e\u2066\u2028\nSAME  page 0 of pid 1 (init)\n"

libc = ctypes.CDLL(None, use_errno=True)


def shared(handle: int) -> tuple[mmap.mmap, int]:
    """Return a mapped page of a file, after a write, and its address."""
    os.ftruncate(handle, PAGE)
    memory = mmap.mmap(handle, PAGE, mmap.MAP_SHARED)
    memory[:5] = b"hello"
    return memory, ctypes.addressof(ctypes.c_char.from_buffer(memory))


def main() -> None:
    output = Path(sys.argv[1])
    assert len(COMM.encode()) <= 15
    if libc.prctl(PR_SET_NAME, COMM.encode(), 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    _memfd, memfd_at = shared(os.memfd_create(NAME))
    _file, file_at = shared(os.open(output.parent / NAME, os.O_RDWR | os.O_CREAT))
    facts = {
        "pid": os.getpid(),
        "comm": COMM,
        "name": NAME,
        "memfd": memfd_at,
        "file": file_at,
    }
    part = output.with_suffix(".part")
    part.write_text(json.dumps(facts))
    part.rename(output)
    while True:
        signal.pause()


main()
