# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs cases: the command in a fork that has opened nothing, on a damaged copy, within limits.

A copy is made once for each dump; after a case, the bytes that were changed are written back. A
fork of a process that has imported everything saves the start of Python. For memory that is damaged
after it was attached, a fork of a process that has attached the copy saves that time too.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hostile import files, symbols
from hostile.bases import Base, copy_sparse
from hostile.cases import base_of
from hostile.containers import Case, Damage

#: Promised to users, measured as CPU time, which does not depend on what else the host does.
CPU_SECONDS = 10
MEMORY_BYTES = 1 << 30
#: Limits that end a case. A slower host gets more than what is promised.
_CPU_LIMIT = int(os.environ.get("PAGEPROOF_HOSTILE_CPU_SECONDS", "60"))
_WALL_SECONDS = 300
_ADDRESS_SPACE = 6 << 30
_OUT_BYTES = 32 << 20


@dataclass(frozen=True)
class Outcome:
    """How a case ended.

    Attributes:
        code: the exit code; negative for a signal.
        peak_bytes: resident memory at its highest, with what the fork shares with its parent.
    """

    code: int
    out: str
    err: str
    cpu_seconds: float
    wall_seconds: float
    peak_bytes: int


class Runner:
    """Keeps copies of the dumps that it has used.

    Args:
        scratch: a directory in memory.
    """

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self._attached: dict[Path, _Attached] = {}
        import_everything()

    def run(self, case: Case) -> Outcome:
        """Run a case."""
        base = base_of(case.kernel, case.form)
        copy = self.copy(base)
        with_symbols = symbols.prepared(case.symbols, base, self.scratch)
        attached = self._attach(base, copy) if case.attached else None
        undo = _apply(copy, case.damage)
        try:
            with files.staged(case.scene, copy) as staged:
                words = ["-c", str(staged.path), *with_symbols, *case.command]
                if attached is not None:
                    return attached.ask(words)
                return in_a_fork(lambda: _main(words, staged.in_child), staged.meanwhile)
        finally:
            _undo(copy, base.path, undo)

    def sound(self, base: Base, command: tuple[str, ...]) -> Outcome:
        """Run a command on the copy of a sound dump."""
        copy = self.copy(base)
        return self._attach(base, copy).ask(["-c", str(copy), *base.options, *command])

    def copy(self, base: Base) -> Path:
        path = self.scratch / str(base)
        if not path.exists():
            copy_sparse(base.path, path)
        return path

    def _attach(self, base: Base, copy: Path) -> _Attached:
        if copy not in self._attached:
            self._attached[copy] = _Attached(base, copy)
        return self._attached[copy]

    def end(self) -> None:
        for one in self._attached.values():
            one.end()


class _Attached:
    """A process that has attached a copy, and answers each question in a fork of itself."""

    def __init__(self, base: Base, copy: Path) -> None:
        questions, answers = os.pipe(), os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                os.close(questions[1])
                os.close(answers[0])
                _serve(base, copy, questions[0], answers[1])
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)
        os.close(questions[0])
        os.close(answers[1])
        self._to = os.fdopen(questions[1], "w")
        self._from = os.fdopen(answers[0], "r")
        # The copy may be damaged only when it is attached.
        assert self._from.readline() == "ready\n"

    def ask(self, words: list[str]) -> Outcome:
        self._to.write(json.dumps(words) + "\n")
        self._to.flush()
        return Outcome(**json.loads(self._from.readline()))

    def end(self) -> None:
        self._to.close()
        self._from.close()
        os.kill(self._pid, signal.SIGKILL)  # later ones have inherited the pipe's other end
        os.waitpid(self._pid, 0)


def _serve(base: Base, copy: Path, questions: int, answers: int) -> None:
    import pageproof.attach as attach
    from pageproof.attach.debuginfo import DebugInfo
    from pageproof.model.kinds import UMH_SHM

    maps = tuple(Path(word) for word in base.options if word.startswith("/"))
    wanted = attach.Wanted(core=copy, symbols=maps, debug_info=DebugInfo.BTF)
    target = attach.open_target(wanted, [UMH_SHM])
    attach.open_target = lambda *asked: target
    with os.fdopen(questions) as lines, os.fdopen(answers, "w") as out:
        print("ready", file=out, flush=True)
        for line in lines:
            words = json.loads(line)
            outcome = in_a_fork(lambda: _main(words))  # noqa: B023  called at once
            print(json.dumps(outcome.__dict__), file=out, flush=True)
    os._exit(0)


def import_everything() -> None:
    """Import all that a command may need, and open nothing."""
    from pageproof import attach, cli, commands, find, front, judge, observe, render, walk
    from pageproof.attach.target import leave_out_shell_plugins

    assert cli
    leave_out_shell_plugins()
    os.environ["OMP_NUM_THREADS"] = "1"  # drgn's threads would not survive a fork
    for package in (attach, commands, find, front, judge, observe, render, walk):
        for one in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(one.name)


def _main(words: list[str], prepare: Callable[[], None] = lambda: None) -> int:
    from pageproof import cli

    prepare()
    return cli.main(words)


def in_a_fork(run: Callable[[], int], meanwhile: Callable[[], None] = lambda: None) -> Outcome:
    """Run a function in a fork with limits, and measure it."""
    out, err = os.memfd_create("out"), os.memfd_create("err")
    start = time.monotonic()
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            _limit()
            os.dup2(out, 1)
            os.dup2(err, 2)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            code = run()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 2
        except BaseException:
            traceback.print_exc()
        finally:
            with suppress(BaseException):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)
    meanwhile()
    status, usage = _wait(pid, start + _WALL_SECONDS)
    wall = time.monotonic() - start
    texts = []
    for descriptor in (out, err):
        texts.append(os.pread(descriptor, _OUT_BYTES, 0).decode("utf-8", "backslashreplace"))
        os.close(descriptor)
    cpu = usage.ru_utime + usage.ru_stime
    code = os.waitstatus_to_exitcode(status)
    return Outcome(code, texts[0], texts[1], cpu, wall, usage.ru_maxrss << 10)


def _wait(pid: int, deadline: float) -> tuple[int, Any]:
    descriptor = os.pidfd_open(pid)
    try:
        if not select.select([descriptor], [], [], max(0, deadline - time.monotonic()))[0]:
            os.kill(pid, signal.SIGALRM)  # as an alarm of its own would
            if not select.select([descriptor], [], [], 5)[0]:
                os.kill(pid, signal.SIGKILL)
    finally:
        os.close(descriptor)
    _, status, usage = os.wait4(pid, 0)
    return status, usage


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_LIMIT, _CPU_LIMIT + 5))
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


def _apply(copy: Path, damage: Damage) -> list[tuple[int, int]]:
    """Change the copy; returns the parts that changed, as (offset, length)."""
    changed = []
    descriptor = os.open(copy, os.O_RDWR)
    try:
        size = os.fstat(descriptor).st_size
        for at, data in damage.writes:
            some = data[: max(size - at, 0)]
            os.pwrite(descriptor, some, at)
            changed.append((at, len(some)))
        if damage.length is not None:
            os.ftruncate(descriptor, damage.length)
            changed.append((min(damage.length, size), max(size - damage.length, 0)))
    finally:
        os.close(descriptor)
    return changed


def _undo(copy: Path, whole: Path, changed: list[tuple[int, int]]) -> None:
    """Write the sound bytes back."""
    size = whole.stat().st_size
    changed.append((copy.stat().st_size, max(size - copy.stat().st_size, 0)))  # a file that shrank
    with whole.open("rb", buffering=0) as old, copy.open("r+b", buffering=0) as new:
        new.truncate(size)
        for start, length in changed:
            at, end = start, min(start + length, size)
            while at < end:
                if end - at > 1 << 16:
                    try:
                        at = min(max(os.lseek(old.fileno(), at, os.SEEK_DATA), at), end)
                    except OSError:  # only zeros follow, as after ftruncate()
                        break
                data = os.pread(old.fileno(), min(1 << 16, end - at), at)
                os.pwrite(new.fileno(), data, at)
                at += len(data) or end - at


def scratch_directory() -> tempfile.TemporaryDirectory[str]:
    """Return a directory in memory, for copies of dumps."""
    shm = Path("/dev/shm")
    return tempfile.TemporaryDirectory(
        prefix="pageproof-hostile-", dir=shm if os.access(shm, os.W_OK) else None
    )
