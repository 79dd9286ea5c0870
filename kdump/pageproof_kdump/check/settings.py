# SPDX-License-Identifier: GPL-2.0-or-later
"""How this machine captures a crash: by Debian's kdump-tools, or by the project's own unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pageproof_kdump.check.machine import Machine, shell_variables
from pageproof_kdump.engine import NoFact

#: kdump-tools' own files (its kdump-config).
DEFAULTS: Final = "/etc/default/kdump-tools"
PROGRAM: Final = "/usr/sbin/kdump-config"
DIRECTORY: Final = "/var/lib/kdump"
_DEFAULT_CORES: Final = "/var/crash"
_DEFAULT_ARGUMENTS: Final = "-F -c -d 31"
_WANTS: Final = (
    "/etc/systemd/system/basic.target.wants/kdump-tools.service",
    "/etc/systemd/system/multi-user.target.wants/kdump-tools.service",
)


@dataclass(frozen=True)
class Settings:
    """How this machine captures a crash.

    Attributes:
        name: what does it, for messages.
        file: where it is configured.
        is_on: it loads a capture kernel when the machine starts.
        arguments: of makedumpfile.
        directory: where dumps go; "" if they go to another machine.
        remote: the other machine; "" for none.
        kernel, image: what is loaded: the capture kernel and its initramfs; "" if not known.
        least_mib: reserved memory that its capture environment needs, as measured.
        load: the command that loads the capture kernel again.
        off: why it is off; "" if it is on.
    """

    name: str
    file: str
    is_on: bool
    arguments: str
    directory: str
    remote: str
    kernel: str
    image: str
    least_mib: int
    load: str
    off: str = ""


def read_settings(machine: Machine) -> Settings | None:
    """Return how this machine captures a crash; None if nothing is set up.

    Raises:
        NoFact: a configuration cannot be read.
    """
    return _kdump_tools(machine)


#: Measured on Debian 13 with its own initramfs (docs/kdump.md).
_KDUMP_TOOLS_MIB: Final = 128


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
    off = ""
    if values.get("USE_KDUMP", "0") in ("", "0"):
        off = f"USE_KDUMP is not 1 in {DEFAULTS}"
    elif not any(map(machine.exists, _WANTS)):
        off = "its service does not start with the machine; run: systemctl enable kdump-tools"
    release = machine.release
    return Settings(
        name="kdump-tools",
        file=DEFAULTS,
        is_on=not off,
        arguments=arguments,
        directory="" if remote else values.get("KDUMP_COREDIR") or _DEFAULT_CORES,
        remote=remote,
        kernel=values.get("KDUMP_KERNEL") or f"/boot/vmlinuz-{release}",
        image=values.get("KDUMP_INITRD") or f"/boot/initrd.img-{release}",
        least_mib=_KDUMP_TOOLS_MIB,
        load="kdump-config load",
        off=off,
    )
