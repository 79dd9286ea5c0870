# SPDX-License-Identifier: GPL-2.0-or-later
"""Boot a kernel and wait until its guest agent answers."""

import contextlib
import os
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from pageproof_lab import LabError
from pageproof_lab.guest import qemu
from pageproof_lab.guest.guest import DISKS, STATE, Facts, Guest, attach, remove, start_time
from pageproof_lab.images import disks
from pageproof_lab.images.build import Built
from pageproof_lab.images.kernels import Kernel
from pageproof_lab.images.roots import debian_root, guest_root, image_of
from pageproof_lab.paths import UNUSED_SECONDS, cache_dir, cache_lock, lab_dir, run_dir
from pageproof_lab.proc import say

SWEEP_SECONDS = 3600
BOOTING = "booting"  # file with PID and start time of the process that boots this lab
# Emulated guests with two CPUs sometimes fail to boot in QEMU 7.2: one 6.12 had a double fault
# after cmpxchg16b, and one 7.2 hung for five minutes after "hpet0: 3 comparators". A kernel that
# cannot boot fails every time.
TRIES = 3
TRIES_IF_HUNG = 2


class Died(LabError):
    """QEMU ended while the guest was booting."""


class Hung(LabError):
    """The guest did not answer in time."""


def boot(
    kernel: Kernel,
    options: qemu.Options | None = None,
    *,
    name: str | None = None,
    built: Built | None = None,
) -> Guest:
    """Boot a kernel and wait until its guest agent answers.

    Args:
        kernel: the kernel.
        options: options of the guest.
        name: name of the lab, for `attach` (default: a new one).
        built: the module for this kernel, if the guest needs it. A plain Debian does not get it.

    Returns:
        The guest. It ends with this process, unless `Guest.detach` is called.

    Raises:
        LabError: the guest did not come up. Its QEMU has ended.
    """
    options = options or qemu.Options()
    for number in range(1, TRIES + 1):
        try:
            return _boot_once(kernel, options, name, built)
        except (Died, Hung) as error:
            if number == (TRIES if isinstance(error, Died) else TRIES_IF_HUNG):
                raise
            say(f"{error}\nlab: booting it again")
    raise AssertionError


def _boot_once(
    kernel: Kernel, options: qemu.Options, name: str | None, built: Built | None
) -> Guest:
    accel, model = qemu.choose(kernel.vmlinuz, options)
    append = qemu.command_line(options)
    directory = new_directory(name)
    facts = Facts(
        kernel=kernel.name,
        release=kernel.release,
        accelerator=accel,
        vmlinux=str(kernel.dwarf) if kernel.dwarf else "",
        module=str(built.module) if built else None,
        append=append,
    )
    guest = Guest(directory, facts)
    try:
        guest.sockets.check()
        words = qemu.arguments(
            options,
            guest.sockets,
            accel=accel,
            model=model,
            kernel=(
                kernel.vmlinuz,
                (
                    disks.plain_boot_image(kernel, guest.disks)
                    if options.debian
                    else disks.boot_image(kernel, built, guest.disks)
                ),
                append,
            ),
            disks=[
                (image_of(debian_root() if options.debian else guest_root()), False),
                (disks.kernel_disk(kernel), False),
                (disks.dump_disk(guest.disks, 2 * options.memory_mib + 256), True),
            ],
        )
        wanted = "emulated" if options.emulate else "emulated: KVM does not work here"
        how = "KVM" if accel == "kvm" else wanted
        say(f"booting {kernel.release} ({how})")
        start = time.monotonic()
        guest.running = qemu.Running(
            words, guest.sockets, options.deadline_seconds, scratch=guest.disks
        )
        wait_boot(guest, start + options.boot_seconds)
        pid = guest.running.keeper.pid
        guest.facts = replace(
            facts,
            keeper_pid=pid,
            keeper_start=start_time(pid) or "",
            boot_seconds=round(time.monotonic() - start, 2),
        )
        guest.facts.write(directory)
        return guest
    except BaseException:
        guest.close()
        raise


def wait_boot(guest: Guest, deadline: float) -> None:
    """Wait until a new guest's agent answers.

    Args:
        guest: the guest.
        deadline: as time.monotonic() counts.

    Raises:
        Died: its QEMU ended.
        Hung: it did not answer in time.
    """
    while time.monotonic() < deadline:
        if not guest.alive():
            raise Died(f"the guest did not come up{guest.log_tail()}")
        if guest.sockets.agent.exists() and guest.answers(deadline):
            return
        time.sleep(0.02)
    raise Hung(f"the guest did not come up in time{guest.log_tail()}")


def new_directory(name: str | None) -> Path:
    """Create the directory of a guest and that of its disks.

    Raises:
        LabError: a guest of this name is up or being booted.
    """
    scratch = cache_dir() / "disks"
    scratch.mkdir(exist_ok=True)
    _sweep(scratch)
    if name is None:
        directory = Path(tempfile.mkdtemp(prefix="guest-", dir=run_dir()))
    else:
        directory = lab_dir(name)
        with cache_lock("new-lab"):
            _check_free(name, directory)
            remove(directory)
            directory.mkdir()
            (directory / BOOTING).write_text(f"{os.getpid()} {start_time(os.getpid())}")
    (directory / DISKS).symlink_to(tempfile.mkdtemp(dir=scratch))
    return directory


def _check_free(name: str, directory: Path) -> None:
    """Check that no guest of this name is up or being booted.

    Raises:
        LabError: one is.
    """
    end = f"end it with: pageproof lab down --name {name}"
    if (directory / STATE).exists():
        try:
            alive = attach(name).alive()
        except LabError as error:  # damaged, so no command can use this lab
            say(f"{error}; booting it again")
            return
        if alive:
            raise LabError(f"lab {name!r} is up already; {end}")
        return
    with contextlib.suppress(OSError, ValueError):
        pid, start = (directory / BOOTING).read_text().split()
        if int(pid) != os.getpid() and start_time(int(pid)) == start:
            raise LabError(f"lab {name!r} is being booted by process {pid}")


def _sweep(scratch: Path) -> None:
    """Remove files of guests that were killed together with their owner."""
    for disks_of_one in scratch.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if time.time() - disks_of_one.stat().st_mtime > UNUSED_SECONDS:
                shutil.rmtree(disks_of_one, ignore_errors=True)
    for directory in run_dir().iterdir():
        try:
            alive = attach(directory.name).alive()
        except LabError:  # it never came up
            alive = False
        with contextlib.suppress(FileNotFoundError):
            if not alive and time.time() - directory.stat().st_mtime > SWEEP_SECONDS:
                remove(directory)
