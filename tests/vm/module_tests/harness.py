# SPDX-License-Identifier: GPL-2.0-or-later
"""Load and use the module, and report the results: one line per check."""

import ctypes
import errno
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

DEVICE = Path("/dev/umh_shm")
SYSFS = Path("/sys/class/misc/umh_shm")
DEBUGFS = Path("/sys/kernel/debug/umh_shm")
HELPER_COMM = "umh_shm_helper"
PAGE_BYTES = 4096

# x86_64 and, from 424 on, all architectures
SYS_FINIT_MODULE = 313
SYS_DELETE_MODULE = 176
SYS_PIDFD_OPEN = 434
SYS_PIDFD_GETFD = 438

#: Lines that must not be in the kernel's log.
BAD_LOG = re.compile(
    r"WARNING:|BUG:|Oops|cut here|Call Trace|refcount_t|UBSAN|KASAN|KCSAN|general protection"
    r"|blocked for more than|[Bb]ad page|use-after-free|list_(add|del) corruption|memory leak"
)

libc = ctypes.CDLL(None, use_errno=True)


def syscall(number: int, *words: object) -> int:
    """Make a system call by number; raises OSError."""
    result = int(libc.syscall(number, *words))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def wait_until(what: Callable[[], bool], seconds: float = 120) -> bool:
    """Return whether `what` became true in time."""
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def errno_of(action: Callable[..., object], *words: object, **named: object) -> str:
    """Return the name of the errno that `action(*words, **named)` raises, or "OK"."""
    try:
        action(*words, **named)
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    return "OK"


def in_module(pid: int) -> int:
    """Return the number of threads of a process that sleep in a function of the module."""
    found = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # gone meanwhile
            found += "umh_shm" in (task / "stack").read_text()
    return found


class Log:
    """The kernel's log from now on."""

    def __init__(self) -> None:
        self._fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        os.lseek(self._fd, 0, os.SEEK_END)
        self.lines: list[str] = []

    def read(self) -> list[str]:
        """Return all lines since the log was opened."""
        while True:
            try:
                record = os.read(self._fd, 8192).decode(errors="replace")
            except BlockingIOError:
                return self.lines
            except BrokenPipeError:  # overwritten before it was read
                continue
            self.lines.append(record.partition(";")[2].splitlines()[0])

    def has(self, text: str) -> bool:
        return any(text in line for line in self.read())

    def close(self) -> None:
        os.close(self._fd)


class Suite:
    """Counts checks and prints them."""

    def __init__(self) -> None:
        self.group = ""
        self.count = 0
        self.failures = 0

    def check(self, good: bool, name: str, why: object = "") -> bool:
        self.count += 1
        self.failures += not good
        reason = "" if good else f": {why}"
        line = f"{'ok' if good else 'not ok'} {self.count} - {self.group}: {name}{reason}"
        print(line, flush=True)
        return good

    def equal(self, got: object, expected: object, name: str) -> bool:
        return self.check(got == expected, name, f"{got!r}, not {expected!r}")

    def errno(
        self,
        expected: str,
        name: str,
        action: Callable[..., object],
        *words: object,
        **named: object,
    ) -> bool:
        return self.equal(errno_of(action, *words, **named), expected, name)


class Module:
    """umh_shm.ko from a file, and the folder with the programs for its tests."""

    def __init__(self, file: Path, programs: Path) -> None:
        self.file = file
        self.programs = programs

    def insert(self, **parameters: object) -> None:
        """insmod; raises OSError.

        The default time-out here is long, because an emulated guest on a busy host may pause for
        longer than the module's own default. Tests of time-outs pass a shorter one.
        """
        parameters = {"timeout_ms": 60000, **parameters}
        words = " ".join(f"{name}={value}" for name, value in parameters.items())
        fd = os.open(self.file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            syscall(SYS_FINIT_MODULE, fd, words.encode(), 0)
        finally:
            os.close(fd)

    def remove(self) -> None:
        """rmmod; raises OSError, BlockingIOError when it is in use."""
        syscall(SYS_DELETE_MODULE, b"umh_shm", os.O_NONBLOCK)

    def get(self, attribute: str) -> str:
        return (SYSFS / attribute).read_text().rstrip("\n")

    def put(self, attribute: str, value: object) -> None:
        """Write an attribute; raises OSError with the module's error."""
        fd = os.open(SYSFS / attribute, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, str(value).encode())
        finally:
            os.close(fd)

    @property
    def pid(self) -> int:
        return int(self.get("helper_pid"))

    def healthy(self, *, checks_again: bool = False) -> bool:
        """Return whether the helper becomes healthy.

        Args:
            checks_again: repeat the health check; a slow guest may miss a short time-out at first.
        """

        def is_healthy() -> bool:
            if checks_again and self.get("state") == "unhealthy":
                errno_of(self.health)
            return self.get("state") == "healthy"

        return wait_until(is_healthy)

    def relaunched(self, old: int) -> bool:
        """Return whether another helper than `old` was launched and is healthy."""
        return wait_until(lambda: self.pid not in (0, old)) and self.healthy()

    def kill(self, number: int = signal.SIGKILL) -> None:
        os.kill(self.pid, number)

    def health(self) -> None:
        self.put("health", 1)

    def stop(self) -> None:
        self.put("stop", 1)

    def start(self) -> None:
        self.put("stop", 0)

    def request(self, payload: bytes) -> bytes:
        """Send a request through debugfs; return its answer."""
        fd = os.open(DEBUGFS / "request", os.O_RDWR | os.O_CLOEXEC)
        try:
            os.write(fd, payload)
            return os.read(fd, 2048)
        finally:
            os.close(fd)

    def bench(self, words: str) -> str:
        path = DEBUGFS / "bench"
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, words.encode())
        finally:
            os.close(fd)
        return path.read_text()

    def is_loaded(self) -> bool:
        return Path("/sys/module/umh_shm").exists()

    def unload(self) -> None:
        """Stop the helper and remove the module, from any state."""
        if self.is_loaded():
            if SYSFS.exists():
                self.stop()
            self.removed()

    def removed(self) -> str:
        """Remove the module once it is unused; return the errno name of the last try.

        A reader of /proc/PID of the helper keeps its mappings a moment longer.
        """
        tries = ["EAGAIN"]

        def tried() -> bool:
            tries.append(errno_of(self.remove))
            return tries[-1] != "EAGAIN"

        wait_until(tried, 60)
        return tries[-1]

    @contextmanager
    def loaded(self, **parameters: object) -> Iterator[None]:
        """Load, wait until the first health check has ended, and unload at the end."""
        self.insert(**parameters)
        try:
            wait_until(lambda: self.get("state") != "starting")
            yield
        finally:
            self.unload()

    def program(self, name: str, *words: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.programs / name, *map(str, words)], stdout=subprocess.PIPE, text=True
        )


def helpers() -> list[int]:
    """Return the pids of all processes with the helper's name."""
    found = []
    for comm in Path("/proc").glob("[0-9]*/comm"):
        try:
            if comm.read_text().strip() == HELPER_COMM:
                found.append(int(comm.parent.name))
        except OSError:  # gone meanwhile
            continue
    return found


def left_behind() -> list[str]:
    """Return what an unloaded module has left, and must not."""
    paths = (DEVICE, SYSFS, DEBUGFS, Path("/sys/module/umh_shm"))
    return [str(p) for p in paths if p.exists()] + [f"helper {pid}" for pid in helpers()]
