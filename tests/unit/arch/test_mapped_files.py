# SPDX-License-Identifier: GPL-2.0-or-later
"""Pages of a mapped dump are given back."""

import mmap
import re
from pathlib import Path

from pageproof.arch.engine import MappedFiles

MIB = 1 << 20


def mapped_mib() -> int:
    """Return how much of files this process has mapped now (proc(5), RssFile)."""
    found = re.search(r"^RssFile:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.M)
    assert found
    return int(found[1]) >> 10


def test_they_are_mapped_again_when_needed(tmp_path: Path) -> None:
    path = tmp_path / "dump"
    path.write_bytes(bytes(range(256)) * (64 * MIB // 256))
    with path.open("rb") as file:
        view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    assert view[:: mmap.PAGESIZE].tobytes() == bytes(64 * MIB // mmap.PAGESIZE)
    before = mapped_mib()
    files = MappedFiles(((0, view[: 32 * MIB]), (1 << 32, view[32 * MIB :]), (1 << 33, 4096)), ())
    files.trim()
    assert mapped_mib() < before - 48
    assert view[5 :: 16 * MIB].tolist() == [5] * 4
    MappedFiles(((0, memoryview(b"not a file")),), ()).trim()
