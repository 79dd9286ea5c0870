# SPDX-License-Identifier: GPL-2.0-or-later
"""Run QEMU and kill it when its owner ends, so that no guest outlives its lab.

Run as `python keeper.py SECONDS COMMAND…`. Standard input is the reading end of a pipe, the leash.
The keeper kills the command when SECONDS are over, when the keeper gets SIGTERM, and when the
other end of the leash closes because its owner ended in any way. If a byte arrives on the leash,
the keeper ignores the leash from then on: `lab up` sends it for a guest that stays up. If the
keeper itself dies, the command dies too (prctl(2), PR_SET_PDEATHSIG).

It imports nothing of the package, because it runs as a plain script and should start fast.
"""

import os
import select
import signal
import subprocess
import sys
import time


def main() -> int:
    deadline = time.monotonic() + float(sys.argv[1])
    # Do not exit from the handler: a child that Popen has not returned yet, and that has not called
    # prctl() yet, would stay behind.
    terminated, terminate = os.pipe()
    signal.signal(signal.SIGTERM, lambda *_: os.write(terminate, b"t"))
    child = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", *sys.argv[2:]], stdin=subprocess.DEVNULL
    )
    child_fd = os.pidfd_open(child.pid)
    poll = select.poll()
    poll.register(child_fd, select.POLLIN)
    poll.register(0, select.POLLIN | select.POLLHUP)
    poll.register(terminated, select.POLLIN)
    try:
        while child.poll() is None:
            left = deadline - time.monotonic()
            if left <= 0:
                print("keeper: deadline reached, ending the guest", file=sys.stderr)
                return 124
            for fd, _event in poll.poll(left * 1000):
                if fd == terminated:
                    return 128 + signal.SIGTERM
                if fd == 0:
                    if not os.read(0, 1):
                        return 125
                    poll.unregister(0)
        return child.returncode
    finally:
        child.kill()
        child.wait()


if __name__ == "__main__":
    sys.exit(main())
