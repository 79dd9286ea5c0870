# SPDX-License-Identifier: GPL-2.0-or-later
"""Run pageproof on damaged copies of a vmcore or an image: it must exit as documented.

A run is a command on a copy of a dump that is damaged in one place. A seed chooses both. Any
verdict is fine. Exit code 70, a signal, a traceback, and more memory or time than the limits are
failures.

As a program: ``dumpdamage.py DUMP VMLINUX FIRST_SEED RUNS`` prints the failures.
"""

import mmap
import os
import random
import resource
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pageproof.attach.dumpfile import inspect_dump

MEMORY_BYTES = 6 << 30
SECONDS = 180
PAGE = 4096

COMMANDS: tuple[tuple[str, ...], ...] = (
    ("walk", "_text"),
    ("verify",),
    ("verify", "--format", "json"),
    ("maps", "--pid", "1"),
    ("whatis", "init_task", "--format", "json"),
    ("regions",),
    ("kmap",),
    ("alias", "_text"),
    ("audit",),
)

#: Kernel variables that commands need, and how many bytes of each may be damaged.
VARIABLES = {
    "init_mm": 1024,
    "__pte2cachemode_tbl": 16,
    "init_task": 8192,
    "modules": 16,
    "boot_cpu_data": 64,
    "pgtable_l5_enabled": 4,
    "vmemmap_base": 8,
    "page_offset_base": 8,
    "mem_section": 8,
    "slab_caches": 16,
    "init_pid_ns": 128,
    "vmap_nodes": 8,
    "node_data": 64,
    "init_top_pgt": 4096,
}

Change = Callable[[mmap.mmap, random.Random], str]


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        what: the damage and the command.
        code: the exit code; negative for a signal.
        out: standard output and standard error.
    """

    what: str
    code: int
    out: str

    @property
    def wrong(self) -> str | None:
        """Why this end is not a documented one; None if it is."""
        if self.code not in (0, 1, 2, 3):
            return f"exit code {self.code}"
        if "Traceback" in self.out or "bug in pageproof" in self.out:
            return "traceback"
        if self.code == 2 and "pageproof: error: " not in self.out:
            return "exit code 2 without a message"
        return None


def flip(data: mmap.mmap, at: int, rng: random.Random) -> str:
    bit = rng.randrange(8)
    data[at] ^= 1 << bit
    return f"bit {bit} of byte {at}"


def somewhere(name: str, start: int, end: int) -> Change:
    """Return damage in a part of a file: a bit, a few bytes, or a block of zeros."""

    def change(data: mmap.mmap, rng: random.Random) -> str:
        at = rng.randrange(start, max(end, start + 1))
        kind = rng.random()
        if kind < 0.6:
            return f"{name}: {flip(data, at, rng)}"
        length = 8 if kind < 0.8 else min(PAGE, end - at)
        length = min(length, len(data) - at)
        data[at : at + length] = rng.randbytes(length) if kind < 0.9 else bytes(length)
        return f"{name}: {length} bytes at {at}"

    return change


def ends(data: mmap.mmap, rng: random.Random) -> str:
    """Cut the file somewhere, or within its last page."""
    length = rng.choice((rng.randrange(1, len(data)), len(data) - rng.randrange(1, PAGE)))
    data.resize(length)
    return f"cut at {length}"


def told(start: int, end: int) -> Change:
    """Return damage of a value in VMCOREINFO's text. The other lines can still be read."""

    def change(data: mmap.mmap, rng: random.Random) -> str:
        text = bytes(data[start:end])
        lines = [one for one in text.split(b"\n") if b"=" in one]
        line = rng.choice([*lines, *(one for one in lines if one.startswith(b"OSRELEASE"))])
        at = start + text.index(line) + line.index(b"=") + 1
        rest = len(line) - line.index(b"=") - 1
        if rest <= 0:
            return "nothing"
        at += rng.randrange(rest)
        data[at] = rng.choice((0xFF, 0, ord("9"), ord("-"), ord("f"), 0x1B, data[at] ^ 1))
        return f"VMCOREINFO: {bytes(data[start + text.index(line) :][: len(line)])!r}"

    return change


def changes(dump: Path, variables: dict[str, int]) -> list[Change]:
    """Return the ways to damage a dump.

    Args:
        dump: an undamaged one.
        variables: name -> physical address, for an ELF dump or a raw image.
    """
    form = inspect_dump(dump)
    with dump.open("rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    info = data.find(b"OSRELEASE=")
    found: list[Change] = [ends, told(info, info + 3000)]
    if form.image is not None:
        found.append(somewhere("memory", 0, len(data)))
        if form.format == "raw":
            found += [everywhere(name, [at], VARIABLES[name]) for name, at in variables.items()]
        else:
            found += [somewhere("header", 0, 32), somewhere("first chunks", 32, 1 << 20)]
    elif form.elf_map is not None:
        phoff, phnum = struct.unpack_from("<Q", data, 32)[0], struct.unpack_from("<H", data, 56)[0]
        found += [
            somewhere("ELF header", 0, 64),
            somewhere("program headers", phoff, phoff + phnum * 56),
            somewhere("notes", phoff + phnum * 56, info + 3000),
            somewhere("memory", info + 3000, len(data)),
        ]
        for name, paddr in variables.items():
            at = file_offsets(data, paddr)
            if at:
                found.append(everywhere(name, at, VARIABLES[name]))
    elif form.format == "kdump":
        sub_blocks, bitmap_blocks = struct.unpack_from("<iI", data, 432)
        bitmap_at = (1 + sub_blocks) * PAGE
        descriptors_at = bitmap_at + bitmap_blocks * PAGE
        (data_at,) = struct.unpack_from("<Q", data, descriptors_at)
        found += [
            somewhere("header", 0, 464),
            somewhere("sub header", PAGE, PAGE + 104),
            somewhere("notes", PAGE + 104, bitmap_at),
            somewhere("bitmap 2", bitmap_at + bitmap_blocks // 2 * PAGE, descriptors_at),
            somewhere("descriptors", descriptors_at, data_at),
            somewhere("data", data_at, len(data)),
            split,
        ]
    else:
        found += [
            somewhere("flattened header", 0, 64),
            somewhere("first records", PAGE, PAGE + 20000),
            somewhere("last records", len(data) - PAGE, len(data)),
            somewhere("records", PAGE, len(data)),
        ]
    data.close()
    return found


def file_offsets(data: mmap.mmap, paddr: int) -> list[int]:
    """Return the offsets of a physical address in an ELF dump. The kernel image is in it twice."""
    (phoff,), (phnum,) = struct.unpack_from("<Q", data, 32), struct.unpack_from("<H", data, 56)
    found = []
    for number in range(phnum):
        kind, _, offset, _, start, length = struct.unpack_from("<IIQQQQ", data, phoff + number * 56)
        if kind == 1 and start <= paddr < start + length:
            found.append(offset + paddr - start)
    return found


def everywhere(name: str, offsets: list[int], length: int) -> Change:
    """Return damage of a variable in all its copies."""

    def change(data: mmap.mmap, rng: random.Random) -> str:
        what = somewhere(name, offsets[0], offsets[0] + length)(data, rng)
        for other in offsets[1:]:
            data[other : other + length] = data[offsets[0] : offsets[0] + length]
        return what

    return change


def split(data: mmap.mmap, rng: random.Random) -> str:
    """Turn it into one file of a split dump: all bitmaps, but descriptors of some pages only."""
    sub_blocks, bitmap_blocks = struct.unpack_from("<iI", data, 432)
    half = bitmap_blocks // 2 * PAGE
    descriptors_at = (1 + sub_blocks + bitmap_blocks) * PAGE
    bits = int.from_bytes(data[descriptors_at - half : descriptors_at], "little")
    (pages,) = struct.unpack_from("<Q", data, PAGE + 96)
    edges = [0, pages // 4, pages // 2, pages * 3 // 4, pages]
    first, end = sorted(rng.sample(rng.choice([edges[1:], edges[:-1]]), 2))
    before = (bits & ((1 << first) - 1)).bit_count()
    count = (bits >> first & ((1 << end - first) - 1)).bit_count()
    table = data[descriptors_at + before * 24 : descriptors_at + (before + count) * 24]
    # As makedumpfile does it: each part has room for the descriptors of all pages.
    zeros = descriptors_at + bits.bit_count() * 24
    (old_zeros,) = struct.unpack_from("<Q", data, descriptors_at)
    written, parts = bytearray(), [bytes(PAGE)]
    at = zeros + PAGE
    for offset, size, flags, more in struct.iter_unpack("<QIIQ", table):
        if offset == old_zeros:
            written += struct.pack("<QIIQ", zeros, size, flags, more)
        else:
            written += struct.pack("<QIIQ", at, size, flags, more)
            parts.append(data[offset : offset + size])
            at += size
    struct.pack_into("<i", data, PAGE + 12, 1)
    struct.pack_into("<QQ", data, PAGE + 80, first, end)
    rest = bytes(written).ljust(zeros - descriptors_at, b"\0") + b"".join(parts)
    data.resize(descriptors_at + len(rest))
    data[descriptors_at:] = rest
    return f"split: pages {first} to {end}"


@contextmanager
def damaged(dump: Path, into: Path, change: Change, seed: int) -> Iterator[str]:
    """Make a damaged copy and remove it at the end; yields a description of the damage."""
    shutil.copyfile(dump, into)
    with into.open("r+b") as file, mmap.mmap(file.fileno(), 0) as data:
        what = change(data, random.Random(seed))
    try:
        yield what
    finally:
        into.unlink()


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def ask(command: Sequence[str], what: str, env: dict[str, str]) -> Outcome:
    """Run a command with limited memory and time."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pageproof", "-v", *command],
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
            preexec_fn=_limit,
        )
        code, out = done.returncode, done.stdout + done.stderr
    except subprocess.TimeoutExpired:
        code, out = 124, b""
    return Outcome(what, code, out.decode(errors="replace"))


def physical_addresses(dump: Path, vmlinux: Path) -> dict[str, int]:
    """Return the physical addresses of those `VARIABLES` that the kernel has."""
    import drgn
    from drgn.helpers.linux.mm import follow_phys

    from pageproof.attach import Wanted, open_target

    prog = open_target(Wanted(core=dump, symbols=(vmlinux,)), ()).prog
    found = {}
    for name in VARIABLES:
        try:
            address = prog[name].address_of_()
            found[name] = int(follow_phys(prog["init_mm"].address_of_(), address).value_())
        except (LookupError, drgn.FaultError, drgn.ObjectAbsentError):
            continue
    return found


def runs(
    dump: Path, vmlinux: Path, scratch: Path, seeds: range, env: dict[str, str]
) -> Iterator[Outcome]:
    """Damage a dump once per seed and run a command on it."""
    plain = inspect_dump(dump).format in ("elf", "raw")
    ways = changes(dump, physical_addresses(dump, vmlinux) if plain else {})
    for seed in seeds:
        change, command = ways[seed % len(ways)], COMMANDS[seed // len(ways) % len(COMMANDS)]
        with damaged(dump, scratch, change, seed) as what:
            said = f"seed {seed}, {' '.join(command)}: {what}"
            yield ask(("-c", str(scratch), "-s", str(vmlinux), *command), said, env)


def main(dump: str, vmlinux: str, first: str, number: str) -> None:
    scratch = Path(f"{dump}.{os.getpid()}.damaged")
    seeds = range(int(first), int(first) + int(number))
    codes: dict[int, int] = {}
    for one in runs(Path(dump), Path(vmlinux), scratch, seeds, dict(os.environ)):
        codes[one.code] = codes.get(one.code, 0) + 1
        if one.wrong is not None:
            print(f"{one.wrong}: {one.what}\n{one.out[-3000:]}\n", flush=True)
    print(f"exit codes: {dict(sorted(codes.items()))}")


if __name__ == "__main__":
    main(*sys.argv[1:])
