# SPDX-License-Identifier: GPL-2.0-or-later
"""Debug info that is wrong, damaged, or of another machine."""

from __future__ import annotations

import os
import random
import shutil
import struct
from pathlib import Path

from hostile.bases import KERNELS, Base
from hostile.containers import Case, Damage

_AARCH64 = 183
_KINDS = (
    "other kernel",
    "other machine",
    "stripped",
    "truncated",
    "header",
    "section headers",
    "system map",
    "module",
    "empty",
    "fifo",
)


def damage(base: Base, rng: random.Random) -> Case:
    """Return the case of wrong debug info; `prepared` makes the file."""
    kind = rng.choice(_KINDS)
    return Case(
        0, "", "", "", False, True, Damage(f"debug info: {kind}"), (),
        symbols=(kind, str(rng.randrange(1 << 30))),
    )  # fmt: skip


def prepared(words: tuple[str, ...], base: Base, scratch: Path) -> tuple[str, ...]:
    """Return the words for the command line, and make the file that they name."""
    if not words:
        return base.options
    kind, seed = words[0], int(words[1])
    rng = random.Random(seed)
    path = scratch / ("umh_shm.ko" if kind == "module" else "vmlinux")
    path.unlink(missing_ok=True)
    if kind == "other kernel":
        from pageproof_lab.images import kernels

        other = rng.choice([one for one in KERNELS if one != base.kernel])
        return ("-s", str(kernels.fetch(other).vmlinux))
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "empty":
        path.touch()
    elif kind == "system map":
        path.write_text("ffffffff81000000 T _text\n" * rng.choice((1, 1000, 100_000)))
    elif kind == "truncated":
        with base.symbols[0].open("rb") as file:
            path.write_bytes(file.read(rng.choice((4, 63, 64, 65, 4096, 1 << 20, 30 << 20))))
    else:
        source = base.symbols[1] if kind in ("module", "header", "other machine") else None
        if source is None:
            _without_debug_info(base.symbols[0], path)
        else:
            shutil.copyfile(source, path)
        with path.open("r+b") as file:
            if kind == "other machine":
                file.seek(18)
                file.write(struct.pack("<H", _AARCH64))
            elif kind in ("header", "module"):
                file.seek(rng.randrange(4, 64))
                file.write(rng.choice((b"\0", b"\xff", b"\x80", rng.randbytes(4))))
            elif kind == "section headers":
                file.seek(40)
                file.write(struct.pack("<Q", rng.choice((0, 1, 64, 1 << 40, (1 << 64) - 64))))
    return ("-s", str(path))


def _without_debug_info(vmlinux: Path, into: Path) -> None:
    """Write the head of a vmlinux as an ELF file without sections."""
    with vmlinux.open("rb") as file:
        head = bytearray(file.read(1 << 20))
    struct.pack_into("<Q", head, 40, 0)
    struct.pack_into("<HHH", head, 58, 64, 0, 0)
    into.write_bytes(head)
