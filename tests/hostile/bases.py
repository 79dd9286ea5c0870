# SPDX-License-Identifier: GPL-2.0-or-later
"""Sound dumps of small guests, from which the cases are made. They are kept in the lab's cache.

QEMU writes the raw image before the panic; the crash kernel's makedumpfile writes the other formats
after it. The LiME image is the raw one with LiME's headers.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hostile.places import Places, find_places
from machine import Machine, Region, Setup
from unit.attach.images import header

from pageproof_lab.guest import boot, qemu
from pageproof_lab.guest.guest import monitor
from pageproof_lab.images import build, kernels
from pageproof_lab.paths import cache_dir, cache_lock
from pageproof_lab.proc import run

#: Part of the name of the directory: a change here, or in places.py, makes new dumps.
VERSION = 1
#: VMAs in a maple tree, symbols named by VMCOREINFO; and in a list, with a System.map.
KERNELS = ("6.12", "5.10")
FORMS = ("elf", "lzo", "flat", "raw", "lime")
MEMORY_MIB = 512
_MAKEDUMPFILE = ("elf", "lzo", "flat")
_CHUNK = 1 << 20
_MAP = "System.map"


@dataclass(frozen=True, eq=False)
class Base:
    """A sound dump.

    Attributes:
        symbols: vmlinux and umh_shm.ko.
        options: for debug info, so that types come from BTF, which takes a third of DWARF's time.
        pid: the helper of umh_shm, which maps the module's page.
        address: where the helper maps it.
        places: where this dump has the kernel's structures, by physical address.
    """

    kernel: str
    form: str
    path: Path
    symbols: tuple[Path, Path]
    options: tuple[str, ...]
    pid: int
    address: int
    places: Places

    def __str__(self) -> str:
        return f"{self.kernel}-{self.form}"


@cache
def bases(kernel: str) -> dict[str, Base]:
    """Return format -> the dump of a kernel; boots a guest if there is none yet."""
    here = kernels.fetch(kernel)
    directory = cache_dir() / "hostile" / f"{here.release}-{VERSION}"
    with cache_lock(f"hostile-{kernel}"):
        if not (directory / "facts.json").exists():
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir(parents=True)
            _make(here, directory)
    facts = json.loads((directory / "facts.json").read_text())
    return {
        form: Base(
            kernel,
            form,
            directory / form,
            (Path(facts["vmlinux"]), Path(facts["module"])),
            ("--debug-info", "btf", *(("-s", str(directory / _MAP)) if facts["needs_map"] else ())),
            facts["pid"],
            facts["address"],
            facts["places"]["raw" if form in ("raw", "lime") else "elf"],
        )
        for form in FORMS
    }


def _make(here: kernels.Kernel, directory: Path) -> None:
    """Boot a guest with shared memory, write its memory, let it panic, and write its dumps."""
    built = build.build(here)
    # makedumpfile does not recognise free pages of newer kernels; as zeros they take no room.
    options = qemu.Options(memory_mib=MEMORY_MIB, cpus=1, append="init_on_free=1")
    with boot.boot(here, options, built=built) as guest:
        machine = Machine(Setup(here.name, 0, kaslr=True, pti=False), guest, here, built)
        machine.load(Region("pages", "remap", 4), allow_any=True)
        machine.map("--pages", "3", "--first", "1", "--write", "0", "4000", "c0ffee")
        pid, start = machine.helper_address()
        ranges = guest.check("cat", "/proc/iomem")
        with closing(monitor(guest)) as control:
            control.call("stop")
            raw = directory / "raw"
            control.call("pmemsave", 300, val=0, size=MEMORY_MIB << 20, filename=str(raw))
            control.call("cont")
        for form, path in guest.crash(directory, _MAKEDUMPFILE).items():
            path.replace(directory / form)
    for name in ("raw", *_MAKEDUMPFILE):
        make_sparse(directory / name)
    with (directory / "lime").open("wb") as file:
        for piece in _lime(directory / "raw", ranges):
            file.write(piece)
    make_sparse(directory / "lime")
    places = {name: find_places(directory / name, here.vmlinux) for name in ("raw", "elf")}
    symbols = run(["nm", "--numeric-sort", here.vmlinux])
    (directory / _MAP).write_text(symbols)
    facts = {
        # VMCOREINFO names kallsyms since Linux 6.0 (5fd8fea935a1).
        "needs_map": b"SYMBOL(kallsyms_names)" not in read_head(directory / "elf"),
        "vmlinux": str(here.vmlinux),
        "module": str(built.module),
        "pid": int(pid),
        "address": int(start, 16),
        "places": places,
    }
    (directory / "facts.json").write_text(json.dumps(facts))


def read_head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(1 << 20)


def _lime(raw: Path, ranges: str) -> Iterator[bytes]:
    """Yield the image as LiME writes it: a header before each range of System RAM."""
    with raw.open("rb") as file:
        for start, end in re.findall(r"^([0-9a-f]+)-([0-9a-f]+) : System RAM$", ranges, re.M):
            first, last = int(start, 16), int(end, 16)
            yield header(b"EMiL", 1, first, last + 1 - first)
            file.seek(first)
            for at in range(first, last + 1, _CHUNK):
                yield file.read(min(_CHUNK, last + 1 - at))


def make_sparse(path: Path) -> None:
    """Replace a file by one whose zeros are holes."""
    part = path.with_suffix(".part")
    copy_sparse(path, part)
    part.replace(path)


def copy_sparse(path: Path, into: Path) -> None:
    """Copy a file; pages of zeros become holes."""
    with path.open("rb", buffering=0) as old, into.open("wb", buffering=0) as new:
        size = os.fstat(old.fileno()).st_size
        new.truncate(size)
        at = 0
        while at < size:
            try:
                at = os.lseek(old.fileno(), at, os.SEEK_DATA)
            except OSError:  # no more data
                break
            data = os.pread(old.fileno(), 1 << 16, at)
            if data.count(0) != len(data):
                os.pwrite(new.fileno(), data, at)
            at += len(data)
