# SPDX-License-Identifier: GPL-2.0-or-later
"""Starts and stops during an unload, with a helper that does not exit, or ended by a signal."""

import contextlib
import errno
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .harness import (
    DEBUGFS,
    SYS_PIDFD_GETFD,
    SYS_PIDFD_OPEN,
    SYSFS,
    Module,
    Suite,
    errno_of,
    helpers,
    in_module,
    left_behind,
    syscall,
    wait_until,
)

UNLOADS = 40
#: Each stop of a helper that does not exit waits for 6 s: far longer than a killed process needs.
STOPS = 12
#: A process that waits killably ends at once. Any other ends after its wait.
AT_ONCE_SECONDS = 30


def _child(action: Callable[[], object]) -> int:
    """Run `action` in a child; the exit status is 0 even after an OSError."""
    pid = os.fork()
    if not pid:
        try:
            with contextlib.suppress(OSError):
                action()
        finally:
            os._exit(0)
    return pid


def _ended(pid: int) -> bool:
    return os.waitpid(pid, os.WNOHANG)[0] == pid


def _end(*pids: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def _start_again_and_again() -> None:
    """Keep the attribute open, so that a write can happen during its removal."""
    while True:
        try:
            fd = os.open(SYSFS / "stop", os.O_WRONLY | os.O_CLOEXEC)
        except OSError:
            time.sleep(0.001)
            continue
        with contextlib.suppress(OSError):
            while True:
                os.pwrite(fd, b"0", 0)
                time.sleep(random.random() / 200)
        os.close(fd)


def start_meets_unload(suite: Suite, module: Module) -> None:
    """A start after the last stop of an unload must not leave a timer in freed memory."""
    for turn in range(UNLOADS):
        module.insert(restart_ms=30)
        pids = [_child(_start_again_and_again) for _ in range(2)]
        try:
            removed = wait_until(lambda: _stopped_and_removed(module), 60)
        finally:
            _end(*pids)
        if not suite.check(removed, f"unload {turn}", left_behind()):
            return
        # The timer of a restart would fire now.
        time.sleep(0.05)
    suite.equal(left_behind(), [], "nothing left")


def _stopped_and_removed(module: Module) -> bool:
    with contextlib.suppress(OSError):
        module.stop()
    return errno_of(module.remove) == "OK"


@contextmanager
def _held_leash(module: Module) -> Iterator[int]:
    """A copy of the helper's leash: while it is open, the helper does not count as gone."""
    pid = module.pid
    (leash,) = (
        int(link.name)
        for link in Path(f"/proc/{pid}/fd").iterdir()
        if str(link.readlink()) == "anon_inode:[umh_shm_leash]"
    )
    pidfd = syscall(SYS_PIDFD_OPEN, pid, 0)
    try:
        fd = syscall(SYS_PIDFD_GETFD, pidfd, leash, 0)
    finally:
        os.close(pidfd)
    try:
        yield fd
    finally:
        with contextlib.suppress(OSError):
            os.close(fd)


def stop_in_vain(suite: Suite, module: Module) -> None:
    """A start after a stop that ended with EBUSY must not launch a second helper."""
    with module.loaded(restart_ms=10):
        with _held_leash(module) as leash:
            suite.errno("EBUSY", "stop", module.stop)
            suite.equal(module.get("state"), "stopping", "state after it")
            suite.errno("EBUSY", "start before the old helper is gone", module.start)
            # A second helper would start in well under a second.
            time.sleep(1)
            suite.equal(helpers(), [], "no second helper")
            suite.errno("EBUSY", "start once more", module.start)
            os.close(leash)
        suite.check(wait_until(lambda: module.get("state") == "stopped"), "gone at last")
        suite.errno("OK", "start afterwards", module.start)
        suite.check(module.healthy(), "healthy afterwards", module.get("state"))
        suite.equal((helpers(), module.get("restarts")), ([module.pid], "0"), "one helper")


def frozen_by_cgroup(suite: Suite, module: Module) -> None:
    """The same with a helper that no signal reaches, because the cgroup v1 freezer froze it."""
    with _freezer() as cgroup:
        if cgroup is None:
            print("# this kernel has no cgroup v1 freezer: stop_in_vain covers the same case")
            return
        with module.loaded(restart_ms=10):
            old = module.pid
            (cgroup / "cgroup.procs").write_text(str(old))
            (cgroup / "freezer.state").write_text("FROZEN")
            try:
                state = cgroup / "freezer.state"
                suite.check(wait_until(lambda: state.read_text() == "FROZEN\n"), "frozen")
                suite.errno("EBUSY", "stop", module.stop)
                suite.errno("EBUSY", "start while it is frozen", module.start)
                time.sleep(1)
                suite.equal(helpers(), [old], "no second helper")
            finally:
                (cgroup / "freezer.state").write_text("THAWED")
            suite.check(wait_until(lambda: not helpers()), "dies when it is thawed", helpers())
            suite.check(wait_until(lambda: module.get("state") == "stopped"), "stopped")
            module.start()
            suite.check(module.healthy(), "healthy afterwards", module.get("state"))
            suite.equal(helpers(), [module.pid], "one helper")


@contextmanager
def _freezer() -> Iterator[Path | None]:
    """Yield a new group in the cgroup v1 freezer; None if the kernel has no freezer."""
    place = Path("/run/freezer")
    place.mkdir(exist_ok=True)
    if os.system(f"mount -t cgroup -o freezer none {place} 2>/dev/null"):
        place.rmdir()
        yield None
        return
    group = place / "umh_shm"
    group.mkdir()
    try:
        yield group
    finally:
        wait_until(lambda: errno_of(group.rmdir) == "OK")
        os.system(f"umount {place}")
        place.rmdir()


def killed_while_waiting(suite: Suite, module: Module) -> None:
    """A process that waits for a stop or for another request can be killed."""
    with module.loaded(timeout_ms=60000, restart_ms=10):
        with _held_leash(module):
            stops = [_child(module.stop) for _ in range(STOPS)]
            wait_until(lambda: all(in_module(pid) for pid in stops))
            starts = [_child(module.start) for _ in range(STOPS)]
            _ends_when_killed(suite, "stops and starts", *stops, *starts)
        suite.check(wait_until(lambda: module.get("state") == "stopped"), "stopped in the end")
        module.start()
        suite.check(module.healthy(), "started again", module.get("state"))

        module.kill(signal.SIGSTOP)
        fd = os.open(DEBUGFS / "request", os.O_RDWR | os.O_CLOEXEC)
        # pwrite(), because write() waits unkillably for the file's position (fs/file.c).
        first = _child(lambda: os.pwrite(fd, b"first", 0))
        wait_until(lambda: in_module(first) > 0)
        rest = [_child(lambda: os.pwrite(fd, b"second", 0)), _child(lambda: os.pread(fd, 2048, 0))]
        _ends_when_killed(suite, "a write and a read behind a request", *rest)
        suite.equal(_reaped(first), False, "the first one still waits")
        _end(first)
        os.close(fd)
        module.kill(signal.SIGCONT)


def _ends_when_killed(suite: Suite, name: str, *pids: int) -> None:
    asleep = wait_until(lambda: all(in_module(pid) for pid in pids))
    suite.check(asleep, f"{name}: all wait")
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    ended = wait_until(lambda: all(_reaped(pid) for pid in pids), AT_ONCE_SECONDS)
    if not suite.check(ended, f"{name}: all end when they are killed"):
        _end(*pids)


def _reaped(pid: int) -> bool:
    try:
        return _ended(pid)
    except OSError as error:
        return error.errno == errno.ECHILD
