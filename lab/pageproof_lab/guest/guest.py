# SPDX-License-Identifier: GPL-2.0-or-later
"""A running guest: run commands in it, crash it, end it."""

import contextlib
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
CRASH_SECONDS = 180  # for the crash kernel to save a dump and to end


@dataclass(frozen=True)
class Facts:
    """Facts about a running guest, for other processes: state.json in its directory."""

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
        """Write state.json atomically."""
        part = directory / f"{STATE}.part"
        part.write_text(json.dumps(asdict(self)))
        part.replace(directory / STATE)

    @classmethod
    def read(cls, directory: Path) -> "Facts":
        """Read state.json.

        Fields that an older version did not write get a default, so that its guest can be ended.

        Raises:
            LabError: the file is damaged.
            OSError: there is no such file.
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
    """Return when a process started, in clock ticks since boot; None if it does not run.

    PID and start time together identify a process (proc(5), /proc/PID/stat, fields 3 and 22).
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else fields[19]


@dataclass
class Guest:
    """A guest, from `boot.boot()` (it ends with this process) or from `attach()` (it stays up)."""

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
        """Its initramfs and disks. In the cache, as the run directory may be a small tmpfs."""
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

    # Commands in the guest

    @property
    def agent(self) -> Agent:
        """The connection to the guest agent.

        Raises:
            LabError: the agent does not answer.
        """
        if self._agent is None and not self.answers(time.monotonic() + 30):
            raise LabError(f"{self.directory.name}: the guest does not answer{self.log_tail()}")
        assert self._agent is not None
        return self._agent

    def answers(self, deadline: float) -> bool:
        """Connect to the agent in the guest.

        Args:
            deadline: as time.monotonic() counts.

        Returns:
            Whether it answered in time.
        """
        try:
            self._agent = Agent(self.sockets.agent)
            self._agent.wait_alive(deadline)
        except (LabError, TimeoutError):
            self.hang_up()
            return False
        return True

    def hang_up(self) -> None:
        """Close the connection to the agent, which serves one client at a time."""
        if self._agent is not None:
            self._agent.close()
            self._agent = None

    def run(self, *argv: str, stdin: bytes = b"", timeout_seconds: float = 120) -> Ran:
        """Run a program in the guest and wait for its end, as `Agent.run` does."""
        # The agent has the same PATH. Running env(1) would take as long as a short command.
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/busybox"
        try:
            return self.agent.run(
                [*argv],
                stdin=stdin,
                timeout_seconds=timeout_seconds,
                env=[f"PATH={path}", "HOME=/root", "LC_ALL=C.UTF-8", "TERM=dumb"],
            )
        except LabError:
            self.hang_up()  # else a late reply would count as the reply to the next command
            raise

    def check(self, *argv: str, stdin: bytes = b"", timeout_seconds: float = 120) -> str:
        """Run a program in the guest and return its stdout.

        Raises:
            LabError: its exit code is not 0.
        """
        ran = self.run(*argv, stdin=stdin, timeout_seconds=timeout_seconds)
        if ran.code:
            raise LabError(
                f"in the guest: {' '.join(argv)}: exit code {ran.code}\n{ran.out}{ran.err}".rstrip()
            )
        return ran.out

    def load_module(self, *parameters: str) -> None:
        """Load umh_shm.ko and wait for the result of its health check.

        Args:
            parameters: of the module, as NAME=VALUE.

        Raises:
            LabError: it did not load, or is not healthy.
        """
        file = f"/lib/modules/{self.facts.release}/updates/umh_shm.ko"
        # The default timed out in an emulated guest on a busy host.
        self.check("insmod", file, "timeout_ms=60000", *parameters)
        deadline = time.monotonic() + 90
        while (state := self.check("cat", "/sys/class/misc/umh_shm/state").strip()) == "starting":
            if time.monotonic() > deadline:
                raise LabError(
                    "umh_shm: its helper did not answer within 90 s; see the guest's dmesg"
                )
            time.sleep(0.05)
        if state != "healthy":
            raise LabError(f"umh_shm: {state}: {self.check('dmesg')[-2000:]}")

    # Crashing it

    def load_crash_kernel(
        self,
        formats: Iterable[str] = FORMATS,
        level: int = 31,
        *,
        stay: bool = False,
        image: str = "/opt/pageproof/capture.img",
        more: Iterable[str] = (),
    ) -> None:
        """Load the crash kernel, which saves dumps when the guest panics (kdump/load).

        Args:
            formats: formats of the dumps, of `FORMATS`.
            level: makedumpfile's dump level.
            stay: it saves nothing and stays up.
            image: its initramfs, in the guest.
            more: words of its command line.
        """
        self.check(
            "/opt/pageproof/kdump/load",
            "/usr/lib/debug/vmlinuz",
            image,
            f"pageproof.formats={','.join(formats)}",
            f"pageproof.level={level}",
            f"pageproof.stay={int(stay)}",
            *more,
        )

    def crash(
        self,
        into: Path,
        formats: Iterable[str] = FORMATS,
        level: int = 31,
        timeout_seconds: float = CRASH_SECONDS,
    ) -> dict[str, Path]:
        """Load the crash kernel and panic."""
        formats = tuple(formats)
        self.load_crash_kernel(formats, level)
        return self.panic(into, formats, timeout_seconds)

    def panic(
        self, into: Path, formats: Iterable[str] = FORMATS, timeout_seconds: float = CRASH_SECONDS
    ) -> dict[str, Path]:
        """Panic by sysrq-c and copy the dumps that the loaded crash kernel saves.

        The guest has ended when this returns.

        Args:
            into: directory for the dumps.
            formats: formats to copy, all of which the crash kernel was loaded with.
            timeout_seconds: how long to wait for the crash kernel.

        Returns:
            Format -> file.

        Raises:
            LabError: the crash kernel did not end, or did not save a dump.
        """
        agent = self.sysrq_crash()
        self.wait_end(timeout_seconds)
        agent.close()
        disk = self.disks / "dump.ext4"
        status = into / "status"
        try:
            disks.read_from_disk(disk, "/status", status)
        except FileNotFoundError as error:
            raise LabError(f"the crash kernel saved no dump{self.log_tail()}") from error
        results = status.read_text()
        dumps = {}
        for name in formats:
            if f"{name} code=0 " not in results:
                raise LabError(
                    f"the crash kernel failed to save a dump in format {name}:\n{results}"
                )
            dumps[name] = into / f"vmcore.{name}"
            disks.read_from_disk(disk, f"/vmcore.{name}", dumps[name])
        return dumps

    def panic_and_stay(self, timeout_seconds: float = CRASH_SECONDS) -> None:
        """Panic into a crash kernel that was loaded with `stay`, and wait until it is up.

        Raises:
            LabError: it did not come up.
        """
        agent = self.sysrq_crash()
        deadline = time.monotonic() + timeout_seconds
        while "capture: staying up" not in self.sockets.serial.read_text(errors="replace"):
            if time.monotonic() > deadline or not self.alive():
                raise LabError(f"the crash kernel did not come up{self.log_tail()}")
            time.sleep(0.05)
        agent.close()

    def sysrq_crash(self) -> Agent:
        """Panic by sysrq-c and return the connection, which ends with the guest."""
        self.hang_up()
        agent = Agent(self.sockets.agent)
        agent.send("guest-exec", {"path": "/bin/sh", "arg": ["-c", "echo c > /proc/sysrq-trigger"]})
        return agent

    def wait_end(self, timeout_seconds: float) -> None:
        """Wait until its QEMU has ended.

        Raises:
            LabError: it did not end in time.
        """
        deadline = time.monotonic() + timeout_seconds
        while self.alive():
            if time.monotonic() > deadline:
                raise LabError(
                    f"the guest did not power off within {timeout_seconds:.0f} s{self.log_tail()}"
                )
            time.sleep(0.05)

    # Ending it

    def alive(self) -> bool:
        """Whether its QEMU runs."""
        if self.running is not None:
            return self.running.keeper.poll() is None
        return start_time(self.facts.keeper_pid) == self.facts.keeper_start

    def detach(self) -> None:
        """Let the guest stay up after this process has ended."""
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
            self.wait_end(10)
        remove(self.directory)

    def log_tail(self) -> str:
        """Return the last lines of QEMU's errors and of the serial console, for a message."""
        lines: list[str] = []
        for path, number in ((self.sockets.errors, 5), (self.sockets.serial, 40)):
            with contextlib.suppress(FileNotFoundError):  # QEMU may end before it makes one
                lines += path.read_text(errors="replace").splitlines()[-number:]
        return "\n  ".join(["; its last output:", *lines]) if lines else ""


def remove(directory: Path) -> None:
    """Remove a guest's directory and its disks.

    Raises:
        LabError: `directory` is not in the run directory.
    """
    if directory.parent != run_dir():
        raise LabError(f"{directory}: not the directory of a lab; it is left as it is")
    shutil.rmtree((directory / DISKS).resolve(), ignore_errors=True)
    shutil.rmtree(directory, ignore_errors=True)


def attach(name: str) -> Guest:
    """Return the guest of a lab that is up.

    Raises:
        LabError: no lab has this name, or its state.json is damaged.
    """
    directory = lab_dir(name)
    try:
        facts = Facts.read(directory)
    except OSError as error:
        start = "pageproof lab up" + (f" --name {name}" if name != "lab" else "")
        raise LabError(f"no lab {name!r} is up; start it with: {start}") from error
    return Guest(directory, facts)


def monitor(guest: Guest) -> Monitor:
    """Connect to the guest's second monitor, as the first is for drgn."""
    return Monitor(guest.sockets.control)
