# SPDX-License-Identifier: GPL-2.0-or-later
"""A process that maps some of any device in the guest, reads it, says where, and stays.

Words: where to write its pid and the address, as JSON; the device; offset and pages.
"""

import json
import mmap
import os
import signal
import sys
from pathlib import Path


def main() -> None:
    output, device, offset, pages = sys.argv[1:]
    fd = os.open(device, os.O_RDONLY)
    length = int(pages) * mmap.PAGESIZE
    mapped = mmap.mmap(fd, length, mmap.MAP_SHARED, mmap.PROT_READ, offset=int(offset, 16))
    mapped[:: mmap.PAGESIZE]
    lines = Path("/proc/self/maps").read_text().splitlines()
    (line,) = (line for line in lines if line.endswith(f" {device}"))
    address = int(line.partition("-")[0], 16)
    part = Path(f"{output}.part")
    part.write_text(json.dumps({"pid": os.getpid(), "address": address}))
    part.rename(output)
    signal.pause()


if __name__ == "__main__":
    main()
