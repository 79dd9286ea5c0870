# SPDX-License-Identifier: GPL-2.0-or-later
"""Attaching to a vmcore."""

from __future__ import annotations

from pathlib import Path

import drgn

from pageproof import arch
from pageproof.attach.guest import VMCOREINFO_REMEDY
from pageproof.attach.messages import drgn_messages
from pageproof.errors import PageproofError


def attach_core(path: Path) -> tuple[drgn.Program, tuple[str, ...]]:
    """Attach to a dump, which :mod:`pageproof.attach.dumpfile` has checked before.

    Returns:
        The program, and notes for the user.

    Raises:
        PageproofError: drgn cannot read the dump, or it is not a kernel's.
    """
    where = f"-c {path}"
    notes: tuple[str, ...] = ()
    prog = drgn.Program()
    try:
        with drgn_messages():  # drgn warns about flattened dumps, which are fine
            try:
                prog.set_core_dump(str(path))
            except Exception as error:
                if "KDUMP_ATTR_ARCH_NAME" not in str(error):
                    raise
                # QEMU's kdump formats leave most of utsname empty, so libkdumpfile cannot find
                # out the machine.
                prog = drgn.Program(drgn.Platform(drgn.Architecture[arch.ASSUMED.platform]))
                prog.set_core_dump(str(path))
                notes = (
                    "the dump's header does not name the machine (QEMU wrote it); "
                    f"{arch.ASSUMED.name} is assumed",
                )
    except Exception as error:  # drgn raises bare Exception for errors without a class of their own
        message = str(error)
        if "vmcoreinfo" in message.lower():
            raise PageproofError(
                "the dump has no vmcoreinfo", where, f"for the next one: {VMCOREINFO_REMEDY}"
            ) from None
        raise PageproofError(
            f"can't read the dump: {message}", where, "copy it again; the original may be whole"
        ) from None
    if not prog.flags & drgn.ProgramFlags.IS_LINUX_KERNEL:
        raise PageproofError(
            "the dump has no vmcoreinfo: it is the core of a process, or of a guest without "
            "vmcoreinfo",
            where,
            f"give a kernel's vmcore; for a guest {VMCOREINFO_REMEDY}",
        )
    return prog, notes
