# SPDX-License-Identifier: GPL-2.0-or-later
"""Run real Debian kernels in QEMU to try pageproof on.

Layers, each of which imports only those before it: `paths` and `proc`; `images` (what a guest is
made of); `guest` (boot, run, crash); `bench`; the commands `demo` and `lint`; and `cli`.
tests/lab/test_layers.py checks this.
"""


class LabError(Exception):
    """An error that the user can fix; the message is what is wrong, where, and what to do."""
