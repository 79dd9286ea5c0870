# SPDX-License-Identifier: GPL-2.0-or-later
"""Access to the memory: the refusals of the device, and attempts to bypass it."""

import ctypes
import mmap
import os
from pathlib import Path

from .harness import (
    DEVICE,
    PAGE_BYTES,
    SYS_PIDFD_GETFD,
    SYS_PIDFD_OPEN,
    Module,
    Suite,
    libc,
    syscall,
)

KINDS = (
    ("kzalloc", "remap"),
    ("kzalloc", "fault"),
    ("pages", "remap"),
    ("pages", "fault"),
    ("pages", "insert"),
    ("vmalloc", "fault"),
    ("vmalloc", "insert"),
)


class Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def _device_test(suite: Suite, module: Module, caller: str, name: str) -> None:
    """Run device_test and add its checks to the suite."""
    with module.program("device_test", caller, module.get("length")) as test:
        output = test.communicate(timeout=60)[0]
    lines = output.splitlines()
    for line in lines:
        good, _, what = line.partition("ok ")
        suite.check(good == "", f"{name}: {what}", "see device_test.c")
    suite.equal(test.returncode, int("not ok" in output), f"{name}: device_test ends")
    suite.check(len(lines) > 4, f"{name}: device_test prints checks", output)


def refusals(suite: Suite, module: Module) -> None:
    for backing, how in KINDS:
        for pages in (1, 4):
            given: dict[str, object] = {
                "backing": backing,
                "map": how,
                "length": pages * PAGE_BYTES,
            }
            with module.loaded(allow_any=1, **given):
                _device_test(suite, module, "any", f"{backing}/{how}/{pages}")
                suite.equal(module.get("live_mappings"), "1", f"{backing}/{how}: all unmapped")
    with module.loaded():
        _device_test(suite, module, "others", "allow_any=0")


def _mapping(pid: int) -> tuple[int, str]:
    """Return the address and the name of the helper's mapping of the region."""
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        fields = line.split(maxsplit=5)
        if fields[1].startswith("rw-s"):
            return int(fields[0].split("-")[0], 16), line.split()[0]
    raise LookupError(f"pid {pid} maps nothing")


def _text_address(pid: int) -> int:
    return int(Path(f"/proc/{pid}/maps").read_text().split("-")[0], 16)


def _peek(pid: int, address: int) -> bytes:
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as mem:
        mem.seek(address)
        return mem.read(8)


def _poke(pid: int, address: int) -> None:
    with Path(f"/proc/{pid}/mem").open("r+b", buffering=0) as mem:
        mem.seek(address)
        mem.write(b"intruder")


def _vm_readv(pid: int, address: int) -> bytes:
    buffer = ctypes.create_string_buffer(8)
    local, remote = Iovec(ctypes.addressof(buffer), 8), Iovec(address, 8)
    n = libc.process_vm_readv(pid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0)
    if n < 0:
        raise OSError(ctypes.get_errno(), "process_vm_readv")
    return buffer.raw[:n]


def _map(fd: int) -> None:
    mmap.mmap(fd, PAGE_BYTES, mmap.MAP_SHARED, mmap.PROT_READ).close()


def _map_path(path: str) -> None:
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        _map(fd)
    finally:
        os.close(fd)


def _device_fd(pid: int) -> int:
    for link in Path(f"/proc/{pid}/fd").iterdir():
        if link.readlink() == DEVICE:
            return int(link.name)
    raise LookupError(f"pid {pid} has no {DEVICE} open")


def _map_stolen(pid: int) -> None:
    pidfd = syscall(SYS_PIDFD_OPEN, pid, 0)
    fd = -1
    try:
        fd = syscall(SYS_PIDFD_GETFD, pidfd, _device_fd(pid), 0)
        _map(fd)
    finally:
        os.close(pidfd)
        if fd >= 0:
            os.close(fd)


def intruders(suite: Suite, module: Module) -> None:
    """Without allow_any even root cannot access the memory, through the device or by ptrace."""
    for backing, how in KINDS:
        name = f"{backing}/{how}"
        with module.loaded(backing=backing, map=how):
            pid = module.pid
            address, where = _mapping(pid)
            text = _text_address(pid)
            # A refusal proves something only if the same call works on other memory.
            suite.equal(_peek(pid, text)[:4], b"\x7fELF", f"{name}: /proc/PID/mem, program text")
            suite.equal(_vm_readv(pid, text)[:4], b"\x7fELF", f"{name}: readv, program text")
            suite.errno("EIO", f"{name}: /proc/PID/mem read", _peek, pid, address)
            suite.errno("EIO", f"{name}: /proc/PID/mem write", _poke, pid, address)
            suite.errno("EFAULT", f"{name}: readv", _vm_readv, pid, address)
            suite.errno("EPERM", f"{name}: mmap of its own file", _map_stolen, pid)
            for path in (f"/proc/{pid}/map_files/{where}", f"/proc/{pid}/fd/{_device_fd(pid)}"):
                what = path.split("/")[3]
                suite.errno("EPERM", f"{name}: mmap through {what}", _map_path, path)
            suite.errno("OK", f"{name}: healthy afterwards", module.health)
