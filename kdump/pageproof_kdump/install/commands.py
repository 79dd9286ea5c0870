# SPDX-License-Identifier: GPL-2.0-or-later
"""Run the commands of a plan."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from typing import Final

from pageproof.errors import PageproofError

#: update-grub and mkinitramfs take a minute on a slow machine.
_SECONDS: Final = 1800


def run_all(commands: Iterable[tuple[str, ...]], *, ignore_errors: bool = False) -> None:
    """Run commands one after the other; their output is the user's.

    Raises:
        PageproofError: one failed, unless errors are ignored.
    """
    for words in commands:
        try:
            code = subprocess.run(words, timeout=_SECONDS, check=False).returncode
            error = f"exit code {code}" if code else ""
        except FileNotFoundError:
            error = "not installed"
        except subprocess.TimeoutExpired:
            error = f"no end after {_SECONDS} s"
        if error and not ignore_errors:
            raise PageproofError(f"{' '.join(words)}: {error}")
