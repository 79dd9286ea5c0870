# SPDX-License-Identifier: GPL-2.0-or-later
"""Images of memory: physical memory in a file, and nothing about the kernel in it."""

from __future__ import annotations

import bisect
import errno
import mmap
import os
import weakref
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from pageproof.attach.elfmap import ElfMap, Segment, map_file
from pageproof.attach.filebytes import PlainBytes
from pageproof.attach.formats import Form
from pageproof.attach.guestmemory import GuestMemory
from pageproof.attach.lime import lime_segments
from pageproof.attach.physical import Heads, PhysicalMemory
from pageproof.errors import PageproofError
from pageproof.model import MemoryGap, Outcome
from pageproof.space.ramranges import RamRange, check_ram
from pageproof.space.units import PAGE_BYTES

#: Bytes at a time of a search, if the file cannot be mapped.
_READ_BYTES: Final = 1 << 20
#: Limit of the parts of a sparse file; if it has more, its holes are searched too.
_MOST_EXTENTS: Final = 1 << 16
#: A raw image is recognised by its size only. No kernel runs in less.
_LEAST_BYTES: Final = 1 << 20
_PROC: Final = Path("/proc")

_TORN: Final = (
    "if the machine ran while the image was taken, its pages are of different moments (torn): a "
    "mapping that changed meanwhile may look wrong"
)
_NO_KERNEL: Final = "is it a whole image of a Linux machine?"
_NOT_SHARED: Final = "is it a whole image of a Linux machine, for QEMU's files one with share=on?"
_FOUR_GIB: Final = 1 << 32
#: Where QEMU's q35 continues memory at 4 GiB, and what it has below if all fits there
#: (pc_q35_init() of hw/i386/pc_q35.c).
_Q35_LOW, _Q35_MOST_LOW = 0x8000_0000, 0xB000_0000


@dataclass(frozen=True)
class Image:
    """An image of memory.

    Attributes:
        memory: all of it.
        parts: (paddr, end) of it, in order of address and apart.
        elf_map: the same for page-table walks, without what may be made up; None if it is not in
            the file as it is, or changes.
        guest: the same if it changes: a process maps the file and may write to it.
        notes: for the user.
        remedy: for a message that no kernel is in it.
        assumed: nobody said where its memory is.
    """

    memory: PhysicalMemory
    parts: Sequence[tuple[int, int]]
    elf_map: ElfMap | None = None
    guest: GuestMemory | None = None
    notes: tuple[str, ...] = (_TORN,)
    remedy: str = _NO_KERNEL
    assumed: bool = False


class ImageMemory:
    """Memory that is in a file as it is; see :class:`pageproof.attach.physical.PhysicalMemory`.

    Args:
        file: it may be closed after this call.
        segments: where the memory is in it, in order of address and apart.

    Attributes:
        mapped: the file; None if it cannot be mapped.
    """

    def __init__(self, file: BinaryIO, segments: Sequence[Segment]) -> None:
        self.mapped = map_file(file)
        self._descriptor = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._descriptor)
        self._segments = tuple(segments)
        self._starts = [one.paddr for one in segments]
        #: Without the holes of a sparse file, which need not be searched. If the file is memory of
        #: a guest, touching them would allocate them.
        self.ranges = tuple(
            (first, end - first)
            for one in segments
            for first, end in _data(self._descriptor, one)
            if first < end
        )

    def read(self, paddr: int, length: int) -> bytes:
        data = os.pread(self._descriptor, length, self._offset(paddr, length))
        if len(data) == length:
            return data
        raise MemoryGap(Outcome.UNREADABLE, f"{paddr:#x}: the file has become shorter")

    def heads(self, paddr: int, length: int) -> Iterator[Heads]:
        offset = self._offset(paddr, length)
        if self.mapped is not None:
            yield Heads(paddr, self.mapped[offset : offset + length], PAGE_BYTES)
            if isinstance(self.mapped.obj, mmap.mmap):
                # Else all of the file would count as memory of this process.
                self.mapped.obj.madvise(mmap.MADV_DONTNEED)
            return
        for at in range(0, length, _READ_BYTES):
            some = min(_READ_BYTES, length - at)
            with suppress(MemoryGap):
                yield Heads(paddr + at, memoryview(self.read(paddr + at, some)), PAGE_BYTES)

    def _offset(self, paddr: int, length: int) -> int:
        at = bisect.bisect_right(self._starts, paddr) - 1
        if at >= 0 and paddr + length <= self._segments[at].end:
            return self._segments[at].file_offset + paddr - self._starts[at]
        raise MemoryGap(Outcome.UNREADABLE, f"{paddr:#x} is not in the image")


def _data(descriptor: int, segment: Segment) -> Iterator[tuple[int, int]]:
    """Yield the whole pages of a segment that are not in holes of the file, as (paddr, end)."""
    paddr, end = -(-segment.paddr // PAGE_BYTES) * PAGE_BYTES, segment.end & -PAGE_BYTES
    shift = segment.file_offset - segment.paddr
    for _ in range(_MOST_EXTENTS):
        try:
            data = os.lseek(descriptor, paddr + shift, os.SEEK_DATA) - shift
            hole = os.lseek(descriptor, data + shift, os.SEEK_HOLE) - shift
        except OSError as error:
            if error.errno == errno.ENXIO:  # no more data
                return
            break  # the file system does not tell
        first, paddr = data & -PAGE_BYTES, -(-hole // PAGE_BYTES) * PAGE_BYTES
        yield max(first, segment.paddr), min(paddr, end)
        if paddr >= end:
            return
    yield paddr, end


def open_image(form: Form, file: BinaryIO, ram: Sequence[RamRange], where: str) -> Image:
    """Open an image and check what it says about itself.

    Args:
        form: its format.
        file: the image; it may be closed after this call.
        ram: the ranges of a raw one; none if the file is memory from address 0 on.
        where: its path, for messages.

    Raises:
        PageproofError: it is truncated or damaged, or it is no image.
    """
    if form is Form.AVML:
        from pageproof.attach.avml import AvmlMemory

        compressed = AvmlMemory(file, where)
        return Image(compressed, compressed.parts)
    source = PlainBytes(file)
    segments = lime_segments(source, where) if form is Form.LIME else _raw(source.size, ram, where)
    memory = ImageMemory(file, segments)
    parts = [(one.paddr, one.end) for one in segments]
    if form is Form.LIME:
        return Image(memory, parts, ElfMap(segments, memory.mapped))
    remedy = _NOT_SHARED
    if not ram and source.size >= _Q35_MOST_LOW:
        ram_options = with_hole(source.size)
        remedy = f"the file may lack a hole below 4 GiB, as those of QEMU's q35: {ram_options}"
    writer = _writer(file)
    if not writer:
        elf_map = ElfMap(segments, memory.mapped)
        return Image(memory, parts, elf_map, remedy=remedy, assumed=not ram)
    guest = GuestMemory(
        os.dup(file.fileno()),
        [(one.paddr, one.memory_bytes, one.file_offset) for one in segments],
    )
    note = f"process {writer} maps the file and may write to it: memory changes while it is read"
    return Image(memory, parts, guest=guest, notes=(note,), remedy=remedy, assumed=not ram)


def with_hole(size: int, low: int = _Q35_LOW) -> str:
    """Return the options for a file of memory that has a hole from ``low`` to 4 GiB."""
    return f"--ram 0-{low - 1:x}@0 --ram {_FOUR_GIB:x}-{_FOUR_GIB + size - low - 1:x}@{low:x}"


def check_end(image: Image, top: int, where: str) -> None:
    """Check that an image without ``--ram`` has all memory that its kernel uses.

    Args:
        image: the image.
        top: end of the kernel's memory (``max_pfn``).
        where: its path, for messages.

    Raises:
        PageproofError: it ends before.
    """
    end = image.parts[-1][1]
    if not image.assumed or top <= end:
        return
    low = end - (top - _FOUR_GIB)
    raise PageproofError(
        f"the image ends at {end:#x}, and the kernel has memory up to {top:#x}",
        where,
        f"if there is a hole below 4 GiB that the file lacks: {with_hole(end, low)}"
        if top > _FOUR_GIB and 0 < low < _FOUR_GIB
        else f"copy it again; --ram 0-{end - 1:x}@0 reads it without the rest",
    )


def _raw(size: int, ram: Sequence[RamRange], where: str) -> list[Segment]:
    if ram:
        return [
            Segment(one.start, one.end - one.start, one.end - one.start, number, one.offset)
            for number, one in enumerate(check_ram(ram, size, where))
        ]
    if not size:
        raise PageproofError("this is not a dump but an empty file", where, "dump again")
    if size < _LEAST_BYTES or size % PAGE_BYTES:
        raise PageproofError(
            "this is not a dump: neither ELF nor makedumpfile's formats, nor an image of memory, "
            f"whose size is a multiple of {PAGE_BYTES}",
            where,
            "give a vmcore as kexec, makedumpfile or QEMU's dump-guest-memory writes it; if it is "
            "an image that was cut, copy it again",
        )
    return [Segment(0, size, size, 0)]


def _writer(file: BinaryIO) -> int:
    """Return the PID of a process that maps a file shared and writable; 0 if none is seen.

    QEMU, Firecracker and cloud-hypervisor map a guest's memory so. Other users' processes are not
    seen.
    """
    status = os.fstat(file.fileno())
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
    ours = (device, str(status.st_ino))
    for path in _PROC.glob("[0-9]*/maps"):
        with suppress(OSError):
            for line in path.read_text(errors="replace").splitlines():
                words = line.split(maxsplit=5)
                if words[1][1:2] == "w" and words[1][3:] == "s" and tuple(words[3:5]) == ours:
                    return int(path.parent.name)
    return 0
