# SPDX-License-Identifier: GPL-2.0-or-later
"""Attaching to a vmcore."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import drgn

from pageproof import arch
from pageproof.attach.assembled import attach_flattened, attach_split, fault_if_omitted
from pageproof.attach.dumpfile import DumpFile
from pageproof.attach.guest import VMCOREINFO_REMEDY
from pageproof.attach.messages import drgn_messages
from pageproof.attach.physical import assumed_platform
from pageproof.errors import PageproofError

if TYPE_CHECKING:
    from pageproof.attach.kernelchoice import KernelChoice


def attach_core(
    path: Path,
    dump: DumpFile,
    which: KernelChoice | None = None,
    progress: Callable[[str], None] = lambda message: None,
) -> tuple[drgn.Program, tuple[str, ...]]:
    """Attach to a dump.

    Args:
        path: its path.
        dump: the dump, which was checked.
        which: of several kernels in an ELF dump that names none.
        progress: called with one line now and then.

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
                if dump.info is None:
                    prog.set_core_dump(str(path))
                else:
                    prog = _assembled(dump, dump.info)
            except Exception as error:
                if "KDUMP_ATTR_ARCH_NAME" not in str(error):
                    raise
                # QEMU's kdump formats leave most of utsname empty, so libkdumpfile cannot find
                # out the machine.
                prog = drgn.Program(assumed_platform())
                prog.set_core_dump(str(path))
                notes = (
                    "the dump's header does not name the machine (QEMU wrote it); "
                    f"{arch.ASSUMED.name} is assumed",
                )
            named = bool(prog.flags & drgn.ProgramFlags.IS_LINUX_KERNEL)
    except Exception as error:  # drgn raises bare Exception for errors without a class of their own
        message = str(error)
        if "vmcoreinfo" not in message.lower():
            raise PageproofError(
                f"can't read the dump: {message}", where, "copy it again; the original may be whole"
            ) from None
        named = False
    if named and which is not None:
        raise PageproofError("this dump names its kernel", where, "omit --which-kernel")
    if named:
        if dump.elf_map is not None and dump.info is None:
            fault_if_omitted(prog, dump.elf_map)
        _check_compression(prog, where)
        return prog, notes
    if dump.elf_map is None:
        raise PageproofError(
            "the dump has no vmcoreinfo", where, f"for the next one: {VMCOREINFO_REMEDY}"
        )
    from pageproof.attach.searched import attach_unnamed  # here, because it is seldom needed

    return attach_unnamed(path, dump.elf_map, which, progress)


def _assembled(dump: DumpFile, info: bytes) -> drgn.Program:
    if dump.elf_map is not None:
        return attach_flattened(info, dump.elf_map)
    return attach_split(info, dump.split)


def _check_compression(prog: drgn.Program, where: str) -> None:
    """Check that libkdumpfile was built with the dump's compression, on the kernel's top table.

    Raises:
        PageproofError: it was not.
    """
    found = re.search(
        rb"^SYMBOL\(swapper_pg_dir\)=([0-9a-f]+)$", prog["VMCOREINFO"].string_(), re.M
    )
    if found is None:
        return
    try:
        prog.read(int(found[1], 16), 8)
    except UnicodeDecodeError:  # drgn names the release in its message, whatever that is
        return
    except drgn.FaultError as error:
        # libkdumpfile's diskdump_read_page()
        if "Unsupported compression method" in str(error):
            raise PageproofError(
                f"the libkdumpfile of this drgn cannot read the dump: {error}",
                where,
                "use drgn from PyPI, which has all methods, or convert the dump: "
                "makedumpfile -c VMCORE CONVERTED",
            ) from None
