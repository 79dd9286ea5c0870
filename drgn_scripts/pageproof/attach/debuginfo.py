# SPDX-License-Identifier: GPL-2.0-or-later
"""Debug info that drgn finds or the user names. A wrong file is always an error or a note."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

import drgn

from pageproof.errors import PageproofError
from pageproof.files.inputs import NotAFileError, open_file
from pageproof.find.kernel.debuginfo import load_module_debug_info


class DebugInfo(StrEnum):
    """The source of types and symbols."""

    AUTO = "auto"
    DWARF = "dwarf"
    BTF = "btf"


class _NoDwarfError(PageproofError):
    """The kernel has no DWARF here, so that BTF is the next to try."""


def load_debug_info(
    prog: drgn.Program,
    release: str,
    symbols: Sequence[Path],
    modules: Sequence[str],
    form: DebugInfo = DebugInfo.AUTO,
) -> tuple[str, ...]:
    """Load debug info of the kernel and of the named modules. More would take more time.

    Args:
        prog: attached to a kernel.
        release: the kernel's release, for messages.
        symbols: files that the user named.
        modules: names of modules whose types are needed, if the target has loaded them.
        form: what to use. AUTO is DWARF, or BTF if there is no DWARF.

    Returns:
        Notes for the user.

    Raises:
        PageproofError: a file cannot be used or belongs to another kernel, or the kernel has no
            debug info.
    """
    if form is DebugInfo.BTF or (form is DebugInfo.AUTO and _has_system_map(symbols)):
        return _use_btf(prog, release, symbols, modules)
    try:
        return _load_dwarf(prog, release, symbols, modules)
    except _NoDwarfError as missing:
        if form is DebugInfo.DWARF:
            raise
        try:
            return _use_btf(prog, release, symbols, modules)
        except PageproofError as error:
            raise PageproofError(
                f"{missing.what}, and {error.what}", missing.where or error.where, missing.remedy
            ) from None


def _has_system_map(symbols: Sequence[Path]) -> bool:
    """Return whether the user named a System.map, of which DWARF has no use."""
    if not symbols:
        return False
    from pageproof.attach.btf import is_system_map

    return any(map(is_system_map, symbols))


def _use_btf(
    prog: drgn.Program, release: str, symbols: Sequence[Path], modules: Sequence[str]
) -> tuple[str, ...]:
    """Use BTF for the kernel, and DWARF for modules that were built without BTF."""
    from pageproof.attach.btf import use_btf  # here, because it is seldom needed

    files = {path: _build_id(path) for path in symbols if ".ko" in path.suffixes}
    notes = use_btf(prog, release, [path for path in symbols if path not in files])
    _look_in_the_lab(prog)
    if files:
        with suppress(drgn.MissingDebugInfoError):
            prog.load_debug_info([str(path) for path in files])
    load_module_debug_info(prog, modules)
    return (*notes, *_notes_on_unused(prog, files))


def _load_dwarf(
    prog: drgn.Program, release: str, symbols: Sequence[Path], modules: Sequence[str]
) -> tuple[str, ...]:
    build_ids = {path: _build_id(path) for path in symbols}
    _look_in_the_lab(prog)
    with suppress(drgn.MissingDebugInfoError):  # checked below, file by file
        prog.load_debug_info([str(path) for path in symbols], main=True)
    main = _main_module(prog)
    kernel_id = main.build_id.hex() if main is not None and main.build_id else ""
    for path, found in build_ids.items():
        if ".ko" not in path.suffixes and found != kernel_id:
            raise PageproofError(
                f"wrong vmlinux for Linux {release}: its build ID is {found or 'missing'}, "
                f"the kernel's is {kernel_id or 'not known'}",
                f"-s {path}",
                "give the vmlinux of exactly this build",
            )
    if main is None or main.wants_debug_file():
        raise _NoDwarfError(
            f"no debug info for Linux {release}",
            f"build ID {kernel_id}" if kernel_id else "",
            f"install the kernel's debug package (Debian: linux-image-{release}-dbg) "
            "or give its vmlinux with -s",
        )
    load_module_debug_info(prog, modules)
    return _notes_on_unused(prog, build_ids)


def _look_in_the_lab(prog: drgn.Program) -> None:
    """Add the lab's debug info by build ID (lab/pageproof_lab/images/debuginfo.py)."""
    cache = os.environ.get("XDG_CACHE_HOME")
    path = (Path(cache) if cache else Path.home() / ".cache") / "pageproof" / "debug"
    if str(path) not in prog.debug_info_options.directories:
        prog.debug_info_options.directories += (str(path),)


def _main_module(prog: drgn.Program) -> drgn.Module | None:
    try:
        return prog.main_module()
    except LookupError:
        return None


def _build_id(path: Path) -> str:
    """Return the build ID of a file with debug info as hex; "" if it has none."""
    where = f"-s {path}"
    try:
        with open_file(path) as file:
            magic = file.read(4)
    except NotAFileError as error:
        raise PageproofError(f"this is {error.kind}, not a file", where) from None
    except OSError as error:
        raise PageproofError(f"can't read the debug info: {error.strerror}", where) from None
    if magic != b"\x7fELF":
        raise PageproofError(
            "this is not an ELF file",
            where,
            "give a vmlinux (not a vmlinuz or bzImage) or an unpacked .ko with DWARF",
        )
    probe = drgn.Program()
    module = probe.extra_module(str(path), create=True)
    try:
        module.try_file(str(path))
    except Exception as error:
        raise PageproofError(f"can't use the debug info: {error}", where) from None
    if module.wants_debug_file():
        kind = PageproofError if ".ko" in path.suffixes else _NoDwarfError
        raise kind(
            "this file has no debug info (DWARF)",
            where,
            "give one from the kernel's -dbg package, or build with CONFIG_DEBUG_INFO",
        )
    return module.build_id.hex() if module.build_id else ""


def _notes_on_unused(prog: drgn.Program, build_ids: dict[Path, str]) -> tuple[str, ...]:
    """Return a note for each file that the user named and drgn silently ignored.

    Raises:
        PageproofError: the target has loaded another build of the module.
    """
    used = {
        Path(name).resolve()
        for module in prog.modules()
        for name in (module.debug_file_path, module.loaded_file_path)
        if name is not None
    }
    loaded = {module.name: module for module in prog.modules()}
    notes = []
    for path, found in build_ids.items():
        if path.resolve() in used:
            continue
        module = loaded.get(path.name.split(".")[0].replace("-", "_"))
        wanted = module.build_id.hex() if module is not None and module.build_id else ""
        if wanted and wanted != found:
            raise PageproofError(
                f"wrong file for the loaded module {path.stem}: its build ID is "
                f"{found or 'missing'}, the module's is {wanted}",
                f"-s {path}",
                "give the .ko that was loaded",
            )
        notes.append(f"-s {path} belongs to nothing that is loaded and is not used")
    return tuple(notes)
