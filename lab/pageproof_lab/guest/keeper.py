# SPDX-License-Identifier: GPL-2.0-or-later
"""A process that keeps QEMU on a leash, so that no guest outlives its lab.

Run as `python keeper.py SECONDS COMMAND…` with the leash, the reading end of a pipe, as stdin.
The command is killed when the time is over, when the keeper gets SIGTERM, and when the leash's
other end closes (its owner ended, however) unless a byte came first: that lets go of the leash,
for a lab that stays up on purpose. The command dies with the keeper too (prctl(2),
PR_SET_PDEATHSIG).

Imports nothing of the package: it is started often, and runs as a plain file.
"""

import os
import select
import signal
import subprocess
import sys
import time


def main() -> int:
    deadline = time.monotonic() + float(sys.argv[1])
    # To exit from the handler would leave a child that Popen has not returned yet, and that has not
    # come to its prctl().
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
