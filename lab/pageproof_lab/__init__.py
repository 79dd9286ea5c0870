# SPDX-License-Identifier: GPL-2.0-or-later
"""Real Debian kernels in QEMU, to try pageproof on.

Layers, each using only those before it: `paths` and `proc`, `apt` (signed downloads), `roots`
(guest root, build root), `kernels` (image, headers, debug info), `build` (umh_shm.ko),
`initramfs` and `disks`, `keeper` and `qemu` (a process that cannot outlive its owner), `channel`
(QMP and guest agent), `guest` (run, crash), `boot`, then `demo`, `bench`, `lint`, and `cli`.
"""


class LabError(Exception):
    """Something the user can mend; the message says what, where and how."""
