# SPDX-License-Identifier: GPL-2.0-or-later
"""``verify`` as a Python function, for tests of a driver."""

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

#: Called with each verification.
_watchers: list[Callable[[Verification], None]] = []


@dataclass(frozen=True, repr=False)
class Verification:
    """Result of :func:`verify`. It is true if everything requested was decided and is sound.

    ``str()`` gives the text that the command prints, and ``repr()`` a summary in one line.
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
    core: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | None = None,
    symbols: Iterable[str | os.PathLike[str]] = (),
    debug_info: str = "auto",
    kinds: Iterable[str] = (),
    device: str | None = None,
    pid: int | None = None,
    user: int | None = None,
    kernel: str | int | None = None,
    pages: str | None = None,
    length: int | None = None,
    expect: Iterable[str] = (),
) -> Verification:
    """Prove page by page that a kernel mapping and a user mapping have the same frames.

    It takes seconds, most of them for debug info. The live kernel needs root, and a guest needs the
    rights of QEMU's user.

    Args:
        qemu: QMP socket of a guest.
        core: path of a vmcore, or the paths of all parts of a split one. Without ``qemu`` and
            ``core`` the target is the live kernel.
        symbols: files with debug info (vmlinux, ``*.ko``) in addition to those that drgn finds.
        debug_info: "dwarf", "btf" (the kernel's own), or "auto": BTF if there is no DWARF.
        kinds: check regions of these kinds only.
        device: check mappings of this device only, given by path or MAJOR:MINOR.
        pid: check this process only.
        user: address in the process ``pid``, instead of the regions that finders find.
        kernel: kernel address to compare ``user`` with, or the address of a device's first page; or
            an expression for it.
        pages: expression for the list of the kernel's pages, instead of ``kernel``.
        length: number of bytes to check from there.
        expect: intentions of the driver's author: "read-only", "no-child", "no-exec".

    Returns:
        The verification, which holds the report.

    Raises:
        PageproofError: the target cannot be opened, or the arguments are not valid.
    """
    asked = VerifyAsked(
        kinds=tuple(kinds),
        pid=pid,
        device=device,
        user=user,
        kernel=KernelSide(kernel, pages, length),
        expected=expectations(expect),
    )
    cores = _paths(core)
    if qemu is not None and cores:
        raise PageproofError("a target is a guest or a vmcore, and not both")
    from pageproof.attach import DebugInfo, Wanted, open_target
    from pageproof.attach.faults import faults_as_errors
    from pageproof.commands.regions import check_kinds
    from pageproof.commands.verify import verify as run
    from pageproof.find.umh_shm.region import MODULE

    check_kinds(asked.kinds)
    forms = [str(one) for one in DebugInfo]
    if debug_info not in forms:
        raise PageproofError(
            f"unknown debug info {debug_info!r}; choose from {', '.join(forms)}", "debug_info"
        )
    wanted = Wanted(
        qemu=None if qemu is None else os.fspath(qemu),
        core=cores[0] if cores else None,
        other_parts=cores[1:],
        symbols=tuple(Path(one) for one in symbols),
        debug_info=DebugInfo(debug_info),
    )
    target = open_target(wanted, [MODULE])
    with faults_as_errors(target.facts.where):
        verification = Verification(run(target, asked, lambda said: None))
    del target
    # The program is in a reference cycle with the objects in its cache. Collecting it closes the
    # connection, and QEMU's monitor serves one client at a time.
    gc.collect()
    for watch in _watchers:
        watch(verification)
    return verification


def _paths(
    core: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | None,
) -> tuple[Path, ...]:
    if core is None:
        return ()
    if isinstance(core, (str, os.PathLike)):
        return (Path(core),)
    return tuple(Path(one) for one in core)


@contextmanager
def watched(watch: Callable[[Verification], None]) -> Iterator[None]:
    """Call a function for each verification during the block."""
    _watchers.append(watch)
    try:
        yield
    finally:
        _watchers.remove(watch)
