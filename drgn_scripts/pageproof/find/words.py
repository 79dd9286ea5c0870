# SPDX-License-Identifier: GPL-2.0-or-later
"""Text for integers of the kernel: vm_flags, i_mode."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from typing import Final

#: ``include/linux/mm.h``: the bits that mean the same from 5.10 to 7.2 on all architectures.
#: Since 7.0 the names are enumerators (``VMA_READ_BIT``) and are read from the target. Before, they
#: were macros, which DWARF does not have.
VM_FLAGS: Final[dict[int, str]] = {
    0: "READ",
    1: "WRITE",
    2: "EXEC",
    3: "SHARED",
    4: "MAYREAD",
    5: "MAYWRITE",
    6: "MAYEXEC",
    7: "MAYSHARE",
    8: "GROWSDOWN",
    9: "UFFD_MISSING",
    10: "PFNMAP",
    12: "UFFD_WP",
    13: "LOCKED",
    14: "IO",
    15: "SEQ_READ",
    16: "RAND_READ",
    17: "DONTCOPY",
    18: "DONTEXPAND",
    19: "LOCKONFAULT",
    20: "ACCOUNT",
    21: "NORESERVE",
    22: "HUGETLB",
    23: "SYNC",
    25: "WIPEONFORK",
    26: "DONTDUMP",
    27: "SOFTDIRTY",
    28: "MIXEDMAP",
    29: "HUGEPAGE",
    30: "NOHUGEPAGE",
    31: "MERGEABLE",
}


def vm_flags_words(flags: int, names: Mapping[int, str] = VM_FLAGS) -> str:
    """Return ``vm_flags`` as names joined with "|"; a bit without a name is "bit N"."""
    return "|".join(names.get(bit, f"bit {bit}") for bit in range(64) if flags >> bit & 1) or "none"


_FILE_TYPES: Final = {
    stat.S_IFSOCK: "socket",
    stat.S_IFLNK: "symbolic link",
    stat.S_IFREG: "regular file",
    stat.S_IFBLK: "block device",
    stat.S_IFDIR: "directory",
    stat.S_IFCHR: "character device",
    stat.S_IFIFO: "FIFO",
}


def i_mode_words(mode: int) -> str:
    """Return ``i_mode`` as text, such as "character device, rw-------"."""
    kind = _FILE_TYPES.get(stat.S_IFMT(mode), "no type")
    return f"{kind}, {stat.filemode(mode)[1:]}"


def text_words(data: bytes) -> str:
    """Return the bytes before the first NUL as text; other than printable ASCII as ``\\xNN``."""
    used = data.split(b"\0", 1)[0]
    return "".join(
        chr(byte) if 0x20 <= byte < 0x7F and byte != 0x5C else f"\\x{byte:02x}" for byte in used
    )
