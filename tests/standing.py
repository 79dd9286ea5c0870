# SPDX-License-Identifier: GPL-2.0-or-later
"""A pageproof that stays attached to a target, and answers each command in a fork of itself.

To attach and to read the kernel's debug info is most of what a short command takes. All else is the
command's own: its command line, the modules that are loaded just then, its output and exit code.

As a program, ``standing.py SOCKET|DUMP VMLINUX``: reads a request a line (JSON), says an exit code.
"""

import dataclasses
import importlib
import json
import logging
import os
import pkgutil
import stat
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from pageproof import cli, commands, front, judge, render
from pageproof.find.region import MODULE
from pageproof.target import Target, Wanted, open_target
from pageproof.target.debuginfo import load_debug_info

ANSWER_SECONDS = 120


class Standing:
    """Such a process, from the first command on."""

    def __init__(self, where: Path, vmlinux: Path, env: dict[str, str]) -> None:
        self._words = [sys.executable, __file__, str(where), str(vmlinux)]
        # A fork lacks the threads with which OpenMP made drgn's index, and would wait for them.
        self._env = {**env, "OMP_NUM_THREADS": "1"}
        self._process: subprocess.Popen[str] | None = None
        self._folder: TemporaryDirectory[str] | None = None

    def ask(self, words: Iterable[str | Path], symbols: Iterable[Path]) -> tuple[int, str, str]:
        """Exit code, stdout and stderr of a command.

        Args:
            words: the command line without its target.
            symbols: debug info of modules, as with -s.
        """
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
        asked = {
            "words": [*map(str, words)],
            "symbols": [*map(str, symbols)],
            "out": str(out),
            "err": str(err),
        }
        assert process.stdin and process.stdout
        deadline = threading.Timer(ANSWER_SECONDS, process.kill)
        deadline.start()
        try:
            process.stdin.write(json.dumps(asked) + "\n")
            process.stdin.flush()
            code = process.stdout.readline()
        finally:
            deadline.cancel()
        assert code, f"{self._words}: no answer to {asked['words']}"
        return int(code), out.read_text(), err.read_text()

    def end(self) -> None:
        if self._process is not None and self._folder is not None:
            self._process.kill()
            self._process.communicate()
            self._folder.cleanup()
            self._process = self._folder = None


def _answer(target: Target, words: list[str], symbols: list[str], out: str, err: str) -> int:
    """In the fork: the command line as it is, on the target that is open."""
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)

    def open_it(say: Callable[[str], None]) -> Target:
        paths = [Path(path) for path in symbols]
        notes = load_debug_info(target.prog, target.facts.release, paths, [MODULE])
        return dataclasses.replace(target, facts=dataclasses.replace(target.facts, notes=notes))

    cli._open = lambda args: open_it
    try:
        return cli.main(words)
    except SystemExit as end:  # argparse's, of --help
        return int(end.code or 0)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()


def main(where: Path, vmlinux: Path) -> None:
    """Answer until standard input ends."""
    for package in (commands, front, judge, render):
        for one in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(one.name)
    logging.getLogger("drgn").setLevel(logging.CRITICAL)
    is_socket = stat.S_ISSOCK(where.stat().st_mode)
    symbols = (vmlinux,)
    target = open_target(
        Wanted(qemu=str(where), symbols=symbols)
        if is_socket
        else Wanted(core=where, symbols=symbols),
        [],
    )
    target.prog.type("struct page")  # drgn makes its index now, at the first look-up
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            os._exit(_answer(target, **json.loads(line)))
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
