# SPDX-License-Identifier: GPL-2.0-or-later
"""Build the initramfs for a kernel as /etc/pageproof/kdump.conf describes it, and load it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pageproof.errors import PageproofError
from pageproof_kdump.capture.image import Contents, build
from pageproof_kdump.capture.modules import run
from pageproof_kdump.install.machine import reserved_bytes

#: What a crash kernel needs (linux Documentation/admin-guide/kdump/kdump.rst): one CPU, devices
#: that their drivers reset first, and a restart if all else fails.
_COMMAND_LINE: Final = ("nr_cpus=1", "reset_devices", "irqpoll", "panic=-1")
_BUILD: Final = "build."


def read_configuration(text: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return the parameters of init, and what to build in.

    Raises:
        PageproofError: a line is not NAME=VALUE.
    """
    parameters, to_build = {}, {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals:
            raise PageproofError(f"line {number} is not NAME=VALUE: {line!r}")
        if name.startswith(_BUILD):
            to_build[name.removeprefix(_BUILD)] = value
        else:
            parameters[name] = value
    return parameters, to_build


def image_for(
    release: str, parameters: Mapping[str, str], to_build: Mapping[str, str], known_hosts: bytes
) -> bytes:
    """Return the initramfs.

    Raises:
        PageproofError: something that belongs into it is missing.
    """
    files: dict[str, tuple[int, bytes]] = {}
    if "key" in to_build:
        key = Path(to_build["key"])
        try:
            files["etc/capture/key"] = (0o600, key.read_bytes())
        except OSError as error:
            raise PageproofError(f"cannot read the key {key}: {error.strerror}") from error
        files["etc/capture/known_hosts"] = (0o644, known_hosts)
    contents = Contents(
        modules=[name for name in to_build.get("modules", "").split(",") if name],
        parameters=parameters,
        programs=[to_build["program"]] if "program" in to_build else [],
        files=files,
    )
    return build(release, contents)


def load(configuration: Path, known_hosts: Path) -> str:
    """Build the initramfs for the running kernel and load both as its crash kernel.

    Returns:
        A line that says what was loaded.

    Raises:
        PageproofError: it could not be built or loaded.
    """
    release = os.uname().release
    kernel = Path("/boot") / f"vmlinuz-{release}"
    if not kernel.is_file():
        raise PageproofError(f"{kernel}: no such file", "", "install the running kernel's package")
    try:
        parameters, to_build = read_configuration(configuration.read_text())
        hosts = known_hosts.read_bytes() if known_hosts.exists() else b""
    except OSError as error:
        raise PageproofError(
            f"cannot read {error.filename}: {error.strerror}", "", "run: pageproof kdump setup"
        ) from error
    image = image_for(release, parameters, to_build, hosts)
    if reserved_bytes() == 0:
        raise PageproofError(
            "no memory is kept for a crash kernel", "",
            "restart the machine once; if it stays so, look for crashkernel= in /proc/cmdline",
        )  # fmt: skip
    # Only root may read it: it can have a key. The kernel refuses a file that is open for writing.
    with tempfile.TemporaryDirectory(prefix="pageproof-capture-") as directory:
        file = Path(directory) / "initrd.img"
        file.write_bytes(image)
        line = " ".join((*_consoles(), *_COMMAND_LINE))
        # The system call (-s) checks signatures under Secure Boot.
        run(["kexec", "-s", "-p", str(kernel), f"--initrd={file}", f"--command-line={line}"])
    return f"loaded {kernel} with an initramfs of {len(image) >> 10} KiB"


def _consoles() -> list[str]:
    """Return the console words of this kernel's line, so that progress shows where users look."""
    words = Path("/proc/cmdline").read_text().split()
    return [word for word in words if word.startswith(("console=", "earlyprintk="))]
