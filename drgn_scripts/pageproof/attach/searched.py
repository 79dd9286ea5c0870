# SPDX-License-Identifier: GPL-2.0-or-later
"""Attaching to memory that names no kernel: images, and ELF cores without VMCOREINFO."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import drgn

from pageproof.attach.assembled import fault_if_omitted
from pageproof.attach.elfmap import ElfMap
from pageproof.attach.guest import VMCOREINFO_REMEDY
from pageproof.attach.image import Image, ImageMemory, check_end
from pageproof.attach.kernelchoice import KernelChoice
from pageproof.attach.physical import add_to_drgn, assumed_platform
from pageproof.attach.vmcoreinfo import find_kernels
from pageproof.attach.vmcoreinfo.choice import choose
from pageproof.errors import PageproofError
from pageproof.files.inputs import open_file
from pageproof.model import MemoryGap
from pageproof.space.units import PAGE_BYTES

#: drgn's words for physical memory that the image does not have (libdrgn/memory_reader.c).
_NO_SEGMENT: Final = "could not find physical memory segment"
#: Where the program's cache has what turns an address of the kernel's image into a physical one.
_SHIFT: Final = "pageproof.image_shift"


_UNNAMED_REMEDY: Final = (
    f"is it a kernel's dump, and not that of a process? For the next one: {VMCOREINFO_REMEDY}"
)


def attach_unnamed(
    path: Path, elf_map: ElfMap, which: KernelChoice | None, progress: Callable[[str], None]
) -> tuple[drgn.Program, tuple[str, ...]]:
    """Attach to a kernel in an ELF core, as :func:`attach_image`."""
    with open_file(path) as file:
        memory = ImageMemory(file, elf_map.segments())
    found = find_kernels(memory, progress)
    chosen = choose(memory, found, (), which, f"-c {path}", _UNNAMED_REMEDY)
    prog = drgn.Program(assumed_platform(), vmcoreinfo=chosen.kernel.text)
    prog.set_core_dump(str(path))
    fault_if_omitted(prog, elf_map)
    return prog, ("the dump does not name its kernel", *chosen.notes)


def attach_image(
    image: Image, path: Path, which: KernelChoice | None, progress: Callable[[str], None]
) -> tuple[drgn.Program, tuple[str, ...]]:
    """Attach to a kernel in an image, which is found by searching its memory.

    Args:
        image: the image.
        path: its path.
        which: of several kernels in it.
        progress: called with one line now and then.

    Returns:
        The program, and notes for the user.

    Raises:
        PageproofError: there is no kernel in it, or it cannot be decided which one.
    """
    found = find_kernels(image.memory, progress)
    chosen = choose(image.memory, found, (), which, f"-c {path}", image.remedy)
    prog = drgn.Program(assumed_platform())
    prog.set_linux_kernel_custom(chosen.kernel.text, image.guest is not None)
    prog.cache[_SHIFT] = chosen.kernel.place.shift
    for start, end in image.parts:
        add_to_drgn(prog, start, end - start, image.memory.read)
    return prog, (*chosen.notes, *image.notes)


@contextmanager
def image_checked(prog: drgn.Program, image: Image, where: str) -> Iterator[None]:
    """Load debug info within this: it needs memory, and then shows how much the kernel has.

    Raises:
        PageproofError: the image does not have all memory of its kernel, and the user did not say
            where its memory is.
    """
    try:
        yield
    except (PageproofError, drgn.FaultError) as error:
        if not image.assumed or _NO_SEGMENT not in str(error):
            raise
        what = error.what if isinstance(error, PageproofError) else str(error)
        raise PageproofError(
            f"the image lacks memory that its kernel uses: {what}", where, image.remedy
        ) from None
    try:
        symbol = prog.symbol("max_pfn").address
        pages = int.from_bytes(image.memory.read(symbol + prog.cache[_SHIFT], 8), "little")
    except (LookupError, MemoryGap):
        return
    check_end(image, pages * PAGE_BYTES, where)
