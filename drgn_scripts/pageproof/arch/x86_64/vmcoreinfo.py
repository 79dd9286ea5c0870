# SPDX-License-Identifier: GPL-2.0-or-later
"""The image's place on x86_64, from VMCOREINFO, and the tables that CPUs run on.

``arch_crash_save_vmcoreinfo()`` of arch/x86/kernel/vmcore_info_64.c (machine_kexec_64.c before
6.9), and kernel/vmcore_info.c (kernel/crash_core.c before).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from pageproof.arch.image import ImagePlace, OtherWordSize, Unsuitable
from pageproof.arch.x86_64.paging import ADDRESS_MASK, START_KERNEL_MAP, X86Paging
from pageproof.space.units import ADDRESS_LAST

_NUMBER: Final = re.compile(r"-?[0-9]{1,20}")
_HEX: Final = re.compile(r"[0-9a-f]{1,16}")
_CR3: Final = re.compile(r"\bCR3=([0-9a-f]{8,16})\b")
#: ``PTI_USER_PGTABLE_MASK`` in CR3.
_USER_HALF: Final = 1 << 12


def image_place(info: Mapping[str, str]) -> ImagePlace:
    """Return where a VMCOREINFO places the image; see :meth:`Architecture.image_place`."""
    text = _symbol(info, "_stext")
    if text < 1 << 32:
        raise OtherWordSize(f"its kernel's text is at {text:#x}: a 32-bit kernel")
    tables = _symbol(info, "swapper_pg_dir")
    for name, address in (("_stext", text), ("swapper_pg_dir", tables)):
        if address < START_KERNEL_MAP:
            raise Unsuitable(f"{name} at {address:#x} is not in the kernel's image")
    five = _number(info, "pgtable_l5_enabled", 0)
    if five not in (0, 1):
        raise Unsuitable(f"pgtable_l5_enabled is {five}")
    return ImagePlace(
        paging=X86Paging(levels=5 if five else 4, sme_mask=_mask(info)),
        tables=tables,
        shift=_number(info, "phys_base") - START_KERNEL_MAP,
    )


def cpu_roots(registers: str) -> tuple[frozenset[int], ...]:
    """Return the tables that each CPU runs on; see :meth:`Architecture.cpu_roots`.

    With page-table isolation, user mode runs on the second table of a pair, which lacks most of the
    kernel. Without it, the same bit is one of the address.
    """
    found = (int(match[1], 16) & ADDRESS_MASK for match in _CR3.finditer(registers))
    return tuple(frozenset((root, root & ~_USER_HALF)) for root in found)


def _mask(info: Mapping[str, str]) -> int:
    mask = _number(info, "sme_mask", 0) & ADDRESS_LAST
    if mask & (mask - 1) or mask & ~ADDRESS_MASK:
        raise Unsuitable(f"sme_mask is {mask:#x}")
    return mask


def _number(info: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = info.get(f"NUMBER({name})")
    if text is None and default is not None:
        return default
    if text is None or not _NUMBER.fullmatch(text) or not -(1 << 63) <= int(text) < 1 << 64:
        raise Unsuitable(f"NUMBER({name}) is {'missing' if text is None else 'damaged'}")
    number = int(text)
    # An unsigned long that is printed as a signed one.
    return number - (1 << 64) if number >> 63 == 1 else number


def _symbol(info: Mapping[str, str], name: str) -> int:
    text = info.get(f"SYMBOL({name})")
    if text is None or not _HEX.fullmatch(text):
        raise Unsuitable(f"SYMBOL({name}) is {'missing' if text is None else 'damaged'}")
    return int(text, 16)
