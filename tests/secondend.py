# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine that takes dumps over ssh: a directory with dropbear and busybox, outside the guest.

QEMU starts dropbear for each connection to an address that its user network makes up, so there is
no port on the host, and the guest reaches nothing else.
"""

import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from pageproof_kdump.capture.programs import with_libraries
from pageproof_lab.images.roots import guest_root, installed_tree

ADDRESS = "10.0.2.100"
GUEST_ADDRESS = "10.0.2.15/24"
_PROGRAMS = ("/usr/sbin/dropbear", "/usr/bin/dropbearkey")
_APPLETS = ("sh", "cat", "mkdir", "mv", "rm", "stat", "sync")


@dataclass(frozen=True)
class SecondEnd:
    """The other end: its directory, which is / for those who log in, and its public key."""

    root: Path
    host_key: str

    @property
    def network(self) -> tuple[str, ...]:
        """Words for QEMU."""
        forward = f"guestfwd=tcp:{ADDRESS}:22-cmd:{self.root.parent / 'connect'}"
        return (
            *("-netdev", f"user,id=net0,restrict=on,{forward}"),
            *("-device", "virtio-net-pci,netdev=net0,romfile="),
        )

    def let_in(self, public_key: str) -> None:
        """Accept a key of the guest."""
        file = self.root / "root/.ssh/authorized_keys"
        file.parent.mkdir(mode=0o700)
        file.write_text(public_key)
        file.chmod(0o600)


def second_end(into: Path) -> SecondEnd:
    """Make the other end in a directory, with a key of its own."""
    root = into / "second"
    for path, file in with_libraries(installed_tree(), _PROGRAMS).items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, root / path)
        (root / path).chmod(0o755)
    (root / "bin").mkdir()
    shutil.copyfile(guest_root() / "usr/bin/busybox", root / "bin/busybox")
    (root / "bin/busybox").chmod(0o755)
    for applet in _APPLETS:
        (root / "bin" / applet).symlink_to("busybox")
    for directory in ("dev", "etc", "root", "tmp"):
        (root / directory).mkdir()
    (root / "root").chmod(0o700)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "dev/null").touch()
    enter = ["unshare", "--mount", *([] if os.getuid() == 0 else ["--map-root-user"]), "--"]
    start = f'mount --bind /dev/null {shlex.quote(str(root))}/dev/null; exec chroot "$@"'
    command = [*enter, "sh", "-c", start, "sh", str(root)]
    made = subprocess.run(
        [*command, "/usr/bin/dropbearkey", "-t", "ed25519", "-f", "/etc/hostkey"],
        capture_output=True,
        text=True,
        check=True,
    )
    key = next(line for line in made.stdout.splitlines() if line.startswith("ssh-ed25519 "))
    connect = into / "connect"
    words = shlex.join([*command, "/usr/sbin/dropbear", "-i", "-E", "-r", "/etc/hostkey"])
    connect.write_text(f"#!/bin/sh\nexec {words} 2>>{shlex.quote(str(into / 'dropbear.log'))}\n")
    connect.chmod(0o755)
    return SecondEnd(root, " ".join(key.split()[:2]))
