# SPDX-License-Identifier: GPL-2.0-or-later
"""A process with one mapping of each kind, in the guest: writes its PID to a file and sleeps.

Its address space does not change, so procfs and pageproof can be compared one after the other.
With a second argument, `spin`, it never sleeps, so that a CPU has its page tables loaded.
"""

import mmap
import os
import signal
import sys
from pathlib import Path

PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
PAGE = 4096


def main() -> None:
    output = Path(sys.argv[1])
    written = mmap.mmap(-1, 16 * PAGE, flags=PRIVATE)
    for page in (0, 1, 5):
        written[page * PAGE] = 1
    only_read = mmap.mmap(-1, 8 * PAGE, flags=PRIVATE)
    only_read[PAGE] = 1
    assert only_read[2 * PAGE] == 0  # the zero page, which Rss does not count
    shared = mmap.mmap(-1, 4 * PAGE)  # /dev/zero (deleted)
    shared[PAGE] = 1
    memory = os.memfd_create("with a blank")
    os.ftruncate(memory, 2 * PAGE)
    memfd = mmap.mmap(memory, 2 * PAGE)
    memfd[0] = 1
    path = output.with_suffix(".mapped")
    path.write_bytes(bytes(3 * PAGE))
    with path.open("r+b") as file:
        gone = mmap.mmap(file.fileno(), 3 * PAGE)
    assert gone[PAGE] == 0
    path.unlink()
    huge = mmap.mmap(-1, 8 << 20, flags=PRIVATE)
    huge.madvise(mmap.MADV_HUGEPAGE)
    huge[4 << 20] = 1
    partner = os.fork()  # from here on a page is shared until one side writes to it
    if partner:
        temporary = output.with_suffix(".tmp")
        temporary.write_text(str(os.getpid()))
        temporary.replace(output)
        while "spin" in sys.argv[2:]:
            pass
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
