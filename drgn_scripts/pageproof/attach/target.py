# SPDX-License-Identifier: GPL-2.0-or-later
"""A target: a program with debug info, a reader of its memory, and facts about both."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import drgn

from pageproof import arch
from pageproof.attach import core, guest, live
from pageproof.attach.assembled import fault_if_omitted
from pageproof.attach.debuginfo import DebugInfo, load_debug_info
from pageproof.attach.dumpfile import DumpFile, inspect_dump
from pageproof.attach.faults import faults_as_errors
from pageproof.attach.forks import check_fork
from pageproof.attach.kernelchoice import KernelChoice
from pageproof.attach.messages import drgn_messages
from pageproof.attach.reader import Reader
from pageproof.attach.thread import in_a_thread
from pageproof.errors import PageproofError
from pageproof.find.kernel.reader import READER
from pageproof.model import TargetFacts, TargetKind
from pageproof.space.ramranges import RamRange

if TYPE_CHECKING:
    from pageproof.attach.guestmemory import GuestMemory
    from pageproof.attach.monitor import Monitor
    from pageproof.attach.monitormemory import MonitorMemory

#: Plugins that only add commands to drgn's shell: drgn's own (its entry_points.txt) and
#: pageproof's. Nothing here runs one, and loading them takes a tenth of a short command's time.
#: Other plugins are still loaded.
_SHELL_PLUGINS = "builtin_commands,crash_commands,pageproof"


@dataclass(frozen=True)
class Wanted:
    """The target that the user named. Without a socket and a core it is the live kernel.

    Attributes:
        ram: where the core, a raw image, has RAM.
        other_parts: the core is one part of a split dump, and these are the others.
    """

    qemu: str | None = None
    core: Path | None = None
    symbols: tuple[Path, ...] = ()
    debug_info: DebugInfo = DebugInfo.AUTO
    which_kernel: KernelChoice | None = None
    ram: tuple[RamRange, ...] = ()
    other_parts: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Target:
    """An attached target.

    Attributes:
        monitor: of the guest's QEMU; None for other targets, and if it cannot be asked.
    """

    prog: drgn.Program
    reader: Reader
    facts: TargetFacts
    attach_seconds: float
    debug_info_seconds: float
    monitor: Monitor | None = None


def open_target(
    wanted: Wanted,
    modules: Sequence[str],
    progress: Callable[[str], None] = lambda message: None,
    meanwhile: Callable[[], None] = lambda: None,
) -> Target:
    """Attach to a target and load its debug info.

    Args:
        wanted: the target that the user named.
        modules: kernel modules whose debug info is loaded too, if the target has loaded them.
        progress: called with one line before each step.
        meanwhile: called in a thread while drgn loads debug info; must not raise.

    Raises:
        PageproofError: the target cannot be opened, or its debug info is missing.
    """
    check_fork()
    start = time.monotonic()
    leave_out_shell_plugins()
    notes: tuple[str, ...] = ()
    dump: DumpFile | None = None
    memory: GuestMemory | None = None
    monitor: Monitor | None = None
    slow: MonitorMemory | None = None
    checked: AbstractContextManager[None] = nullcontext()
    if wanted.qemu is not None:
        kind, where = TargetKind.QEMU, wanted.qemu
        progress(f"connecting to {where}")
        prog, notes, memory, monitor, slow = guest.attach_guest(
            wanted.qemu, wanted.which_kernel, progress
        )
        form = "qmp"
    elif wanted.core is not None:
        kind, where = TargetKind.CORE, ", ".join(map(str, (wanted.core, *wanted.other_parts)))
        progress(f"opening {where}")
        dump = inspect_dump(wanted.core, wanted.ram, wanted.other_parts)
        if dump.image is not None:
            from pageproof.attach.searched import attach_image, image_checked

            prog, notes = attach_image(dump.image, wanted.core, wanted.which_kernel, progress)
            checked = image_checked(prog, dump.image, where)
            memory = dump.image.guest
        else:
            prog, notes = core.attach_core(wanted.core, dump, wanted.which_kernel, progress)
        notes += dump.notes
        form = dump.format
    else:
        kind, where, form = TargetKind.LIVE, "/proc/kcore", "kcore"
        progress("opening /proc/kcore")
        prog = live.attach_live()
    architecture = arch.of_program(prog, where)
    release = release_of(prog)
    attached = time.monotonic()
    progress(f"loading debug info of Linux {release}")
    # load_debug_info() reports what drgn would log.
    with drgn_messages(), faults_as_errors(where), in_a_thread(meanwhile), checked:
        notes += load_debug_info(prog, release, wanted.symbols, modules, wanted.debug_info)
    facts = TargetFacts(
        kind=kind,
        where=where,
        format=form,
        release=release,
        live=kind is not TargetKind.CORE or memory is not None,
        # /proc/kcore gives zeros for offline, poisoned and non-RAM pages.
        zero_fills=kind is TargetKind.LIVE,
        arch=architecture.name,
        notes=notes,
    )
    reader = _reader(prog, dump, memory, slow)
    return Target(prog, reader, facts, attached - start, time.monotonic() - attached, monitor)


def _reader(
    prog: drgn.Program,
    dump: DumpFile | None,
    memory: GuestMemory | None = None,
    slow: MonitorMemory | None = None,
) -> Reader:
    """Make the reader of a target, and leave it for the rooms that only have the program."""
    elf_map, kdump = (dump.elf_map, dump.kdump) if dump else (None, ())
    reader = Reader(prog, elf_map, kdump, memory, slow)
    prog.cache[READER] = reader
    return reader


def leave_out_shell_plugins() -> None:
    """Keep drgn from loading plugins for its shell.

    drgn reads this environment variable when the first program is created.
    """
    given = os.environ.get("DRGN_DISABLE_PLUGINS")
    os.environ["DRGN_DISABLE_PLUGINS"] = f"{given},{_SHELL_PLUGINS}" if given else _SHELL_PLUGINS


def given_target(prog: drgn.Program) -> Target:
    """Return the target of a program that drgn itself has attached (``drgn SCRIPT``).

    Raises:
        PageproofError: the program is not a Linux kernel, or it has no debug info.
    """
    if not prog.flags & drgn.ProgramFlags.IS_LINUX_KERNEL:
        raise PageproofError(
            "drgn is not attached to a Linux kernel it recognises", "", guest.VMCOREINFO_REMEDY
        )
    path = prog.core_dump_path
    local = bool(prog.flags & drgn.ProgramFlags.IS_LOCAL)
    running = bool(prog.flags & drgn.ProgramFlags.IS_LIVE)
    kind = TargetKind.LIVE if local else TargetKind.QEMU if running else TargetKind.CORE
    architecture = arch.of_program(prog, "drgn")
    release = release_of(prog)
    dump = inspect_dump(Path(path)) if kind is TargetKind.CORE and path else None
    try:
        prog.type("struct page")
    except LookupError:
        raise PageproofError(
            f"no debug info for Linux {release}", "", "give its vmlinux with drgn's -s"
        ) from None
    form = dump.format if dump else "kcore" if local else "qmp" if running else "given"
    facts = TargetFacts(
        kind=kind,
        where=path or ("/proc/kcore" if local else "QMP" if running else "drgn"),
        format=form,
        release=release,
        live=running,
        zero_fills=_fills_here(prog, dump) if dump else kind is not TargetKind.QEMU,
        arch=architecture.name,
        notes=dump.notes if dump else (),
    )
    return Target(prog, _reader(prog, dump), facts, 0.0, 0.0)


def _fills_here(prog: drgn.Program, dump: DumpFile) -> bool:
    """Let drgn, which has opened a dump itself, not read what it omits as zeros.

    Returns:
        Whether it still may: libkdumpfile, which reads a flattened ELF core, translates addresses
        itself.
    """
    if dump.elf_map is None:
        return False
    fault_if_omitted(prog, dump.elf_map)
    return dump.info is not None


def release_of(prog: drgn.Program) -> str:
    """Return ``uname -r`` of the kernel under test, from its VMCOREINFO."""
    release: bytes = prog["UTS_RELEASE"].string_()
    return release.decode("utf-8", "backslashreplace")
