# SPDX-License-Identifier: GPL-2.0-or-later
"""``python -m pageproof``: the command as the whole of a process, its end and Ctrl-C.

None of this is for a library: :mod:`pageproof.api` and drgn's shell do not use it.
"""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
from types import FrameType
from typing import Any, Final, NoReturn

#: As shells report a program that SIGINT ended.
INTERRUPTED: Final = 130
_SOON_SECONDS: Final = 0.01


def run() -> NoReturn:
    """Run ``pageproof`` on this process's arguments and exit."""
    try:
        _catch_interrupts()
        # A report has millions of objects and hardly a cycle; looking for them takes a tenth of the
        # time, and the process ends soon.
        gc.disable()
        from pageproof.cli import main

        code = main()
    except SystemExit as end:  # of argparse, after the help or the version
        code = end.code if isinstance(end.code, int) else 0
    except KeyboardInterrupt:  # before main() could handle it
        code = INTERRUPTED
        if sys.stderr is not None:
            sys.stderr.write("pageproof: interrupted\n")
    _leave(code)


def _catch_interrupts() -> None:
    """Raise KeyboardInterrupt for the first SIGINT only: no other one disturbs the clean-up."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return  # ignored, as for a shell's background job
    signal.signal(signal.SIGINT, _interrupted)
    report = sys.unraisablehook

    def unraisable(what: Any) -> None:
        if not issubclass(what.exc_type, KeyboardInterrupt):
            report(what)
            return
        # It hit code from which Python cannot raise, such as a finalizer. Raise it again outside.
        signal.signal(signal.SIGALRM, _interrupted)
        signal.setitimer(signal.ITIMER_REAL, _SOON_SECONDS)

    sys.unraisablehook = unraisable


def _interrupted(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def _leave(code: int) -> NoReturn:
    """Exit without freeing memory object by object, which takes long after a large report."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            pass  # reported by main(), which flushes too
    os._exit(code)


if __name__ == "__main__":
    run()
