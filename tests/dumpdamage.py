# SPDX-License-Identifier: GPL-2.0-or-later
"""Run pageproof on a copy of a vmcore with one damage: it must exit as documented.

tests/hostile makes damage of all kinds; this is for tests of one damage.
"""

import mmap
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

MEMORY_BYTES = 6 << 30
SECONDS = 180
PAGE = 4096

#: Kernel variables that commands need, and how many bytes of each are damaged.
VARIABLES = {"init_mm": 1024, "__pte2cachemode_tbl": 16, "modules": 16}

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


def file_offsets(data: mmap.mmap, paddr: int) -> list[int]:
    """Return the offsets of a physical address in an ELF dump. The kernel image is in it twice."""
    (phoff,), (phnum,) = struct.unpack_from("<Q", data, 32), struct.unpack_from("<H", data, 56)
    found = []
    for number in range(phnum):
        kind, _, offset, _, start, length = struct.unpack_from("<IIQQQQ", data, phoff + number * 56)
        if kind == 1 and start <= paddr < start + length:
            found.append(offset + paddr - start)
    return found


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
