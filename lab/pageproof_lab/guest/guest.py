# SPDX-License-Identifier: GPL-2.0-or-later
"""A running guest: run commands in it, crash it, end it."""

import json
import os
import shutil
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import TracebackType

from pageproof_lab import LabError
from pageproof_lab.guest import qemu
from pageproof_lab.guest.channel import Agent, Monitor, Ran
from pageproof_lab.images import disks
from pageproof_lab.paths import lab_dir, run_dir

DISKS = "disks"
STATE = "state.json"
FORMATS = ("elf", "lzo", "zstd", "flat")


@dataclass(frozen=True)
class Facts:
    """What others need to know of a running guest; state.json in its directory."""

    kernel: str
    release: str
    accelerator: str
    vmlinux: str
    module: str | None
    append: str
    keeper_pid: int = 0
    keeper_start: str = ""
    boot_seconds: float = 0.0

    def write(self, directory: Path) -> None:
        """Write state.json. Whoever reads it finds all of it or none."""
        part = directory / f"{STATE}.part"
        part.write_text(json.dumps(asdict(self)))
        part.replace(directory / STATE)

    @classmethod
    def read(cls, directory: Path) -> "Facts":
        """Read state.json.

        What an older version did not write gets its default, so that its guest can be ended.

        :raises LabError: it is not that of a lab.
        :raises OSError: there is none.
        """
        path = directory / STATE
        empty = {"kernel": "", "release": "", "accelerator": "", "vmlinux": "", "append": ""}
        try:
            read = json.loads(path.read_text())
            known = {f.name: read[f.name] for f in fields(cls) if f.name in read}
            facts = cls(**{**empty, "module": None, **known})
            if not isinstance(facts.keeper_pid, int) or not isinstance(facts.release, str):
                raise TypeError("keeper_pid or release of the wrong type")
        except (ValueError, TypeError, RecursionError) as error:
            raise LabError(
                f"{path}: damaged ({error}); if no QEMU of this lab runs, remove {directory}"
            ) from error
        return facts


def start_time(pid: int) -> str | None:
    """When a running process started, in clock ticks: a PID with it is unique.

    proc(5), /proc/PID/stat, fields 3 and 22.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else fields[19]


@dataclass
class Guest:
    """A guest by its directory; from `boot.boot()` (it is ours) or `attach()` (it stays up)."""

    directory: Path
    facts: Facts
    running: qemu.Running | None = None
    stays_up: bool = False
    _agent: Agent | None = field(default=None, repr=False)

    @property
    def sockets(self) -> qemu.Sockets:
        return qemu.Sockets(self.directory)

    @property
    def disks(self) -> Path:
        """Its initramfs and disks: in the cache, as a run directory may be small and in memory."""
        return self.directory / DISKS

    def __enter__(self) -> "Guest":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if not self.stays_up:
            self.close()

    # Talking to it

    @property
    def agent(self) -> Agent:
        if self._agent is None and not self.answers(time.monotonic() + 30):
            raise LabError(f"{self.directory.name}: the guest does not answer{self.log_tail()}")
        assert self._agent is not None
        return self._agent

    def answers(self, deadline: float) -> bool:
        """Connect to the agent in the guest.

        :param deadline: by time.monotonic().
        :returns: whether it answered in time.
        """
        try:
            self._agent = Agent(self.sockets.agent)
            self._agent.wait_alive(deadline)
        except (LabError, TimeoutError):
            self.hang_up()
            return False
        return True

    def hang_up(self) -> None:
        """Free the agent's socket: it serves one client at a time."""
        if self._agent is not None:
            self._agent.close()
            self._agent = None

    def run(self, *argv: str, stdin: bytes = b"", timeout_seconds: float = 120) -> Ran:
        """Run a program in the guest, found by PATH, and wait for its end."""
        # The agent has the same PATH. An env(1) in between takes as long as a short command.
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/busybox"
        try:
            return self.agent.run(
                [*argv],
                stdin=stdin,
                timeout_seconds=timeout_seconds,
                env=[f"PATH={path}", "HOME=/root", "LC_ALL=C.UTF-8", "TERM=dumb"],
            )
        except LabError:
            self.hang_up()  # an answer that is late would be taken for that of the next command
            raise

    def check(self, *argv: str, stdin: bytes = b"", timeout_seconds: float = 120) -> str:
        """`run`, and its stdout.

        :raises LabError: its exit code is not 0.
        """
        ran = self.run(*argv, stdin=stdin, timeout_seconds=timeout_seconds)
        if ran.code:
            raise LabError(
                f"in the guest: {' '.join(argv)}: exit code {ran.code}\n{ran.out}{ran.err}".rstrip()
            )
        return ran.out

    def load_module(self, *parameters: str) -> None:
        """insmod umh_shm.ko, and wait for the health check's end."""
        file = f"/lib/modules/{self.facts.release}/updates/umh_shm.ko"
        # An emulated guest on a busy host was seen to stand still for longer than the default.
        self.check("insmod", file, "timeout_ms=60000", *parameters)
        deadline = time.monotonic() + 90
        while (state := self.check("cat", "/sys/class/misc/umh_shm/state").strip()) == "starting":
            if time.monotonic() > deadline:
                raise LabError("umh_shm: still starting after 90 s")
            time.sleep(0.05)
        if state != "healthy":
            raise LabError(f"umh_shm: {state}: {self.check('dmesg')[-2000:]}")

    # Crashing it

    def load_crash_kernel(self, formats: Iterable[str] = FORMATS, level: int = 31) -> None:
        """kexec -p: what the kernel is to run when it panics (kdump/load).

        :param formats: the dumps that it saves.
        :param level: makedumpfile's dump level.
        """
        self.check(
            "/opt/pageproof/kdump/load",
            "/usr/lib/debug/vmlinuz",
            "/opt/pageproof/capture.img",
            f"pageproof.formats={','.join(formats)}",
            f"pageproof.level={level}",
        )

    def crash(
        self,
        into: Path,
        formats: Iterable[str] = FORMATS,
        level: int = 31,
        timeout_seconds: float = 180,
    ) -> dict[str, Path]:
        """`load_crash_kernel`, and `panic` at once."""
        formats = tuple(formats)
        self.load_crash_kernel(formats, level)
        return self.panic(into, formats, timeout_seconds)

    def panic(
        self, into: Path, formats: Iterable[str] = FORMATS, timeout_seconds: float = 180
    ) -> dict[str, Path]:
        """Panic by sysrq-c; the crash kernel, which is loaded, saves dumps; bring them to `into`.

        The guest is gone afterwards.

        :param formats: those that the crash kernel was loaded with, or some of them.
        :returns: format -> file.
        """
        self.hang_up()
        agent = Agent(self.sockets.agent)
        agent.send("guest-exec", {"path": "/bin/sh", "arg": ["-c", "echo c > /proc/sysrq-trigger"]})
        self._wait_end(timeout_seconds)
        agent.close()
        disk = self.disks / "dump.ext4"
        status = into / "status"
        try:
            disks.read_from_disk(disk, "/status", status)
        except FileNotFoundError as error:
            raise LabError(f"the crash kernel saved nothing{self.log_tail()}") from error
        said = status.read_text()
        dumps = {}
        for name in formats:
            if f"{name} code=0 " not in said:
                raise LabError(f"the dump in format {name} failed:\n{said}")
            dumps[name] = into / f"vmcore.{name}"
            disks.read_from_disk(disk, f"/vmcore.{name}", dumps[name])
        return dumps

    def _wait_end(self, timeout_seconds: float) -> None:
        deadline = time.monotonic() + timeout_seconds
        while self.alive():
            if time.monotonic() > deadline:
                raise LabError(
                    f"the guest did not power off within {timeout_seconds:.0f} s{self.log_tail()}"
                )
            time.sleep(0.05)

    # Ending it

    def alive(self) -> bool:
        if self.running is not None:
            return self.running.keeper.poll() is None
        return start_time(self.facts.keeper_pid) == self.facts.keeper_start

    def detach(self) -> None:
        """Let it stay up after this process has ended."""
        assert self.running is not None
        self.hang_up()
        self.running.let_go()
        self.stays_up = True

    def close(self) -> None:
        """End the guest and remove its directory."""
        self.hang_up()
        if self.running is not None:
            self.running.end()
        elif self.alive():
            os.kill(self.facts.keeper_pid, 15)
            self._wait_end(10)
        remove(self.directory)

    def log_tail(self) -> str:
        try:
            serial = self.sockets.serial.read_text(errors="replace").splitlines()[-40:]
            errors = self.sockets.errors.read_text(errors="replace").splitlines()[-5:]
        except FileNotFoundError:
            return ""
        return "\n  ".join(["; the last it said:", *errors, *serial])


def remove(directory: Path) -> None:
    """Remove a guest's directory and its disks."""
    if directory.parent != run_dir():
        raise LabError(f"{directory}: not the directory of a lab, so it is not removed")
    shutil.rmtree((directory / DISKS).resolve(), ignore_errors=True)
    shutil.rmtree(directory, ignore_errors=True)


def attach(name: str) -> Guest:
    """A guest that stays up.

    :raises LabError: there is none of that name.
    """
    directory = lab_dir(name)
    try:
        facts = Facts.read(directory)
    except OSError as error:
        raise LabError(f"no lab {name!r} is up; start it with: pageproof lab up") from error
    return Guest(directory, facts)


def monitor(guest: Guest) -> Monitor:
    """The guest's second monitor: the first is left to drgn."""
    return Monitor(guest.sockets.control)
