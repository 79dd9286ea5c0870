# SPDX-License-Identifier: GPL-2.0-or-later
"""Watches a guest until it is ended: a process for tests to send signals to.

python watcher.py QMP GDB ADDRESS VMLINUX [pause]

Prints "armed", then a line for each hit. With "pause" it stops the guest, prints "paused", and
sleeps.
"""

import signal
import sys
import time
from pathlib import Path

from pageproof.attach import Wanted, open_target
from pageproof.errors import PageproofError
from pageproof.model.watch import Mode, Place
from pageproof.watch.gdb import GdbSource


def end(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


def main(qmp: str, gdb: str, address: str, vmlinux: str, how: str = "") -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    target = open_target(Wanted(qmp, None, (Path(vmlinux),)), ())
    source = GdbSource(target, gdb)
    try:
        for note in source.notes:
            print(note, flush=True)
        place = Place(0, 0, int(address, 16), 4, 0, Mode.KERNEL)
        assert not source.arm(place)
        if how == "pause":
            source._pause()
            print("paused", flush=True)
            time.sleep(1000)
        print("armed", flush=True)
        while True:
            for hit in source.hits(1):
                print(f"hit {hit.pid}", flush=True)
    except PageproofError as error:
        print(f"error: {error}", flush=True)
        raise SystemExit(error.exit_code) from None
    finally:
        source.close()
        print(f"left: {source.left!r}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
