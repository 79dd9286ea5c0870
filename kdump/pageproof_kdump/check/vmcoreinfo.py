# SPDX-License-Identifier: GPL-2.0-or-later
"""VMCOREINFO of the running kernel.

``/sys/kernel/vmcoreinfo`` has only its physical address. ``/proc/kcore`` has the text as an ELF
note since Linux 4.19 (23c85094fe18, "proc/kcore: add vmcoreinfo note to /proc/kcore").
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from pageproof_kdump.check.machine import Machine, NoFact

_KCORE: Final = "/proc/kcore"
#: Limit: the notes come after the program headers, one for each range of memory.
_HEAD_BYTES: Final = 4 << 20
_PT_NOTE: Final = 4
_PHDR_BYTES: Final = 56
_NOTE: Final = struct.Struct("<III")
_NAME: Final = b"VMCOREINFO\0"


def read_vmcoreinfo(machine: Machine) -> str:
    """Return the running kernel's VMCOREINFO.

    Raises:
        NoFact: it cannot be read.
    """
    head = machine.data(_KCORE, _HEAD_BYTES)
    for name, content in _notes(head):
        if name == _NAME:
            return content.partition(b"\0")[0].decode("utf-8", "replace")
    raise NoFact(f"{_KCORE} has no VMCOREINFO")


def _notes(head: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield (name, content) of the notes in the first bytes of an ELF core."""
    if len(head) < 64 or head[:6] != b"\x7fELF\2\1":
        raise NoFact(f"{_KCORE} is no ELF core of a 64-bit machine")
    (headers_at,) = struct.unpack_from("<Q", head, 32)
    (count,) = struct.unpack_from("<H", head, 56)
    for number in range(count):
        at = headers_at + number * _PHDR_BYTES
        if at + _PHDR_BYTES > len(head):
            return
        kind, _, start, _, _, length = struct.unpack_from("<IIQQQQ", head, at)
        if kind != _PT_NOTE:
            continue
        end = min(start + length, len(head))
        while start + _NOTE.size <= end:
            name_bytes, content_bytes, _ = _NOTE.unpack_from(head, start)
            name_at = start + _NOTE.size
            content_at = name_at + (name_bytes + 3) // 4 * 4
            start = content_at + (content_bytes + 3) // 4 * 4
            if start > end:
                return
            yield head[name_at : name_at + name_bytes], head[content_at:][:content_bytes]
