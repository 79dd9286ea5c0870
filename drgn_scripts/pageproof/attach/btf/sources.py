# SPDX-License-Identifier: GPL-2.0-or-later
"""Where BTF and symbols come from: the target's own memory, procfs and sysfs, or named files."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import drgn

from pageproof.attach.btf import kallsyms
from pageproof.attach.btf.format import MAX_BYTES, Btf
from pageproof.attach.btf.kallsyms import SymbolTable
from pageproof.errors import PageproofError
from pageproof.files.inputs import NotAFileError, open_file
from pageproof.find.bounded import DamagedError, list_entries
from pageproof.find.strings import bytes_of

SYSFS: Final = Path("/sys/kernel/btf")
_KALLSYMS: Final = Path("/proc/kallsyms")
_SYMBOL: Final = re.compile(r"^SYMBOL\((\w+)\)=([0-9a-f]{1,16})$", re.MULTILINE)
_OFFSET: Final = re.compile(r"^KERNELOFFSET=([0-9a-f]{1,16})$", re.MULTILINE)
#: Limits of an ELF file: its section headers, and the names of sections.
_MAX_SECTIONS: Final = 1 << 16
_MAX_NAMES_BYTES: Final = 1 << 20
_SECTION: Final = struct.Struct("<IIQQQQ24x")
#: Symbols whose addresses VMCOREINFO has. It has the value of other variables instead.
_IN_IMAGE: Final = ("_stext", "init_uts_ns")
_BANNER: Final = b"Linux version "
_MAX_MODULES: Final = 1 << 16
_EXACT: Final = "give the one of exactly this build"


@dataclass(frozen=True)
class Named:
    """Files that the user named with -s, by their content."""

    kernel: bytes | None = None
    kernel_path: str = ""
    system_map: Path | None = None


def sort_files(paths: Sequence[Path]) -> Named:
    """Read the BTF of the files that the user named.

    Raises:
        PageproofError: one has no BTF, or cannot be read.
    """
    kernel, kernel_path, system_map = None, "", None
    for path in paths:
        where = f"-s {path}"
        try:
            with open_file(path) as file:
                if file.read(4) != b"\x7fELF":
                    system_map = path
                    continue
                found = _section(file.fileno(), where)
        except NotAFileError as error:
            raise PageproofError(f"this is {error.kind}, not a file", where) from None
        except OSError as error:
            raise PageproofError(f"can't read it: {error.strerror}", where) from None
        if found is None:
            raise PageproofError(
                "this file has no BTF", where, "use one of a kernel with CONFIG_DEBUG_INFO_BTF"
            )
        kernel, kernel_path = found, where
    return Named(kernel, kernel_path, system_map)


def _section(file: int, where: str) -> bytes | None:
    """Return the section .BTF of an ELF file; None if it has none."""
    import os

    head = os.pread(file, 64, 0)
    if len(head) < 64 or head[4] != 2 or head[5] != 1:
        raise PageproofError("this ELF file is not 64-bit little-endian", where)
    (at,) = struct.unpack_from("<Q", head, 40)
    size, count, names = struct.unpack_from("<HHH", head, 58)
    if size != _SECTION.size or names >= count or count > _MAX_SECTIONS or at >> 62:
        raise PageproofError("its section headers are damaged", where)
    table = os.pread(file, size * count, at)
    sections = list(_SECTION.iter_unpack(table[: len(table) // size * size]))
    if len(sections) != count:
        raise PageproofError("it ends in its section headers: it is cut off", where)
    _, _, _, _, names_at, names_bytes = sections[names]
    if names_bytes > _MAX_NAMES_BYTES or names_at >> 62:
        raise PageproofError("its section headers are damaged", where)
    text = os.pread(file, names_bytes, names_at)
    for name, _, _, _, start, length in sections:
        if text[name : name + 5] == b".BTF\0":
            if length > MAX_BYTES or start >> 62:
                raise PageproofError(f"its BTF has {length} bytes", where)
            return os.pread(file, length, start)
    return None


def find_symbols(prog: drgn.Program, release: str, named: Named, *, local: bool) -> SymbolTable:
    """Return the kernel's symbols: from a named file, its own table, or procfs.

    Raises:
        PageproofError: there are none.
    """
    table = _find_symbols(prog, release, named, local)
    try:
        table.address("init_task")
    except LookupError:
        raise PageproofError(
            "this table of symbols has functions only (the kernel lacks CONFIG_KALLSYMS_ALL)",
            table.source,
            f"give its System.map with -s (Debian: /boot/System.map-{release}), or its vmlinux",
        ) from None
    return table


def _find_symbols(prog: drgn.Program, release: str, named: Named, local: bool) -> SymbolTable:
    text = prog["VMCOREINFO"].string_().decode("utf-8", "replace")
    places = {match[1]: int(match[2], 16) for match in _SYMBOL.finditer(text)}
    if named.system_map is not None:
        return _system_map(prog, named.system_map, text, places)
    if kallsyms.can_unpack(places):
        return kallsyms.unpack(prog.read, places)
    if local:
        with suppress(OSError):
            return kallsyms.parse(_KALLSYMS.read_bytes(), str(_KALLSYMS))
    raise PageproofError(
        f"no symbols of Linux {release}: its VMCOREINFO does not name kallsyms (since Linux 6.0)",
        "",
        f"give its System.map with -s (Debian: /boot/System.map-{release}), or run inside it",
    )


def is_system_map(path: Path) -> bool:
    """Return whether a file looks like a table of symbols. False if it cannot be read."""
    try:
        with open_file(path) as file:
            return re.match(rb"[0-9a-f]{8,16} [A-Za-z] \S+\n", file.read(1024)) is not None
    except (OSError, NotAFileError):
        return False


def _system_map(prog: drgn.Program, path: Path, text: str, places: dict[str, int]) -> SymbolTable:
    """Read a System.map, moved by KASLR, and check it against the kernel's memory."""
    where = f"-s {path}"
    shift = _OFFSET.search(text)
    with open_file(path) as file:
        table = kallsyms.parse(file.read((256 << 20) + 1), where, int(shift[1], 16) if shift else 0)
    for name in (*_IN_IMAGE, "linux_banner", "_end"):
        try:
            found = table.address(name)
        except LookupError:
            raise PageproofError(
                f"this System.map has no {name}: it is cut off, or another file", where, _EXACT
            ) from None
        address = places.get(name, found)
        if found != address:
            raise PageproofError(
                f"wrong System.map: it has {name} at {found:#x}, the kernel at {address:#x}",
                where,
                _EXACT,
            )
    # Another build of the same version has _stext, and perhaps init_uts_ns, at the same place.
    banner = table.address("linux_banner")
    with suppress(drgn.FaultError):
        if prog.read(banner, len(_BANNER)) != _BANNER:
            raise PageproofError(
                f"wrong System.map: the kernel has no linux_banner at {banner:#x}", where, _EXACT
            )
    return table


def find_kernel(
    prog: drgn.Program, symbols: SymbolTable, named: Named, *, local: bool
) -> tuple[Btf, str]:
    """Return the kernel's BTF and words for its source.

    Raises:
        PageproofError: there is none, or it is damaged.
    """
    if named.kernel is not None:
        _compare(prog, symbols, named.kernel, named.kernel_path)
        return Btf(named.kernel, named.kernel_path), named.kernel_path
    if local:
        with suppress(OSError):
            return Btf((SYSFS / "vmlinux").read_bytes(), str(SYSFS / "vmlinux")), "sysfs"
    try:
        start, end = symbols.address("__start_BTF"), symbols.address("__stop_BTF")
    except LookupError:
        raise PageproofError(
            "the kernel has no BTF (CONFIG_DEBUG_INFO_BTF)", "", "install its debug package"
        ) from None
    where = f"BTF at {start:#x}"
    if not 0 < end - start <= MAX_BYTES:
        raise PageproofError(f"the BTF is damaged: it has {end - start} bytes", where)
    try:
        data = prog.read(start, end - start)
    except drgn.FaultError as error:
        raise PageproofError(
            f"the kernel's BTF can't be read: {error}", where, "give its vmlinux with -s"
        ) from None
    return Btf(data, where), "the target"


def _compare(prog: drgn.Program, symbols: SymbolTable, data: bytes, where: str) -> None:
    """Raise an error if a file's BTF is not the kernel's own."""
    try:
        start, end = symbols.address("__start_BTF"), symbols.address("__stop_BTF")
        same = end - start == len(data) and prog.read(start, len(data)) == data
    except LookupError:
        same = False
    except drgn.FaultError:
        same = True  # a dump may omit it; the length is right
    if not same:
        raise PageproofError(
            "wrong vmlinux: its BTF is not the one in the kernel's memory",
            where,
            "give the vmlinux of exactly this build",
        )


def find_module(prog: drgn.Program, name: str, base: Btf, *, local: bool) -> Btf | None:
    """Return the BTF of a loaded module; None if it has none.

    Raises:
        PageproofError: it is damaged.
    """
    if local:
        with suppress(OSError):
            return Btf((SYSFS / name).read_bytes(), str(SYSFS / name), base)
        return None
    try:
        for found, data, length in _in_memory(prog):
            if found == name.encode() and 0 < length <= MAX_BYTES:
                return Btf(prog.read(data, length), f"BTF of {name} at {data:#x}", base)
    except (LookupError, AttributeError, drgn.FaultError, DamagedError):
        return None
    return None


def _in_memory(prog: drgn.Program) -> Iterator[tuple[bytes, int, int]]:
    """Yield (name, address, length in bytes) of each module's BTF.

    The kernel keeps a copy: ``struct module.btf_data`` is gone once the module runs
    (kernel/bpf/btf.c: btf_module_notify(), since 5.11).
    """
    for each in list_entries(
        "struct btf_module", prog["btf_modules"].address_of_(), "list", _MAX_MODULES
    ):
        btf = each.btf
        yield bytes_of(btf.name), int(btf.data.value_()), int(btf.data_size.value_())
