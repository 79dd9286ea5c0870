# SPDX-License-Identifier: GPL-2.0-or-later
"""A pageproof that stays attached to a target and runs each command in a fork of itself.

A short command spends most of its time on attaching and on the kernel's debug info. Everything else
is done by each command: command line, the list of loaded modules, output and exit code.

As a program: ``standing.py --qemu SOCKET|-c DUMP VMLINUX`` reads one request (JSON) per line and
prints its exit code.
"""

import importlib
import json
import os
import pkgutil
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from tempfile import TemporaryDirectory

from pageproof import cli, commands, front, judge, render
from pageproof.attach import core, guest, target
from pageproof.attach.dumpfile import inspect_dump

ANSWER_SECONDS = 600


class Standing:
    """Such a process. The first command starts it.

    Args:
        target: option and value: --qemu SOCKET, or -c DUMP.
        vmlinux: the kernel's debug info.
        env: environment of the process.
        memory_bytes: limit of its address space; None for no limit.
    """

    def __init__(
        self,
        target: tuple[str, str],
        vmlinux: Path,
        env: dict[str, str],
        memory_bytes: int | None = None,
    ) -> None:
        self._target = target
        limit = [] if memory_bytes is None else ["prlimit", f"--as={memory_bytes}"]
        self._words = [*limit, sys.executable, __file__, *target, str(vmlinux)]
        # A fork lacks the OpenMP threads that made drgn's index, and would wait for them.
        self._env = {**env, "OMP_NUM_THREADS": "1"}
        self._process: subprocess.Popen[str] | None = None
        self._folder: TemporaryDirectory[str] | None = None

    def ask(self, *words: str | Path) -> tuple[int, str, str]:
        """Run a command; ``words`` are all but its target. Returns exit code, stdout and stderr."""
        if self._process is not None and self._process.poll() is not None:
            self.end()  # it was killed at a deadline
        if self._process is None or self._folder is None:
            self._folder = TemporaryDirectory(prefix="pageproof-standing-")
            self._process = subprocess.Popen(
                self._words,
                env=self._env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        process = self._process
        out, err = (Path(self._folder.name, name) for name in ("out", "err"))
        asked = {"words": [*self._target, *map(str, words)], "out": str(out), "err": str(err)}
        assert process.stdin and process.stdout
        deadline = threading.Timer(ANSWER_SECONDS, process.kill)
        deadline.start()
        try:
            process.stdin.write(json.dumps(asked) + "\n")
            process.stdin.flush()
            code = process.stdout.readline()
        finally:
            deadline.cancel()
        assert code, f"{self._words}: no answer to {words} within {ANSWER_SECONDS} s"
        return int(code), out.read_text(), err.read_text()

    def end(self) -> None:
        if self._process is not None and self._folder is not None:
            self._process.kill()
            self._process.communicate()
            self._folder.cleanup()
            self._process = self._folder = None


def _answer(words: list[str], out: str, err: str) -> int:
    """Run the command in the fork."""
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    try:
        return cli.main(words)
    except SystemExit as end:  # argparse's, of --help
        return int(end.code or 0)
    except BaseException:
        traceback.print_exc()
        return 70
    finally:
        sys.stdout.flush()


def main(option: str, where: str, vmlinux: str) -> None:
    """Answer until standard input ends."""
    for package in (commands, front, judge, render):
        for one in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(one.name)
    target.leave_out_shell_plugins()
    if option == "--qemu":
        attached = guest.attach_guest(where)
        guest.attach_guest = lambda address, which=None, progress=str: attached
        prog = attached[0]
    else:
        opened = core.attach_core(Path(where), inspect_dump(Path(where)))
        core.attach_core = lambda *asked: opened
        prog = opened[0]
    # Load the kernel's only, as drgn would remember the present addresses of modules.
    kernel, _ = next(iter(prog.loaded_modules()))
    kernel.try_file(vmlinux)
    prog.type("struct page")  # the first look-up makes drgn's index
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            os._exit(_answer(**json.loads(line)))
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
