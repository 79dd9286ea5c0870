# SPDX-License-Identifier: GPL-2.0-or-later
"""How this machine captures a crash: by Debian's kdump-tools, or by the project's own unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pageproof_kdump.check.machine import Machine, shell_variables
from pageproof_kdump.engine import NoFact
from pageproof_kdump.install.place import mark_start
from pageproof_kdump.install.plan import CONFIGURATION, UNIT_NAME
from pageproof_kdump.makedumpfile import OPTIONS

#: kdump-tools' own files (its kdump-config).
DEFAULTS: Final = "/etc/default/kdump-tools"
PROGRAM: Final = "/usr/sbin/kdump-config"
DIRECTORY: Final = "/var/lib/kdump"
#: Reserved memory that Debian's own initramfs needs: its package's default.
_KDUMP_TOOLS_MIB: Final = 128
#: Smallest reserved memory in which the project's capture environment has saved a dump; in 64 MiB
#: it fails.
LEAST_MIB: Final = 96
_FORMATS: Final = {**OPTIONS, "flat": "-F -l"}
_DEFAULT_CORES: Final = "/var/crash"
_DEFAULT_ARGUMENTS: Final = "-F -c -d 31"
_KDUMP_TOOLS_UNIT: Final = "kdump-tools.service"
_UNITS: Final = "/etc/systemd/system"


@dataclass(frozen=True)
class Settings:
    """How this machine captures a crash.

    Attributes:
        name: what does it, for messages.
        file: where it is configured.
        arguments: of makedumpfile.
        directory: where dumps go; "" if they do not go to a directory of this machine.
        remote: the other machine; "" for none.
        partition: the partition that gets the dump; "" for none.
        kernel, image: what is loaded: the capture kernel and its initramfs; "" if not known.
        least_mib: reserved memory that its capture environment needs, as measured.
        load: the command that loads the capture kernel again.
        off: why it does not load a capture kernel when the machine starts; "" if it does.
        turn_on: what to do about that.
    """

    name: str
    file: str
    arguments: str
    directory: str
    remote: str
    kernel: str
    image: str
    least_mib: int
    load: str
    off: str = ""
    turn_on: str = ""
    partition: str = ""


def read_settings(machine: Machine) -> Settings | None:
    """Return how this machine captures a crash; None if nothing is set up.

    Raises:
        NoFact: a configuration cannot be read.
    """
    return _own(machine) or _kdump_tools(machine)


def _starts(machine: Machine, unit: str) -> bool:
    """Return whether systemd starts a unit with the machine: a target wants it."""
    return any(
        unit in machine.names(f"{_UNITS}/{name}")
        for name in machine.names(_UNITS)
        if name.endswith((".wants", ".requires"))
    )


def _own(machine: Machine) -> Settings | None:
    try:
        text = machine.text(f"/{CONFIGURATION}")
    except NoFact as error:
        if error.is_absent:
            return None
        raise
    pairs = (line.partition("=") for line in text.splitlines() if not line.startswith("#"))
    values = {name: value for name, equals, value in pairs if equals}
    forms = values.get("formats", "lzo").split(",")
    level = "0" if forms[0] == "copy" else values.get("level", "31")
    off = "" if _starts(machine, UNIT_NAME) else "its unit does not start with the machine"
    target = values.get("target", "file")
    partition = _partition(machine, values.get("id", "")) if target == "partition" else ""
    return Settings(
        name="pageproof's capture environment",
        file=f"/{CONFIGURATION}",
        arguments=f"{_FORMATS.get(forms[0], '')} -d {level}".strip(),
        directory=_directory(machine, values) if target == "file" else "",
        remote=values.get("host", "") if target == "ssh" else "",
        partition=partition,
        kernel=f"/boot/vmlinuz-{machine.release}",
        image="",  # built when it is loaded
        least_mib=LEAST_MIB,
        load=f"systemctl restart {UNIT_NAME}",
        off=off,
        turn_on=f"run systemctl enable {UNIT_NAME} as root",
    )


def _directory(machine: Machine, values: Mapping[str, str]) -> str:
    """Return the directory of the dumps; "" if its file system is not mounted."""
    disk = values.get("disk", "")
    if disk.startswith("UUID="):
        disk = f"/dev/disk/by-uuid/{disk.removeprefix('UUID=')}"
    device = machine.place(disk) if disk.startswith("/") else ""
    for line in machine.text("/proc/mounts").splitlines():
        source, _, rest = line.partition(" ")
        if source.startswith("/") and machine.place(source) == device:
            mounted = rest.partition(" ")[0]
            return f"{mounted.rstrip('/')}/{values.get('dir', '').lstrip('/')}"
    return ""


def _partition(machine: Machine, mark: str) -> str:
    """Return the partition that ``setup`` marked; "" if it is not there."""
    wanted = mark_start(mark)
    for name in machine.names("/sys/class/block"):
        try:
            # A drive without a medium has size 0, and may take long to say so.
            has_medium = machine.number(f"/sys/class/block/{name}/size") > 0
            if mark and has_medium and machine.data(f"/dev/{name}", len(wanted)) == wanted:
                return name
        except NoFact:
            continue
    return ""


def _kdump_tools(machine: Machine) -> Settings | None:
    try:
        text = machine.text(DEFAULTS)
    except NoFact as error:
        if error.is_absent:
            return None
        raise
    if not machine.exists(PROGRAM):  # removed, but not purged
        return None
    values = shell_variables(text)
    arguments = values.get("MAKEDUMP_ARGS") or _DEFAULT_ARGUMENTS
    remote = next((values[name] for name in ("SSH", "NFS", "FTP") if values.get(name)), "")
    off = turn_on = ""
    if values.get("USE_KDUMP", "0") in ("", "0"):
        off, turn_on = "USE_KDUMP is not 1", f"set USE_KDUMP=1 in {DEFAULTS}"
    elif not _starts(machine, _KDUMP_TOOLS_UNIT):
        off = "its service does not start with the machine"
        turn_on = "run systemctl enable kdump-tools as root"
    release = machine.release
    return Settings(
        name="kdump-tools",
        file=DEFAULTS,
        arguments=arguments,
        directory="" if remote else values.get("KDUMP_COREDIR") or _DEFAULT_CORES,
        remote=remote,
        kernel=values.get("KDUMP_KERNEL") or f"/boot/vmlinuz-{release}",
        image=values.get("KDUMP_INITRD") or f"/boot/initrd.img-{release}",
        least_mib=_KDUMP_TOOLS_MIB,
        load="kdump-config load",
        off=off,
        turn_on=turn_on,
    )
