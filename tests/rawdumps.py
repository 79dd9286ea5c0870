# SPDX-License-Identifier: GPL-2.0-or-later
"""For each kernel one guest that shares memory of all kinds: QEMU's dumps, /proc/vmcore as it is,
and the last live report. They are made once, and kept in build/formats.
"""

import json
import os
import shutil
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import conftest
from machine import ONE_A_KERNEL, ROOT, Json, Machine, Region
from sharing import share_everything

from pageproof_lab import LabError
from pageproof_lab.guest import boot, qemu
from pageproof_lab.guest.guest import monitor
from pageproof_lab.images import build, kernels
from pageproof_lab.images.roots import guest_root

KEPT = ROOT / "build/formats"
#: Small, because each format is made of the whole memory. The crash kernel has 128 MiB of it.
MEMORY_MIB = 512
QEMU_FORMS = ("elf", "kdump-zlib", "kdump-lzo", "kdump-snappy", "win-dmp")


@dataclass(frozen=True)
class RawDump:
    """The dumps of a guest.

    Attributes:
        directory: where they are.
        copy: /proc/vmcore, copied.
        live: report of verify on all regions, a moment before the panic.
        symbols: options with the debug info.
        by_qemu: format -> a dump, or the message with which QEMU refused to write it.
    """

    directory: Path
    copy: Path
    live: Json
    symbols: tuple[str, ...]
    by_qemu: dict[str, Path | str]


def raw_dump(kernel: str) -> RawDump:
    """Return the dumps of a kernel's guest; boot it if there are none yet."""
    directory = KEPT / kernel
    facts = directory / "facts.json"
    if not facts.exists():
        part = directory.with_name(f"{kernel}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        _make(kernel, part)
        part.rename(directory)
    read = json.loads(facts.read_text())
    return RawDump(
        directory,
        directory / "vmcore.copy",
        read["live"],
        tuple(read["symbols"]),
        {
            form: directory / f"qemu.{form}" if said is None else said
            for form, said in read["qemu"].items()
        },
    )


def _make(name: str, into: Path) -> None:
    setup = replace(next(one for one in ONE_A_KERNEL if one.kernel == name), cpus=1)
    kernel = kernels.fetch(name)
    built = build.build(kernel)
    options = qemu.Options(
        paging=setup.paging,
        kaslr=setup.kaslr,
        pti=setup.pti,
        cpus=setup.cpus,
        memory_mib=MEMORY_MIB,
        append=" ".join(conftest.parameters(setup)),
    )
    with (
        boot.boot(kernel, options, built=built) as guest,
        Machine(setup, guest, kernel, built) as it,
    ):
        guest.check("sh", "-c", f"echo {10**9} > {conftest.KHUGEPAGED}/scan_sleep_millisecs")
        it.load(Region("kzalloc", "remap", 4), allow_any=True)
        # No page of zeros: an ELF dump has a hole for 256 or more adjacent pages that it omits.
        writes = [word for page in "012" for word in ("--write", page, "4000", "c0ffee")]
        it.map("--pages", "3", "--first", "1", *writes)
        share_everything(it)
        by_qemu = _dumps_by_qemu(it, into)
        live = it.outside("verify", "--format", "json")
        guest.crash(into, ("copy",), timeout_seconds=900)
        facts = {"live": live.report, "symbols": it.symbols, "qemu": by_qemu}
        (into / "facts.json").write_text(json.dumps(facts))


def _dumps_by_qemu(it: Machine, into: Path) -> dict[str, str | None]:
    said: dict[str, str | None] = {}
    with closing(monitor(it.guest)) as control:
        control.call("stop")
        for form in QEMU_FORMS:
            file = into / f"qemu.{form}"
            try:
                control.call(
                    *("dump-guest-memory", 900),
                    paging=False,
                    protocol=f"file:{file}",
                    format=form,
                )
                said[form] = None
            except LabError as error:
                said[form] = str(error)
                file.unlink(missing_ok=True)
        control.call("cont")
    return said


def makedumpfile() -> Sequence[str]:
    """Return the command: that of PAGEPROOF_MAKEDUMPFILE, or the lab's own, without chroot."""
    given = os.environ.get("PAGEPROOF_MAKEDUMPFILE")
    if given:
        return given.split()
    root = guest_root()
    libraries = root / "usr/lib/x86_64-linux-gnu"
    loader = root / "lib64/ld-linux-x86-64.so.2"
    return str(loader), "--library-path", str(libraries), str(root / "usr/bin/makedumpfile")
