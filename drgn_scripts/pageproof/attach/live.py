# SPDX-License-Identifier: GPL-2.0-or-later
"""Attaching to the kernel of this machine."""

from __future__ import annotations

import os

import drgn

from pageproof.attach.interrupts import interrupts_kept
from pageproof.errors import PageproofError


def attach_live() -> drgn.Program:
    """Attach to the running kernel through ``/proc/kcore``.

    Raises:
        PageproofError: it cannot be read.
    """
    prog = drgn.Program()
    try:
        with interrupts_kept():
            prog.set_kernel()
    except PermissionError:
        if os.geteuid() != 0:
            raise PageproofError(
                "no permission to read the live kernel",
                "/proc/kcore",
                "run as root (sudo), or name a guest with --qemu or a dump with -c",
            ) from None
        raise PageproofError(
            "even root may not read the live kernel here",
            "/proc/kcore",
            "kernel lockdown (see /sys/kernel/security/lockdown) or a container forbids it: run "
            "outside the container, or boot without lockdown",
        ) from None
    except FileNotFoundError:
        raise PageproofError(
            "the live kernel can't be read",
            "/proc/kcore",
            "it does not exist: a kernel with CONFIG_PROC_KCORE and a mounted /proc are needed",
        ) from None
    except Exception as error:  # drgn raises bare Exception for errors without a class of their own
        raise PageproofError(f"the live kernel can't be read: {error}", "/proc/kcore") from None
    return prog
