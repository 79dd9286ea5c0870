# SPDX-License-Identifier: GPL-2.0-or-later
"""Put the capture initramfs together: busybox, makedumpfile, modules, and our init."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pageproof.errors import PageproofError
from pageproof_kdump.capture.archive import archive
from pageproof_kdump.capture.modules import modules
from pageproof_kdump.capture.programs import with_libraries

INIT: Final = Path(__file__).with_name("init")
_BUSYBOX: Final = ("usr/bin/busybox", "bin/busybox")
_MAKEDUMPFILE: Final = ("usr/bin/makedumpfile", "usr/sbin/makedumpfile", "sbin/makedumpfile")
_DIRECTORIES: Final = ("dev", "proc", "sys", "tmp", "mnt", "root")
#: Without an entry for its user, ssh ends with "No user exists for uid 0".
_PASSWD: Final = b"root:x:0:0:root:/root:/bin/sh\n"


@dataclass(frozen=True)
class Contents:
    """What an image is made of, besides what every image has.

    Attributes:
        modules: names of modules; what they depend on comes too.
        parameters: NAME -> VALUE, as init reads them.
        programs: paths of more programs.
        files: path in the image -> permissions, content.
        replaced: the same, instead of a file that the image has otherwise.
    """

    modules: Iterable[str] = ()
    parameters: Mapping[str, str] = field(default_factory=dict)
    programs: Iterable[str] = ()
    files: Mapping[str, tuple[int, bytes]] = field(default_factory=dict)
    replaced: Mapping[str, tuple[int, bytes]] = field(default_factory=dict)


def build(
    release: str, contents: Contents, root: Path = Path("/"), modules_root: Path | None = None
) -> bytes:
    """Return the initramfs of the crash kernel.

    Args:
        release: the kernel whose modules it gets.
        contents: what else is in it.
        root: the tree that programs and modules come from.
        modules_root: the tree that modules come from, if it is another.

    Raises:
        PageproofError: something that it needs is not installed.
    """
    makedumpfile = _first(root, _MAKEDUMPFILE, "makedumpfile")
    busybox = _first(root, _BUSYBOX, "busybox-static or busybox")
    files: dict[str, tuple[int, bytes]] = {
        "init": (0o755, INIT.read_bytes()),
        "etc/passwd": (0o644, _PASSWD),
        "etc/capture.conf": (0o600, _lines(contents.parameters)),
        **contents.files,
    }
    for path, file in with_libraries(root, (makedumpfile, *contents.programs)).items():
        files[path] = (0o755, file.read_bytes())
    # init's first line names /bin/busybox.
    for path, file in with_libraries(root, (busybox,)).items():
        files["bin/busybox" if path == busybox.lstrip("/") else path] = (0o755, file.read_bytes())
    for path, content in modules(modules_root or root, release, contents.modules).items():
        files[path] = (0o644, content)
    return archive({**files, **contents.replaced}, _DIRECTORIES)


def _first(root: Path, paths: Iterable[str], package: str) -> str:
    for path in paths:
        if (root / path).is_file():
            return f"/{path}"
    raise PageproofError(f"{package} is not installed", "", "install it, then repeat the command")


def _lines(parameters: Mapping[str, str]) -> bytes:
    for name, value in parameters.items():
        if any(not character.isprintable() for character in value):
            raise PageproofError(f"{name}: a value has a control character in it: {value!r}")
    return "".join(f"{name}={value}\n" for name, value in parameters.items()).encode()
