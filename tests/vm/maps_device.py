# SPDX-License-Identifier: GPL-2.0-or-later
"""A process that maps a part of a device in the guest, reads it, reports the address and sleeps.

Arguments: output file for the pid and the address, as JSON; device; offset; pages; optionally a
root directory to change to, in which the device has that name.
"""

import json
import mmap
import os
import signal
import sys
from pathlib import Path


def main() -> None:
    output, device, offset, pages, *root = sys.argv[1:]
    directory = os.open(Path(output).parent, os.O_RDONLY)
    with Path("/proc/self/maps").open() as maps:
        for one in root:
            os.chroot(one)
        fd = os.open(device, os.O_RDONLY)
        length = int(pages) * mmap.PAGESIZE
        mapped = mmap.mmap(fd, length, mmap.MAP_SHARED, mmap.PROT_READ, offset=int(offset, 16))
        mapped[:: mmap.PAGESIZE]
        (line,) = (line for line in maps.read().splitlines() if line.endswith(f" {device}"))
    facts = {"pid": os.getpid(), "address": int(line.partition("-")[0], 16)}
    # After chroot() the output's folder has no path.
    name = Path(output).name
    part = os.open(f"{name}.part", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, dir_fd=directory)
    with os.fdopen(part, "w") as file:
        file.write(json.dumps(facts))
    os.rename(f"{name}.part", name, src_dir_fd=directory, dst_dir_fd=directory)
    signal.pause()


if __name__ == "__main__":
    main()
