# SPDX-License-Identifier: GPL-2.0-or-later
"""``verify`` for programs: what a driver author's own test calls."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pageproof.errors import Exit, PageproofError
from pageproof.model.asked import KernelSide, VerifyAsked, expectations

if TYPE_CHECKING:
    from pageproof.model import Report

#: Told of each verification.
_watchers: list[Callable[[Verification], None]] = []


@dataclass(frozen=True, repr=False)
class Verification:
    """What ``verify`` says. It is true if everything that was asked was decided and is sound.

    ``str()`` gives the text that the command prints, ``repr()`` the gist in one line.
    """

    report: Report

    def __bool__(self) -> bool:
        return self.report.summary.exit_code == Exit.SOUND

    def __str__(self) -> str:
        from pageproof.render.table import to_text

        return to_text(self.report, width=120)

    def __repr__(self) -> str:
        from pageproof.render.phrases import gist
        from pageproof.render.printable import printable

        return f"<pageproof: {printable(gist(self.report))}>"


def verify(
    *,
    qemu: str | os.PathLike[str] | None = None,
    core: str | os.PathLike[str] | None = None,
    symbols: Iterable[str | os.PathLike[str]] = (),
    kinds: Iterable[str] = (),
    device: str | None = None,
    pid: int | None = None,
    user: int | None = None,
    kernel: str | int | None = None,
    pages: str | None = None,
    length: int | None = None,
    expect: Iterable[str] = (),
) -> Verification:
    """Prove page by page that kernel and user see the same frames.

    Args:
        qemu: QMP socket of a guest.
        core: a vmcore. With neither it is the live kernel.
        symbols: files with debug info (vmlinux, ``*.ko``) beside what drgn finds.
        kinds: regions of these kinds only.
        device: only what is mapped of this device, by path or MAJOR:MINOR.
        pid: only this process.
        user: an address in it, instead of what finders find.
        kernel: the kernel address that it is compared with, or that of a device's first page;
            or an expression for it.
        pages: an expression for the list of the kernel's pages instead.
        length: bytes from there on.
        expect: what the author of the device's driver intends: "read-only", "no-child", "no-exec".

    Raises:
        PageproofError: the target can't be opened, or what was asked makes no sense.
    """
    asked = VerifyAsked(
        kinds=tuple(kinds),
        pid=pid,
        device=device,
        user=user,
        kernel=KernelSide(kernel, pages, length),
        expected=expectations(expect),
    )
    if qemu is not None and core is not None:
        raise PageproofError("a target is a guest or a vmcore, and not both")
    from pageproof.attach import Wanted, open_target
    from pageproof.attach.faults import faults_as_errors
    from pageproof.commands.regions import check_kinds
    from pageproof.commands.verify import verify as run
    from pageproof.find.umh_shm.region import MODULE

    check_kinds(asked.kinds)
    wanted = Wanted(
        qemu=None if qemu is None else os.fspath(qemu),
        core=None if core is None else Path(core),
        symbols=tuple(Path(one) for one in symbols),
    )
    target = open_target(wanted, [MODULE])
    with faults_as_errors(target.facts.where):
        verification = Verification(run(target, asked, lambda said: None))
    del target
    # A program holds objects of its own in its cache. Only when it is collected does it hang up,
    # and QEMU's monitor serves one client at a time.
    gc.collect()
    for watch in _watchers:
        watch(verification)
    return verification


@contextmanager
def watched(watch: Callable[[Verification], None]) -> Iterator[None]:
    """Have a function told of each verification meanwhile."""
    _watchers.append(watch)
    try:
        yield
    finally:
        _watchers.remove(watch)
