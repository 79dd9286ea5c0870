# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's command line, and whether KVM is of use here."""

import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pageproof_lab import LabError
from pageproof_lab.guest import keeper
from pageproof_lab.images.initramfs import pack
from pageproof_lab.images.roots import guest_root
from pageproof_lab.paths import cache_dir, cache_lock
from pageproof_lab.proc import run, say

QEMU = "qemu-system-x86_64"
KVM = Path("/dev/kvm")


@dataclass(frozen=True)
class Options:
    """How a guest is to be; the defaults are those of `pageproof lab up`."""

    paging: int | None = None  # levels; None: what the kernel and the emulated CPU agree on
    kaslr: bool = True
    pti: bool | None = None  # None: as the kernel decides
    memory_mib: int = 1024
    cpus: int = 2
    nodes: int = 1  # NUMA nodes, which share memory and CPUs
    gdb: bool = False
    append: str = ""
    deadline_seconds: float = 3600
    boot_seconds: float = 300  # systemd takes a minute under emulation, on a busy host more
    oops_panics: bool = True
    debian: bool = False  # a plain Debian with systemd, without anything of pageproof's


def accelerator(vmlinuz: Path) -> str:
    """`kvm` where a probe shows that it boots a kernel, else `tcg`; asked once a boot of the host.

    That /dev/kvm exists proves nothing: some backends end in a triple fault.
    """
    if not KVM.exists():
        return "tcg"
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    answer = cache_dir() / "kvm-probe.json"
    key = f"{boot_id} {platform.release()}"
    with cache_lock("kvm-probe"):
        try:
            known = json.loads(answer.read_text())
            if known["key"] == key:
                return str(known["accelerator"])
        except (FileNotFoundError, ValueError, KeyError):
            pass
        say("trying whether KVM boots a kernel here")
        found = "kvm" if _kvm_boots(vmlinuz) else "tcg"
        part = answer.with_suffix(".part")
        part.write_text(json.dumps({"key": key, "accelerator": found}))
        part.replace(answer)
    return found


def _kvm_boots(vmlinuz: Path) -> bool:
    """Boot to a program that powers off: only a kernel that ran gives the reason guest-shutdown."""
    with tempfile.TemporaryDirectory(prefix="pageproof-kvm-") as name:
        image, init = Path(name) / "probe.img", Path(name) / "init"
        init.write_text("#!/bin/busybox sh\n/bin/busybox poweroff -f\n")
        pack(image, {"bin/busybox": guest_root() / "usr/bin/busybox", "init": init})
        command = [
            QEMU,
            "-nodefaults",
            "-display",
            "none",
            "-accel",
            "kvm",
            "-cpu",
            "host",
            "-m",
            "256M",
            "-no-reboot",
            "-kernel",
            str(vmlinuz),
            "-initrd",
            str(image),
            "-append",
            "panic=-1 quiet",
            "-qmp",
            "stdio",
        ]
        try:
            out = run(command, stdin='{"execute":"qmp_capabilities"}\n', timeout_seconds=20)
        except LabError:
            return False
        return '"guest-shutdown"' in out


def cpu_flags() -> set[str]:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            return set(line.split(":", 1)[1].split())
    return set()


def choose(vmlinuz: Path, options: Options) -> tuple[str, str]:
    """The accelerator and CPU model for `options`."""
    accel = accelerator(vmlinuz)
    if accel == "kvm" and options.paging == 5 and "la57" not in cpu_flags():
        accel = "tcg"
    # Emulated, "rep movsb" and "rep stosb" go byte by byte: with ERMS and FSRM, which say that they
    # are quick, the kernel clears and copies pages ten times as slowly as with its other ways.
    model = "host" if accel == "kvm" else "max,erms=off,fsrm=off"
    if options.paging == 4:
        model += ",la57=off"
    return accel, model


def command_line(options: Options) -> str:
    """The guest kernel's command line."""
    words = ["console=ttyS0", "crashkernel=128M", "panic=-1"]
    if options.oops_panics:
        words.append("oops=panic")
    if not options.kaslr:
        words.append("nokaslr")
    if options.pti is not None:
        words.append("pti=on" if options.pti else "pti=off")
    return " ".join([*words, options.append]).strip()


@dataclass(frozen=True)
class Sockets:
    """What a running guest offers, all in its directory."""

    directory: Path

    @property
    def qmp(self) -> Path:
        """For drgn, or whoever wants it; it serves one client at a time."""
        return self.directory / "qmp.sock"

    @property
    def control(self) -> Path:
        """The lab's own monitor."""
        return self.directory / "control.sock"

    @property
    def spare(self) -> Path:
        """A third monitor, for a client that stays."""
        return self.directory / "spare.sock"

    @property
    def agent(self) -> Path:
        return self.directory / "agent.sock"

    @property
    def gdb(self) -> Path:
        return self.directory / "gdb.sock"

    @property
    def serial(self) -> Path:
        return self.directory / "serial.log"

    @property
    def errors(self) -> Path:
        return self.directory / "qemu.log"


def arguments(
    options: Options,
    sockets: Sockets,
    *,
    accel: str,
    model: str,
    vmlinuz: Path,
    initrd: Path,
    append: str,
    disks: list[tuple[Path, bool]],
) -> list[str]:
    """QEMU's arguments.

    :param disks: images and whether what the guest writes to them is to be kept.
    """
    words = [
        QEMU, "-name", "pageproof-lab", "-nodefaults", "-no-user-config", "-display", "none",
        "-no-reboot",
        "-machine", "q35", "-accel", "tcg,thread=multi" if accel == "tcg" else "kvm", "-cpu", model,
        "-m", f"{options.memory_mib}M", "-smp", str(options.cpus),
        "-kernel", str(vmlinuz), "-initrd", str(initrd), "-append", append,
        "-serial", f"file:{sockets.serial}",
        "-qmp", f"unix:{sockets.qmp},server=on,wait=off",
        "-qmp", f"unix:{sockets.control},server=on,wait=off",
        "-qmp", f"unix:{sockets.spare},server=on,wait=off",
        "-chardev", f"socket,path={sockets.agent},server=on,wait=off,id=agent",
        "-device", "virtio-serial",
        "-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0",
        "-device", "vmcoreinfo",
    ]  # fmt: skip
    for number, (image, keep) in enumerate(disks):
        words += [
            "-drive",
            f"file={image},format=raw,if=none,id=disk{number},snapshot={'off' if keep else 'on'}",
        ]
        words += ["-device", f"virtio-blk-pci,drive=disk{number}"]
    if options.nodes > 1:
        words += _numa(options)
    if options.gdb:
        words += ["-gdb", f"unix:{sockets.gdb},server=on,wait=off"]
    return words


def _numa(options: Options) -> list[str]:
    """Memory in equal parts, the rest in the first node, and CPUs in turn."""
    words = []
    size = options.memory_mib // options.nodes
    for node in range(options.nodes):
        mib = size + (options.memory_mib % options.nodes if node == 0 else 0)
        cpus = "".join(f",cpus={cpu}" for cpu in range(node, options.cpus, options.nodes))
        words += ["-object", f"memory-backend-ram,id=node{node},size={mib}M"]
        words += ["-numa", f"node,nodeid={node},memdev=node{node}{cpus}"]
    return words


class Running:
    """A QEMU on the keeper's leash."""

    def __init__(
        self, words: list[str], sockets: Sockets, deadline_seconds: float, scratch: Path
    ) -> None:
        with sockets.errors.open("wb") as errors:
            try:
                self.keeper = subprocess.Popen(
                    [sys.executable, keeper.__file__, str(deadline_seconds), *words],
                    stdin=subprocess.PIPE,
                    stdout=errors,
                    stderr=errors,
                    start_new_session=True,
                    env={**os.environ, "TMPDIR": str(scratch)},  # for the snapshots of the disks
                )
            except OSError as error:
                raise LabError(f"cannot start {QEMU}: {error}") from error

    def let_go(self) -> None:
        """From now on QEMU outlives this process; until its deadline, or `lab down`."""
        assert self.keeper.stdin is not None
        self.keeper.stdin.write(b"d")
        self.keeper.stdin.close()

    def end(self) -> None:
        self.keeper.terminate()
        self.keeper.wait()
        if self.keeper.stdin is not None:
            self.keeper.stdin.close()
