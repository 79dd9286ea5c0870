# SPDX-License-Identifier: GPL-2.0-or-later
"""Run other programs, check their exit codes, and keep what they printed for the error message."""

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
    """Print progress to stderr. stdout is for results."""
    print(f"lab: {message}", file=sys.stderr, flush=True)


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    show: bool = False,
    timeout_seconds: float = 1200,
    called: str | None = None,
) -> str:
    """Run a program and wait for its end.

    Args:
        command: program and arguments.
        cwd: directory to run it in.
        env: environment variables to add to this process's own.
        stdin: its whole standard input.
        show: let its output through to stderr while it runs (downloads show their progress);
            the result is then empty.
        timeout_seconds: the program is killed after this time.
        called: name of the command in errors (default: all its words).

    Returns:
        Its stdout and stderr.

    Raises:
        Failed: it ended with another exit code than 0.
        LabError: it could not be started, or ran longer than `timeout_seconds`.
    """
    words = [str(word) for word in command]
    called = called or shlex.join(words)
    if VERBOSE:
        say(shlex.join(words))
    try:
        done = subprocess.run(
            words,
            cwd=cwd,
            env={**os.environ, **env} if env else None,
            input=stdin,
            stdout=sys.stderr if show else subprocess.PIPE,
            stderr=None if show else subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout_seconds,
        )
    except FileNotFoundError as error:
        raise LabError(
            f"{words[0]}: not installed; `make setup` installs what the lab needs"
        ) from error
    except OSError as error:
        raise LabError(f"cannot start {words[0]}: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{called}: no end after {timeout_seconds:.0f} s") from error
    out = done.stdout or ""
    if VERBOSE:
        print(out, end="", file=sys.stderr, flush=True)
    if done.returncode:
        raise Failed(called, done.returncode, "\n".join(out.splitlines()[-30:]))
    return out


#: A tree has no devices. Without the bind mount, the first ">/dev/null" would create a regular file
#: of that name, and the kernel's Makefiles compile /dev/null as an empty C file.
_ENTER: Final = """
root=$1; shift
mount -t proc proc "$root/proc"
: >> "$root/dev/null"
mount --bind /dev/null "$root/dev/null"
exec chroot "$root" "$@"
"""


def run_in_root(
    root: Path, command: Sequence[str], *, show: bool = False, timeout_seconds: float = 1200
) -> str:
    """Run a program inside a directory tree, with /proc (objtool of 7.2 reads it) and /dev/null.

    It runs in mount and PID namespaces of its own, so nothing stays mounted and no process stays
    behind. Without root's rights a user namespace allows that.

    Args:
        root: the tree, for chroot(1).
        command: program and arguments.
        show: as for `run`.
        timeout_seconds: as for `run`.

    Returns:
        Its stdout and stderr.

    Raises:
        LabError: as for `run`.
    """
    namespaces = ["--mount", "--pid", "--fork", "--kill-child"]
    if os.getuid() != 0:
        namespaces.append("--map-root-user")
    return run(
        ["unshare", *namespaces, "--", "sh", "-ec", _ENTER, "sh", root, *command],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/", "LC_ALL": "C.UTF-8"},
        show=show,
        timeout_seconds=timeout_seconds,
        called=shlex.join(command),
    )
