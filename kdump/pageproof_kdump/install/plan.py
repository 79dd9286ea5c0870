# SPDX-License-Identifier: GPL-2.0-or-later
"""What to write and to run to set a machine up, before anything is touched."""

from __future__ import annotations

import os
import shlex
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pageproof
import pageproof_kdump
from pageproof.errors import PageproofError
from pageproof_kdump.install.changes import Change
from pageproof_kdump.install.machine import KDUMP_TOOLS, Machine
from pageproof_kdump.install.place import SSH_PROGRAM, Place
from pageproof_kdump.makedumpfile import OPTIONS

CONFIGURATION: Final = "etc/pageproof/kdump.conf"
KNOWN_HOSTS: Final = "etc/pageproof/kdump_known_hosts"
#: After the package's own kdump-tools.cfg: the kernel takes the last crashkernel= of its line.
GRUB: Final = "etc/default/grub.d/zz-pageproof-kdump.cfg"
UNIT_NAME: Final = "pageproof-kdump.service"
UNIT: Final = f"etc/systemd/system/{UNIT_NAME}"
_WANTED: Final = f"etc/systemd/system/multi-user.target.wants/{UNIT_NAME}"
BEGIN: Final = "# pageproof kdump setup: the lines from here on replace those above\n"
END: Final = "# pageproof kdump setup: end\n"
#: It loads its crash kernel again, if it runs.
_RESTART: Final = ("systemctl", "try-restart", "kdump-tools.service")


@dataclass(frozen=True)
class Wishes:
    """What the user asked for."""

    level: int
    compression: str
    crashkernel: str | None
    timeout_seconds: int
    after: str
    key: Path | None
    bootloader: bool


@dataclass(frozen=True)
class Plan:
    """Changes of files, and commands that make them count.

    Attributes:
        changes: files to write.
        commands: to run after they are written.
        undo_commands: to run after they were restored.
        notes: lines for the user.
    """

    changes: tuple[Change, ...]
    commands: tuple[tuple[str, ...], ...]
    undo_commands: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def for_kdump_tools(machine: Machine, place: Place, wishes: Wishes) -> Plan:
    """Return the plan for a machine with kdump-tools.

    The package reads /etc/default/kdump-tools only, as shell and as an EnvironmentFile of systemd;
    it has no drop-in directory (kdump-tools 1.10.7, kdump-config). In both the last value counts.

    Raises:
        PageproofError: kdump-tools cannot do what is asked.
    """
    if place.kind == "partition":
        raise PageproofError("kdump-tools cannot write to a partition", "", "add --with initramfs")
    values = {
        "USE_KDUMP": "1",
        "KDUMP_COREDIR": place.directory,
        "MAKEDUMP_ARGS": f"{OPTIONS[_format(wishes)]} -d {wishes.level}",
    }
    if place.kind == "ssh":
        if wishes.key is None:
            raise PageproofError("--to ssh: needs --key FILE: the private key to log in with")
        values |= {"SSH": f"{place.user}@{place.host}", "SSH_KEY": str(wishes.key)}
    changes = [_defaults(machine, values)]
    line, notes = _boot_line(machine, wishes, needed=not machine.crashkernel_line)
    changes += line
    commands: list[tuple[str, ...]] = [("update-grub",)] if line else []
    undo = (*commands, _RESTART)
    commands += [
        ("systemctl", "enable", "kdump-tools.service"),
        ("systemctl", "restart", "kdump-tools.service"),
    ]
    return Plan(tuple(changes), tuple(commands), undo, notes)


def _format(wishes: Wishes) -> str:
    """Return the format of the dump, as init names it."""
    return "elf" if wishes.compression == "none" else wishes.compression


def _defaults(machine: Machine, values: Mapping[str, str]) -> Change:
    path = machine.root / KDUMP_TOOLS
    try:
        text = path.read_text(errors="surrogateescape")
    except OSError as error:
        raise PageproofError(f"cannot read {path}: {error.strerror}") from error
    if text and not text.endswith("\n"):
        text += "\n"
    lines = "".join(f'{name}="{value}"\n' for name, value in values.items())
    content = f"{text}{BEGIN}{lines}{END}".encode(errors="surrogateescape")
    return Change(KDUMP_TOOLS, content, path.stat().st_mode & 0o7777)


def _boot_line(
    machine: Machine, wishes: Wishes, *, needed: bool
) -> tuple[list[Change], tuple[str, ...]]:
    """Return GRUB's drop-in file, if one is needed, and notes."""
    if not wishes.bootloader:
        return [], ("the boot loader is left alone: see that crashkernel= is on its line",)
    if wishes.crashkernel is None and not needed:
        return [], (f"crashkernel= is set already: {machine.crashkernel_line}",)
    machine.need_grub()
    size = wishes.crashkernel or "128M"
    text = (
        "# Written by pageproof kdump setup; pageproof kdump remove removes it.\n"
        f'GRUB_CMDLINE_LINUX_DEFAULT="$GRUB_CMDLINE_LINUX_DEFAULT crashkernel={size}"\n'
    )
    return [Change(GRUB, text.encode())], ()


def for_initramfs(machine: Machine, place: Place, wishes: Wishes) -> Plan:
    """Return the plan for the project's own initramfs, loaded by a systemd unit.

    Raises:
        PageproofError: something is missing.
    """
    if not any(machine.has(path) for path in ("usr/sbin/kexec", "sbin/kexec")):
        raise PageproofError("kexec is not installed", "", "run: apt install kexec-tools")
    parameters = {
        **place.parameters,
        "formats": _format(wishes),
        "level": str(wishes.level),
        "dmesg": "1",
        "timeout": str(wishes.timeout_seconds),
        "after": wishes.after,
    }
    build = {"modules": ",".join(dict.fromkeys(place.modules))}
    changes: list[Change] = []
    if place.kind == "ssh":
        if wishes.key is None:
            raise PageproofError("--to ssh: needs --key FILE: the private key to log in with")
        build |= {"key": str(wishes.key), "program": SSH_PROGRAM}
        changes.append(Change(KNOWN_HOSTS, place.known_hosts))
    changes += [
        Change(CONFIGURATION, _configuration(parameters, build), 0o600),
        Change(UNIT, _unit()),
        Change(_WANTED, f"/{UNIT}".encode(), is_link=True),
    ]
    if machine.kdump_tools:  # it would load its own crash kernel
        changes.append(_defaults(machine, {"USE_KDUMP": "0"}))
    line, notes = _boot_line(machine, wishes, needed=not machine.crashkernel_line)
    changes += line
    reload = ("systemctl", "daemon-reload")
    grub = [("update-grub",)] if line else []
    # Until it reloads, systemd knows how to stop a unit whose file is gone; ExecStop unloads.
    undo = [("systemctl", "stop", UNIT_NAME), reload, *grub]
    if machine.kdump_tools:
        undo.append(_RESTART)
    start = ("systemctl", "start", UNIT_NAME)
    return Plan(tuple(changes), (*grub, reload, start), tuple(undo), notes)


def _configuration(parameters: Mapping[str, str], build: Mapping[str, str]) -> bytes:
    lines = [
        "# Written by pageproof kdump setup. NAME=VALUE; docs/kdump.md describes the names.",
        "# Of the initramfs:",
        *(f"{name}={value}" for name, value in parameters.items()),
        "# What is built into it:",
        *(f"build.{name}={value}" for name, value in build.items()),
    ]
    return "".join(f"{line}\n" for line in lines).encode()


def _unit() -> bytes:
    """Return the systemd unit. It builds for the running kernel, so updates of it need nothing."""
    folders = {str(Path(one.__file__ or "").parents[1]) for one in (pageproof, pageproof_kdump)}
    ours = sorted(folders - {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    environment = f"Environment=PYTHONPATH={os.pathsep.join(ours)}\n" if ours else ""
    command = shlex.join([sys.executable, "-m", "pageproof", "kdump", "load"])
    return f"""\
# Written by pageproof kdump setup; pageproof kdump remove removes it.
[Unit]
Description=Load the crash kernel that saves a dump (pageproof)
ConditionPathExists=/{CONFIGURATION}
After=local-fs.target

[Service]
Type=oneshot
RemainAfterExit=yes
{environment}ExecStart={command}
ExecStop=/sbin/kexec -p -u

[Install]
WantedBy=multi-user.target
""".encode()
