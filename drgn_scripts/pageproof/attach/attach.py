# SPDX-License-Identifier: GPL-2.0-or-later
"""Attaching to a target; each way of failing has its own message and remedy."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import drgn

from pageproof.attach import qmp
from pageproof.attach.debuginfo import load_debug_info
from pageproof.attach.dumpfile import DumpFile, inspect_dump
from pageproof.attach.faults import faults_as_errors
from pageproof.attach.forks import check_fork
from pageproof.attach.interrupts import interrupts_kept
from pageproof.attach.kdump import REASSEMBLE
from pageproof.attach.reader import Reader
from pageproof.errors import PageproofError
from pageproof.model import TargetFacts, TargetKind

#: The smallest piece of advice for a guest that can't be recognised from outside.
_GUEST_REMEDY = (
    'run QEMU with "-device vmcoreinfo" and load qemu_fw_cfg in the guest (modprobe qemu_fw_cfg), '
    "then try again"
)

_SPLIT_NOTE = f"the dump is one part of several, and what the others hold is missing; {REASSEMBLE}"

#: Plugins that are commands of drgn's shell: its own (its entry_points.txt), and pageproof's.
#: Nothing here runs one, and they are a tenth of a short command's time. Others stay.
_SHELL_PLUGINS = "builtin_commands,crash_commands,pageproof"


@dataclass(frozen=True)
class Wanted:
    """What the user named. With neither socket nor core it is the live kernel."""

    qemu: str | None = None
    core: Path | None = None
    symbols: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Target:
    """An attached target: a program with debug info, a reader, and what is known about both."""

    prog: drgn.Program
    reader: Reader
    facts: TargetFacts
    attach_seconds: float
    debug_info_seconds: float


def open_target(
    wanted: Wanted,
    modules: Sequence[str],
    progress: Callable[[str], None] = lambda message: None,
) -> Target:
    """Attach and load debug info.

    Args:
        wanted: what the user named.
        modules: kernel modules whose debug info is wanted too, if they are loaded.
        progress: told what is being done.

    Raises:
        PageproofError: it can't be done.
    """
    check_fork()
    start = time.monotonic()
    leave_out_shell_plugins()
    notes: tuple[str, ...] = ()
    dump: DumpFile | None = None
    if wanted.qemu is not None:
        kind, where = TargetKind.QEMU, wanted.qemu
        progress(f"connecting to {where}")
        prog, notes = _attach_qemu(wanted.qemu)
        form = "qmp"
    elif wanted.core is not None:
        kind, where = TargetKind.CORE, str(wanted.core)
        progress(f"opening {where}")
        dump = inspect_dump(wanted.core)
        prog, notes = _attach_core(wanted.core)
        if dump.split:
            notes += (_SPLIT_NOTE,)
        form = dump.format
    else:
        kind, where, form = TargetKind.LIVE, "/proc/kcore", "kcore"
        progress("opening /proc/kcore")
        prog = _attach_live()
    _check_platform(prog, where)
    release = release_of(prog)
    attached = time.monotonic()
    progress(f"loading debug info of Linux {release}")
    # What drgn would say is said in our own words.
    with _drgn_messages(), faults_as_errors(where):
        notes += load_debug_info(prog, release, wanted.symbols, modules)
    facts = TargetFacts(
        kind=kind,
        where=where,
        format=form,
        release=release,
        live=kind is not TargetKind.CORE,
        # kcore gives zeros for offline, poisoned and non-RAM pages.
        zero_fills=dump.zero_fills if dump else kind is TargetKind.LIVE,
        notes=notes,
    )
    reader = Reader(prog, dump.elf_map if dump else None)
    return Target(prog, reader, facts, attached - start, time.monotonic() - attached)


def leave_out_shell_plugins() -> None:
    """Have drgn load no commands of its shell; it reads this variable with the first program."""
    given = os.environ.get("DRGN_DISABLE_PLUGINS")
    os.environ["DRGN_DISABLE_PLUGINS"] = f"{given},{_SHELL_PLUGINS}" if given else _SHELL_PLUGINS


def given_target(prog: drgn.Program) -> Target:
    """A target from a program that drgn itself has attached (``drgn SCRIPT``).

    Raises:
        PageproofError: it is no Linux kernel, or it has no debug info.
    """
    if not prog.flags & drgn.ProgramFlags.IS_LINUX_KERNEL:
        raise PageproofError(
            "drgn is not attached to a Linux kernel it recognises", "", _GUEST_REMEDY
        )
    core = prog.core_dump_path
    local = bool(prog.flags & drgn.ProgramFlags.IS_LOCAL)
    live = bool(prog.flags & drgn.ProgramFlags.IS_LIVE)
    kind = TargetKind.LIVE if local else TargetKind.QEMU if live else TargetKind.CORE
    _check_platform(prog, "drgn")
    release = release_of(prog)
    dump = inspect_dump(Path(core)) if kind is TargetKind.CORE and core else None
    try:
        prog.type("struct page")
    except LookupError:
        raise PageproofError(
            f"no debug info for Linux {release}", "", "give its vmlinux with drgn's -s"
        ) from None
    form = dump.format if dump else "kcore" if local else "qmp" if live else "given"
    facts = TargetFacts(
        kind=kind,
        where=core or ("/proc/kcore" if local else "QMP"),
        format=form,
        release=release,
        live=live,
        zero_fills=dump.zero_fills if dump else kind is not TargetKind.QEMU,
    )
    return Target(prog, Reader(prog, dump.elf_map if dump else None), facts, 0.0, 0.0)


def release_of(prog: drgn.Program) -> str:
    """``uname -r`` of the kernel under test, from its VMCOREINFO."""
    release: bytes = prog["UTS_RELEASE"].string_()
    return release.decode("utf-8", "backslashreplace")


def _check_platform(prog: drgn.Program, where: str) -> None:
    platform = prog.platform
    if platform is None or platform.arch is not drgn.Architecture.X86_64:
        name = platform.arch.name if platform else "an unknown machine"
        raise PageproofError(f"the target is {name}", where, "only x86_64 is supported")


def _attach_live() -> drgn.Program:
    prog = drgn.Program()
    try:
        with interrupts_kept():
            prog.set_kernel()
    except PermissionError:
        if os.geteuid() != 0:
            raise PageproofError(
                "no permission to read the live kernel",
                "/proc/kcore",
                "run as root (sudo), or point at a guest with --qemu or a dump with -c",
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


def _attach_qemu(address: str) -> tuple[drgn.Program, tuple[str, ...]]:
    where = f"--qemu {address}"
    prog = drgn.Program()
    if not hasattr(prog, "set_qemu_qmp") or not drgn._with_json_c:
        raise PageproofError(
            "this drgn can't talk to QEMU",
            where,
            "it was built without json-c: use drgn 0.3 or newer from PyPI (pip install drgn)",
        )
    connection = qmp.connect(address)
    family = connection.family
    try:
        with (
            _drgn_messages() as messages,
            qmp.hung_up_after(connection, qmp.ATTACH_SECONDS) as hung_up,
        ):
            # drgn closes the descriptor, also when it fails.
            prog.set_qemu_qmp(connection.detach())
    except Exception as error:  # drgn raises bare Exception for errors without a class of their own
        if hung_up():
            raise PageproofError(
                f"QEMU did not finish its answers within {qmp.ATTACH_SECONDS:.0f} s",
                where,
                "is its host busy?",
            ) from None
        if isinstance(error, BlockingIOError):
            raise PageproofError(
                f"QEMU stopped answering for {qmp.ANSWER_SECONDS} s", where, "is its host busy?"
            ) from None
        raise PageproofError(f"QEMU refused: {error}", where) from None
    if not prog.flags & drgn.ProgramFlags.IS_LINUX_KERNEL:
        raise PageproofError(
            "the guest shows no vmcoreinfo, so that it can't be recognised as Linux",
            where,
            _GUEST_REMEDY
            if family.name == "AF_UNIX"
            else "drgn gets vmcoreinfo through a Unix socket only: use -qmp unix:PATH",
        )
    slow = [message for message in messages if "process memory reading disabled" in message]
    notes = tuple(
        f"memory comes through QEMU's monitor, which is slow: {message.partition(': ')[2]}; run as "
        "the user of QEMU with ptrace permission (root, or kernel.yama.ptrace_scope=0)"
        for message in slow
    )
    return prog, notes


@contextmanager
def _drgn_messages() -> Iterator[list[str]]:
    """Catch what drgn logs: it would stand in the way, and only there is why it reads slowly."""
    messages: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    logger = logging.getLogger("drgn")
    handler, level, propagate = Keep(), logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    try:
        with interrupts_kept():
            yield messages
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


def _attach_core(path: Path) -> tuple[drgn.Program, tuple[str, ...]]:
    where = f"-c {path}"
    notes: tuple[str, ...] = ()
    prog = drgn.Program()
    try:
        with _drgn_messages():  # among them a warning about flattened dumps, which are fine
            try:
                prog.set_core_dump(str(path))
            except Exception as error:
                if "KDUMP_ATTR_ARCH_NAME" not in str(error):
                    raise
                # QEMU's kdump formats leave most of utsname empty, so that
                # libkdumpfile does not know the machine. It is told, then.
                prog = drgn.Program(drgn.Platform(drgn.Architecture.X86_64))
                prog.set_core_dump(str(path))
                notes = (
                    "the dump's header does not name the machine (QEMU wrote it); taken as x86_64",
                )
    except Exception as error:  # drgn raises bare Exception for errors without a class of their own
        message = str(error)
        if "vmcoreinfo" in message.lower():
            raise PageproofError(
                "the dump has no vmcoreinfo", where, f"for the next one: {_GUEST_REMEDY}"
            ) from None
        raise PageproofError(
            f"can't read the dump: {message}", where, "copy it again; the original may be whole"
        ) from None
    if not prog.flags & drgn.ProgramFlags.IS_LINUX_KERNEL:
        raise PageproofError(
            "the dump has no vmcoreinfo: it is a process's core, or a guest's without it",
            where,
            f"give a kernel's vmcore; for a guest {_GUEST_REMEDY}",
        )
    return prog, notes
