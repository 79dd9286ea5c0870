# SPDX-License-Identifier: GPL-2.0-or-later
"""A process in the guest whose mappings have names that are easily printed wrong; it sleeps.

The first argument is the output file, for one line of JSON: pid; made, the parts that this kernel
supports.
"""

import ctypes
import json
import mmap
import os
import signal
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from fcntl import ioctl
from pathlib import Path

PAGE = 4096
DIRECTORY = Path("/run/names")
NAMES = (
    *(b"space at its end ", b" at its start", b"carriage\rreturn", b"vertical\vtab form\ffeed"),
    *(b"new\nline", b"\n", b"back\\slash", b"\\012", b"tab\t", b"escape\x1b[31m", b"del\x7f"),
    *(b"gone (deleted)", b"caf\xc3\xa9", b"\xff\xfe no UTF-8", b"right \xe2\x80\xae left"),
    *(b"line\xe2\x80\xa8separator", b"next\xc2\x85line", b"n" * 255),
)
#: include/uapi: linux/if_packet.h, linux/udmabuf.h, linux/dma-buf.h, linux/prctl.h
SOL_PACKET, PACKET_RX_RING = 263, 5
UDMABUF_CREATE, DMA_BUF_SET_NAME = 0x40187542, 0x40086201
PR_SET_VMA, PR_SET_VMA_ANON_NAME = 0x53564D41, 0
MAP_FIXED_NOREPLACE, MS_BIND, MNT_DETACH = 0x100000, 0x1000, 2

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = libc.sbrk.restype = libc.shmat.restype = ctypes.c_void_p
libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
libc.shmat.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
libc.prctl.argtypes = (ctypes.c_int, *[ctypes.c_ulong] * 4)


def check(result: int | None, what: str) -> int:
    if result in (-1, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), what)
    return result or 0


def mapped(fd: int, flags: int = mmap.MAP_SHARED, offset: int = 0, at: int = 0) -> int:
    """A page; never unmapped."""
    return check(libc.mmap(at or None, PAGE, mmap.PROT_READ, flags, fd, offset), "mmap")


def file(path: Path) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    os.ftruncate(fd, PAGE)
    return fd


def files() -> None:
    DIRECTORY.mkdir()
    for name in NAMES:
        mapped(file(DIRECTORY / os.fsdecode(name)))
    # A file opened by one of its two names, which is removed; then files in a removed folder.
    path = DIRECTORY / "de\nleted"
    mapped(file(path))
    os.link(path, DIRECTORY / "other name")
    path.unlink()
    inner = DIRECTORY / "a\\b\r\n" / "c"
    inner.mkdir(parents=True)
    near, far = inner / "file", inner / "far"
    mapped(file(near))
    mapped(file(far), offset=1 << 45)
    near.unlink()
    far.unlink()
    inner.rmdir()
    renamed = DIRECTORY / "before"
    mapped(file(renamed))
    renamed.rename(DIRECTORY / "after\v")


def detached() -> None:
    """A file of a mount that is detached from the mount tree."""
    path = DIRECTORY / "mount\n"
    path.mkdir()
    check(libc.mount(b"/run", bytes(path), None, MS_BIND, None), "mount")
    mapped(file(path / "seen through a mount"))
    check(libc.umount2(bytes(path), MNT_DETACH), "umount2")


def overlay() -> None:
    base = Path("/run/overlay")
    for part in ("lower", "upper", "work", "all"):
        (base / part).mkdir(parents=True)
    os.close(file(base / "lower" / "below\r"))
    options = f"lowerdir={base}/lower,upperdir={base}/upper,workdir={base}/work".encode()
    check(libc.mount(b"overlay", bytes(base / "all"), b"overlay", 0, options), "mount")
    mapped(os.open(base / "all" / "below\r", os.O_RDONLY), mmap.MAP_PRIVATE)
    mapped(file(base / "all" / "above\v"))


def packet_ring() -> None:
    ring = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    ring.setsockopt(SOL_PACKET, PACKET_RX_RING, struct.pack("=4I", PAGE, 1, 2048, 2))
    mapped(ring.detach())


def dma_bufs() -> None:
    """One without a name, one with the longest."""
    device = os.open("/dev/udmabuf", os.O_RDWR)
    memory = os.memfd_create("pages", os.MFD_ALLOW_SEALING)
    os.ftruncate(memory, PAGE)
    libc.fcntl(memory, 1033, 2)  # F_ADD_SEALS, F_SEAL_SHRINK
    for name in (b"", b"name \r\v\f\n\\ and up to 31 byte\xff"):
        # With a mutable buffer ioctl() returns the system call's result.
        asked = bytearray(struct.pack("=2I2Q", memory, 0, 0, PAGE))
        buffer = ioctl(device, UDMABUF_CREATE, asked)
        if name:
            ioctl(buffer, DMA_BUF_SET_NAME, bytearray(name + b"\0"))
        mapped(buffer)


def memory() -> None:
    for name in (b"carriage\rreturn\nnew line", b"m" * 249, b""):
        fd = check(libc.memfd_create(name, 0), "memfd_create")
        os.ftruncate(fd, PAGE)
        mapped(fd)
    mapped(-1, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)
    check(libc.shmat(check(libc.shmget(0, PAGE, 0o1600), "shmget"), None, 0), "shmat")
    mapped(os.open("/dev/zero", os.O_RDWR), mmap.MAP_PRIVATE)


def named_by_prctl() -> None:
    for flags in (mmap.MAP_PRIVATE, mmap.MAP_SHARED):
        at = mapped(-1, flags | mmap.MAP_ANONYMOUS)
        name = ctypes.create_string_buffer(b"a name (deleted) of 80 bytes ".ljust(79, b"~"))
        number = libc.prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, at, PAGE, ctypes.addressof(name))
        check(number, "PR_SET_VMA_ANON_NAME")


def at_the_heap() -> None:
    """A mapping next to the heap."""
    end = check(libc.sbrk(0), "sbrk")
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_FIXED_NOREPLACE
    assert mapped(-1, flags, at=end) == end


def made() -> Iterator[str]:
    """Make each part; yield the names of those that this kernel supports."""
    parts: tuple[Callable[[], None], ...] = (
        *(files, detached, overlay, packet_ring, dma_bufs, memory, named_by_prctl, at_the_heap),
    )
    for part in parts:
        try:
            part()
        except OSError as error:
            print(f"{part.__name__}: {error}", file=sys.stderr)
        else:
            yield part.__name__


def main() -> None:
    facts = {"pid": os.getpid(), "made": list(made())}
    output = Path(sys.argv[1])
    part = output.with_suffix(".part")
    part.write_text(json.dumps(facts))
    part.rename(output)
    while True:
        signal.pause()


main()
