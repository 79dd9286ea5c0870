# SPDX-License-Identifier: GPL-2.0-or-later
"""VMCOREINFO in the notes of an ELF core.

Source: ``elf.h`` (Elf64_Nhdr); the kernel's ``append_elf_note()`` (kernel/vmcore_info.c).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from pageproof.attach.filebytes import FileBytes

#: Limit of all notes; with some thousands of CPUs they have a few MiB.
_MOST_BYTES: Final = 64 << 20
_NAME: Final = b"VMCOREINFO\0"


def vmcoreinfo_of(source: FileBytes, notes: Sequence[tuple[int, int]]) -> bytes | None:
    """Return the text of VMCOREINFO; None if the notes have none.

    Args:
        source: the ELF file.
        notes: offset and length of each PT_NOTE.
    """
    for offset, length in notes:
        data = source.read(offset, min(length, _MOST_BYTES))
        at = 0
        while at + 12 <= len(data):
            name_bytes, text_bytes, _ = struct.unpack_from("<III", data, at)
            text_at = at + 12 + -(-name_bytes // 4) * 4
            if data[at + 12 : at + 12 + name_bytes] == _NAME:
                return data[text_at : text_at + text_bytes]
            at = text_at + -(-text_bytes // 4) * 4
    return None
