# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's command line, and the check whether KVM works here."""

import json
import os
import platform
import shutil
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
SOCKET_PATH_BYTES = 107  # unix(7): sun_path has 108, one of them for the end


@dataclass(frozen=True)
class Options:
    """Options of a guest. The defaults are those of `pageproof lab up`."""

    paging: int | None = None  # page-table levels; None: the most that kernel and CPU support
    kaslr: bool = True
    pti: bool | None = None  # None: the kernel decides
    memory_mib: int = 1024
    cpus: int = 2
    nodes: int = 1  # NUMA nodes; memory and CPUs are divided among them
    gdb: bool = False
    append: str = ""
    deadline_seconds: float = 3600
    crash_mib: int = 128  # memory of the crash kernel
    boot_seconds: float = 300  # emulated, systemd takes a minute, and more on a busy host
    oops_panics: bool = True
    debian: bool = False  # a plain Debian with systemd; pageproof is not installed in it
    emulate: bool = False  # even where KVM works: its CPUs have four debug registers
    memory_file: Path | None = None  # the guest's memory is this file, which is created
    extra: tuple[str, ...] = ()  # more words for QEMU, such as another disk or a network
    firmware: Path | None = None  # instead of QEMU's own BIOS, for example OVMF's UEFI
    vmcoreinfo: bool = True  # the device through which the guest names its VMCOREINFO


#: For the debug kernel: each check has its own memory, and calls take several times as long.
DEBUG = Options(memory_mib=2048, crash_mib=512, boot_seconds=1800, deadline_seconds=4 * 3600)


def accelerator(vmlinuz: Path) -> str:
    """Return `kvm` if a kernel boots with it, else `tcg`.

    The check boots a kernel, because with some hypervisors /dev/kvm exists but the guest ends in a
    triple fault. The result is cached until the host is booted again.
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
        say("checking whether KVM boots a kernel here")
        found = "kvm" if _kvm_boots(vmlinuz) else "tcg"
        part = answer.with_suffix(".part")
        part.write_text(json.dumps({"key": key, "accelerator": found}))
        part.replace(answer)
    return found


def _kvm_boots(vmlinuz: Path) -> bool:
    """Boot a program that powers off: QEMU reports guest-shutdown only if the kernel ran."""
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
    """Return the host CPU's flags in /proc/cpuinfo."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            return set(line.split(":", 1)[1].split())
    return set()


def choose(vmlinuz: Path, options: Options) -> tuple[str, str]:
    """Return the accelerator and the CPU model for `options`.

    Raises:
        LabError: QEMU is not installed.
    """
    if shutil.which(QEMU) is None:
        raise LabError(f"{QEMU}: not installed; `make setup` installs what the lab needs")
    accel = "tcg" if options.emulate else accelerator(vmlinuz)
    if accel == "kvm" and options.paging == 5 and "la57" not in cpu_flags():
        accel = "tcg"
    # Emulation runs "rep movsb" and "rep stosb" byte by byte. With ERMS and FSRM the kernel clears
    # and copies pages by them, ten times slower than by its other methods.
    model = "host" if accel == "kvm" else "max,erms=off,fsrm=off"
    if options.paging == 4:
        model += ",la57=off"
    return accel, model


def command_line(options: Options) -> str:
    """Return the guest kernel's command line."""
    words = ["console=ttyS0", f"crashkernel={options.crash_mib}M", "panic=-1"]
    if options.oops_panics:
        words.append("oops=panic")
    if not options.kaslr:
        words.append("nokaslr")
    if options.pti is not None:
        words.append("pti=on" if options.pti else "pti=off")
    return " ".join([*words, options.append]).strip()


@dataclass(frozen=True)
class Sockets:
    """Sockets and logs of a running guest, all in its directory."""

    directory: Path

    @property
    def qmp(self) -> Path:
        """QMP for drgn or the user. It serves one client at a time."""
        return self.directory / "qmp.sock"

    @property
    def control(self) -> Path:
        """QMP for the lab itself."""
        return self.directory / "control.sock"

    @property
    def spare(self) -> Path:
        """QMP for a client that stays connected."""
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

    def check(self) -> None:
        """Refuse a directory whose path is too long for the sockets in it (unix(7), sun_path).

        Raises:
            LabError: it is.
        """
        longest = max(len(os.fsencode(path)) for path in (self.control, self.spare, self.agent))
        if longest > SOCKET_PATH_BYTES:
            raise LabError(
                f"{self.directory}: the path of a socket in it has {longest} bytes, and at most "
                f"{SOCKET_PATH_BYTES} are possible; set XDG_RUNTIME_DIR to a shorter path"
            )


def arguments(
    options: Options,
    sockets: Sockets,
    *,
    accel: str,
    model: str,
    kernel: tuple[Path, Path, str] | None,
    disks: list[tuple[Path, bool]],
) -> list[str]:
    """Return QEMU's command.

    Args:
        options: options of the guest.
        sockets: where QEMU makes its sockets and logs.
        accel: `kvm` or `tcg`.
        model: CPU model.
        kernel: kernel image, initramfs and command line; None: the first disk boots by itself.
        disks: images, and whether to keep what the guest writes to them.
    """
    words = [
        QEMU, "-name", "pageproof-lab", "-nodefaults", "-no-user-config", "-display", "none",
        "-no-reboot",
        "-machine", "q35", "-accel", "tcg,thread=multi" if accel == "tcg" else "kvm", "-cpu", model,
        "-m", f"{options.memory_mib}M", "-smp", str(options.cpus),
        "-serial", f"file:{sockets.serial}",
        "-qmp", f"unix:{sockets.qmp},server=on,wait=off",
        "-qmp", f"unix:{sockets.control},server=on,wait=off",
        "-qmp", f"unix:{sockets.spare},server=on,wait=off",
        "-chardev", f"socket,path={sockets.agent},server=on,wait=off,id=agent",
        "-device", "virtio-serial",
        "-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0",
    ]  # fmt: skip
    if kernel is not None:
        image, initrd, append = kernel
        words += ["-kernel", str(image), "-initrd", str(initrd), "-append", append]
    words += options.extra
    if options.firmware is not None:
        words += ["-bios", str(options.firmware)]
    if options.vmcoreinfo:
        words += ["-device", "vmcoreinfo"]
    for number, (image, keep) in enumerate(disks):
        words += [
            "-drive",
            f"file={image},format=raw,if=none,id=disk{number},snapshot={'off' if keep else 'on'}",
        ]
        words += ["-device", f"virtio-blk-pci,drive=disk{number}"]
    if options.nodes > 1:
        words += _numa(options)
    if options.memory_file is not None:
        size, path = f"{options.memory_mib}M", options.memory_file
        words += ["-object", f"memory-backend-file,id=ram,size={size},mem-path={path},share=on"]
        words += ["-machine", "memory-backend=ram"]
    if options.gdb:
        words += ["-gdb", f"unix:{sockets.gdb},server=on,wait=off"]
    return words


def _numa(options: Options) -> list[str]:
    """Divide memory equally (node 0 gets the remainder) and deal out the CPUs in turn."""
    words = []
    size = options.memory_mib // options.nodes
    for node in range(options.nodes):
        mib = size + (options.memory_mib % options.nodes if node == 0 else 0)
        cpus = "".join(f",cpus={cpu}" for cpu in range(node, options.cpus, options.nodes))
        words += ["-object", f"memory-backend-ram,id=node{node},size={mib}M"]
        words += ["-numa", f"node,nodeid={node},memdev=node{node}{cpus}"]
    return words


class Running:
    """A QEMU that runs under a keeper."""

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
                    env={**os.environ, "TMPDIR": str(scratch)},  # snapshots of the disks
                )
            except OSError as error:
                raise LabError(
                    f"cannot start {sys.executable} for {QEMU}: {error.strerror}"
                ) from error

    def let_go(self) -> None:
        """Let QEMU outlive this process, until its deadline or `lab down`."""
        assert self.keeper.stdin is not None
        self.keeper.stdin.write(b"d")
        self.keeper.stdin.close()

    def end(self) -> None:
        """Kill QEMU and wait until it has ended."""
        self.keeper.terminate()
        self.keeper.wait()
        if self.keeper.stdin is not None:
            self.keeper.stdin.close()
