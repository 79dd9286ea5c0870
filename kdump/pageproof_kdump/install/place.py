# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the dump goes: a directory, a partition, or another machine."""

from __future__ import annotations

import ipaddress
import json
import re
import socket
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pageproof.errors import PageproofError
from pageproof_kdump.capture.modules import drivers_of, run

#: File systems that a file is written to, with what else the kernel needs for them.
FILE_SYSTEMS: Final = {"ext4": ("ext4", "crc32c"), "xfs": ("xfs", "crc32c")}
MARK_BYTES: Final = 4096
_MARK: Final = b"pageproof dump 1\n"
_SSH: Final = re.compile(r"ssh:(?:([A-Za-z0-9_.-]+)@)?([A-Za-z0-9_.:-]+?)(?::(/[A-Za-z0-9_./-]*))?")
SSH_PROGRAM: Final = "/usr/bin/ssh"


@dataclass(frozen=True)
class Place:
    """Where the dump goes, and what the crash kernel needs to get there.

    Attributes:
        kind: "file", "partition" or "ssh".
        text: the place as a user names it.
        parameters: of init.
        modules: of the kernel.
        directory: of a file, or on the other machine.
        user: who logs in to the other machine, and `host` its name.
        mark: what the partition shall begin with; None if this is no partition.
        device: the partition.
    """

    kind: str
    text: str
    parameters: Mapping[str, str]
    modules: tuple[str, ...]
    directory: str = ""
    user: str = ""
    host: str = ""
    mark: bytes | None = None
    device: Path | None = None
    known_hosts: bytes = field(default=b"", repr=False)


def place(text: str, known_hosts: Path | None = None) -> Place:
    """Return the place that a user named.

    Raises:
        PageproofError: it cannot hold a dump.
    """
    if text.startswith("ssh:"):
        return _ssh(text, known_hosts)
    if text.startswith("partition:"):
        return _partition(Path(text.removeprefix("partition:")))
    if not text.startswith("/"):
        raise PageproofError(
            f"--to {text}: unknown place",
            "",
            "name a directory, partition:/dev/DEVICE, or ssh:USER@HOST:/DIRECTORY",
        )
    return _file(Path(text))


def _file(directory: Path) -> Place:
    here = directory
    while not here.exists():
        here = here.parent
    listed = run(
        ["findmnt", "--json", "--output", "SOURCE,FSTYPE,UUID,TARGET,FSROOT", "-T", str(here)]
    )
    mount: Mapping[str, Any] = json.loads(listed)["filesystems"][0]
    kind = str(mount["fstype"])
    if kind not in FILE_SYSTEMS:
        raise PageproofError(
            f"--to {directory}: it is on {kind}, and the crash kernel writes to "
            f"{' and '.join(FILE_SYSTEMS)}",
            "",
            "name a directory on one of them, a partition, or another machine (ssh:)",
        )
    inside = Path(str(mount["fsroot"]).lstrip("/")) / directory.relative_to(str(mount["target"]))
    device = _block_device(Path(str(mount["source"]).partition("[")[0]))
    parameters = {"target": "file", "disk": f"UUID={mount['uuid']}", "fs": kind, "dir": str(inside)}
    modules = (*drivers_of(device), *FILE_SYSTEMS[kind])
    return Place("file", str(directory), parameters, modules, directory=str(directory))


def _block_device(device: Path) -> Path:
    """Return the directory of a disk or partition in /sys.

    Raises:
        PageproofError: it is something else, such as LVM or an encrypted disk.
    """
    name = device.resolve().name
    found = Path("/sys/class/block") / name
    if not found.exists():
        raise PageproofError(f"{device}: not a disk or a partition")
    slaves = found / "slaves"
    if slaves.is_dir() and any(slaves.iterdir()):
        raise PageproofError(
            f"{device} is made of other disks (LVM, RAID or encryption), which the crash kernel "
            "does not assemble",
            "",
            "name a plain partition, or another machine (ssh:)",
        )
    return found


def _partition(device: Path) -> Place:
    if not device.is_block_device():
        raise PageproofError(f"--to partition:{device}: not a block device", "", "name a partition")
    directory = _block_device(device)
    if any(
        line.split()[0] == str(device.resolve()) for line in _lines("/proc/mounts", "/proc/swaps")
    ):
        raise PageproofError(f"{device} is mounted or used as swap", "", "name an unused partition")
    with device.open("rb") as file:
        start = file.read(MARK_BYTES)
    if not start.startswith(_MARK) and (kind := _content(device)):
        raise PageproofError(
            f"{device} is not empty: it has {kind}",
            "",
            f"if nobody needs it, run: wipefs --all {device}",
        )
    name = uuid.uuid4().hex
    parameters = {"target": "partition", "id": name}
    return Place(
        "partition",
        str(device),
        parameters,
        tuple(drivers_of(directory)),
        mark=mark_of(name),
        device=device,
    )


def mark_of(name: str) -> bytes:
    """Return what a partition for a dump begins with."""
    return (mark_start(name) + b"state=empty\n").ljust(MARK_BYTES, b"\0")


def mark_start(name: str) -> bytes:
    """Return the part of a mark that init never changes."""
    return _MARK + f"id={name}\n".encode()


def _content(device: Path) -> str:
    """Return what blkid(8) finds on a device; "" for nothing."""
    try:
        said = run(["blkid", "--probe", "--output", "export", str(device)]).decode()
    except PageproofError as error:
        if "exit code 2" in str(error):  # nothing found
            return ""
        raise
    found = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
    return found.get("TYPE") or found.get("PTTYPE") or ""


def _lines(*paths: str) -> list[str]:
    return [line for path in paths for line in Path(path).read_text().splitlines() if line]


def _ssh(text: str, known_hosts: Path | None) -> Place:
    match = _SSH.fullmatch(text)
    if match is None:
        raise PageproofError(f"--to {text}: not an address", "", "write ssh:USER@HOST:/DIRECTORY")
    user, host, directory = match[1] or "root", match[2], (match[3] or "/var/crash")
    try:
        address = socket.getaddrinfo(host, 22, type=socket.SOCK_STREAM)[0][4][0]
    except OSError as error:
        raise PageproofError(
            f"--to {text}: cannot resolve {host}: {error.strerror}", "", "write its address"
        ) from error
    route = json.loads(run(["ip", "--json", "route", "get", str(address)]))[0]
    device, source = str(route["dev"]), str(route["prefsrc"])
    shown = json.loads(run(["ip", "--json", "address", "show", "dev", device]))[0]
    prefix = next(one["prefixlen"] for one in shown["addr_info"] if one.get("local") == source)
    parameters = {
        "target": "ssh",
        "user": user,
        "host": str(address),
        "dir": directory,
        "mac": str(shown["address"]),
        "ip": str(ipaddress.ip_interface(f"{source}/{prefix}")),
    }
    if "gateway" in route:
        parameters["gateway"] = str(route["gateway"])
    modules = tuple(drivers_of(Path("/sys/class/net") / device))
    keys = host_keys(host, str(address), known_hosts)
    return Place(
        "ssh", text, parameters, modules,
        directory=directory, user=user, host=host, known_hosts=keys,
    )  # fmt: skip


def host_keys(host: str, address: str, known_hosts: Path | None) -> bytes:
    """Return the keys of a host that this machine knows, under the name that init uses.

    Raises:
        PageproofError: it knows none.
    """
    path = known_hosts or Path.home() / ".ssh/known_hosts"
    keys = []
    for name in (host, address):
        try:
            listed = run(["ssh-keygen", "-F", name, "-f", str(path)]).decode()
        except PageproofError:
            continue
        for line in listed.splitlines():
            words = line.split()
            if len(words) >= 3 and not line.startswith(("#", "@")):
                keys.append(f"dump-host {words[1]} {words[2]}\n")
    if not keys:
        raise PageproofError(
            f"the key of {host} is not in {path}",
            "",
            f"log in to it once, compare its fingerprint (ssh {host}), or name --known-hosts FILE",
        )
    return "".join(dict.fromkeys(keys)).encode()
