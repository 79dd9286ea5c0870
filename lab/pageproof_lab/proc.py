# SPDX-License-Identifier: GPL-2.0-or-later
"""Running other programs: said aloud, checked, and with what they printed when they fail."""

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from pageproof_lab import LabError

VERBOSE = os.environ.get("V") == "1"


class Failed(LabError):
    """A program ended with an exit code other than 0."""

    def __init__(self, called: str, code: int, tail: str) -> None:
        super().__init__(f"{called}: exit code {code}\n{tail}".rstrip())
        self.code = code


def say(message: str) -> None:
    """Progress goes to stderr, so that stdout stays what was asked for."""
    print(f"lab: {message}", file=sys.stderr, flush=True)


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    show: bool = False,
    timeout_seconds: float = 1200,
    called: str | None = None,
) -> str:
    """Run `command` and return its stdout.

    :param show: let its output through to stderr (downloads show their own progress).
    :param called: what errors call the command (default: all its words).
    :raises Failed: it failed.
    :raises LabError: it could not be started or took longer than `timeout_seconds`.
    """
    words = [str(word) for word in command]
    called = called or shlex.join(words)
    if VERBOSE:
        say(shlex.join(words))
    through = show or VERBOSE
    try:
        done = subprocess.run(
            words,
            cwd=cwd,
            env={**os.environ, **env} if env else None,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr if through else subprocess.PIPE,
            stderr=None if through else subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout_seconds,
        )
    except FileNotFoundError as error:
        raise LabError(
            f"{words[0]}: not installed; `make setup` installs what the lab needs"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{called}: no end after {timeout_seconds:.0f} s") from error
    if done.returncode:
        tail = "\n".join((done.stdout or "").splitlines()[-30:])
        raise Failed(called, done.returncode, tail)
    return done.stdout or ""


#: A tree has no devices. The first ">/dev/null" would make a file of that name, for the kernel's
#: Makefiles to compile as the empty file: what others write to it meanwhile is no C.
_ENTER: Final = """
root=$1; shift
mount -t proc proc "$root/proc"
: >> "$root/dev/null"
mount --bind /dev/null "$root/dev/null"
exec chroot "$root" "$@"
"""


def run_in_root(root: Path, command: Sequence[str], *, show: bool = False) -> str:
    """Run `command` inside the directory tree `root`, with /proc (objtool of 7.2 reads it) and
    /dev/null.

    Private mount and PID namespaces, so that nothing stays mounted whatever happens;
    without root's rights a user namespace gives them.
    """
    namespaces = ["--mount", "--pid", "--fork", "--kill-child"]
    if os.getuid() != 0:
        namespaces.append("--map-root-user")
    return run(
        ["unshare", *namespaces, "--", "sh", "-ec", _ENTER, "sh", root, *command],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/", "LC_ALL": "C.UTF-8"},
        show=show,
        called=shlex.join(command),
    )
