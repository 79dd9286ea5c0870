# SPDX-License-Identifier: GPL-2.0-or-later
"""The capture initramfs where not everything goes well, and where the dump goes elsewhere.

Each test panics a guest of its own. All other tests of dumps use the same initramfs on ext4.
"""

import re
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from capturing import is_the_same, live_report

from pageproof_kdump.capture.image import Contents, build
from pageproof_kdump.install.place import MARK_BYTES, mark_of
from pageproof_lab.guest import boot, qemu
from pageproof_lab.guest.guest import Guest
from pageproof_lab.images import disks, installed, kernels
from pageproof_lab.images.initramfs import DISK_MODULES
from pageproof_lab.images.modules import module_index
from pageproof_lab.images.roots import guest_root

KERNEL = "6.12"
CRASH_SECONDS = 600
DUMP_DISK = "/dev/vdc"
#: A makedumpfile that fails where a test needs it: lzo at any level but 1, zlib always.
FAILING = """\
#!/bin/busybox sh
# The real one reads NUMBER(PAGE_SLAB_MAPCOUNT_VALUE), which init looks for here.
case "$*" in
*--dump-dmesg*) ;;
*'-l -d 1 '*) ;;
*) echo "makedumpfile: this one fails: $*" >&2; exit 1 ;;
esac
exec /usr/bin/makedumpfile.real "$@"
"""
#: What hangs in a crash kernel is mostly a driver; to init it looks the same.
HANGING = "#!/bin/busybox sh\nwhile true; do sleep 1000; done\n"


@pytest.fixture
def guest() -> Iterator[Guest]:
    options = qemu.Options(cpus=1, memory_mib=512, append="crashkernel=96M")
    with boot.boot(kernels.fetch(KERNEL), options) as here:
        yield here


def panic(guest: Guest) -> str:
    """Panic, wait for the end of the crash kernel, and return what its console showed."""
    agent = guest.sysrq_crash()
    guest.wait_end(CRASH_SECONDS)
    agent.close()
    return guest.sockets.serial.read_text(errors="replace").partition("Run /init")[2]


def load_with(guest: Guest, script: str, formats: tuple[str, ...], *more: str) -> None:
    """Load a crash kernel whose makedumpfile is a script; the real one is beside it."""
    kernel = kernels.fetch(KERNEL)
    real = guest_root() / "usr/bin/makedumpfile"
    contents = Contents(
        modules=DISK_MODULES,
        parameters=disks.CAPTURE | {"dir": "var/crash", "dmesg": "1"},
        programs=("/usr/bin/makedumpfile",),
        files={"usr/bin/makedumpfile.real": (0o755, real.read_bytes())},
        replaced={"usr/bin/makedumpfile": (0o755, script.encode())},
    )
    image = build(kernel.release, contents, guest_root(), module_index(kernel).parents[2])
    guest.agent.write_file("/run/capture.img", image)
    guest.load_crash_kernel(formats, image="/run/capture.img", more=more)


def test_fallback(guest: Guest, tmp_path: Path) -> None:
    """makedumpfile fails: first a lower level, then a copy of all memory; the console says why.

    The dump goes into a directory of its own on the file system with a UUID.
    """
    uuid = guest.check("blkid", "-s", "UUID", "-o", "value", DUMP_DISK).strip()
    live = live_report(guest, tmp_path)
    load_with(guest, FAILING, ("lzo", "zlib"), f"pageproof.disk=UUID={uuid}")
    shown = panic(guest)
    for line in (
        "capture: lzo code=1 level=31",
        "capture: failed: makedumpfile: this one fails: -l -d 31",
        "capture: falling back to level 1",
        "capture: lzo code=0 level=1",
        "capture: zlib code=1 level=31",
        "capture: zlib code=1 level=1",
        "capture: falling back to a copy of /proc/vmcore",
        "capture: copy code=0 level=0",
        "capture: done",
    ):
        assert line in shown, shown[-3000:]
    disk = guest.disks / "dump.ext4"
    (stamp,) = installed.list_files(disk, "/var/crash", partition=False)
    assert re.fullmatch(r"\d{8}-\d{6}", stamp)
    place = f"/var/crash/{stamp}"
    names = installed.list_files(disk, place, partition=False)
    assert names == ["dmesg.txt", "status", "vmcore.copy", "vmcore.lzo"]
    disks.read_from_disk(disk, f"{place}/dmesg.txt", tmp_path / "dmesg.txt")
    assert "sysrq: Trigger a crash" in (tmp_path / "dmesg.txt").read_text(errors="replace")
    for name in ("vmcore.lzo", "vmcore.copy"):
        dump = tmp_path / name
        disks.read_from_disk(disk, f"{place}/{name}", dump)
        is_the_same(live, dump)
        dump.unlink()


def test_set_up(guest: Guest, tmp_path: Path) -> None:
    """What setup writes for a directory of this machine, kdump load loads, and a panic uses.

    The guest has no systemd, so setup cannot finish here, and undoes what it wrote. A whole Debian
    is in tests/kdump.
    """
    guest.check("sh", "-c", f"mkdir -p /run/tree /run/dump && mount {DUMP_DISK} /run/dump")
    guest.check(
        "sh", "-c", "mkdir -p /boot && ln -sf /usr/lib/debug/vmlinuz /boot/vmlinuz-$(uname -r)"
    )
    words = ("kdump", "setup", "--yes", "--no-bootloader", "--to", "/run/dump/crash")
    before = guest.check("find", "/etc", "/var/lib")
    failed = guest.run("pageproof", *words, timeout_seconds=CRASH_SECONDS)
    assert failed.code == 2, failed.out + failed.err
    assert "systemctl daemon-reload: not installed; nothing was changed" in failed.err
    assert guest.check("find", "/etc", "/var/lib") == before
    for path in ("etc", "usr"):
        guest.check("ln", "-s", f"/{path}", f"/run/tree/{path}")
    guest.check("pageproof", *words, "--root", "/run/tree", timeout_seconds=CRASH_SECONDS)
    print(guest.check("cat", "/etc/pageproof/kdump.conf"))
    print(guest.check("pageproof", "kdump", "load", timeout_seconds=CRASH_SECONDS))
    assert guest.check("cat", "/sys/kernel/kexec_crash_loaded").strip() == "1"
    live = live_report(guest, tmp_path)
    shown = panic(guest)
    print(shown)
    assert "capture: lzo code=0 level=31" in shown, shown[-3000:]
    disk = guest.disks / "dump.ext4"
    (stamp,) = installed.list_files(disk, "/crash", partition=False)
    dump = tmp_path / "vmcore.lzo"
    disks.read_from_disk(disk, f"/crash/{stamp}/vmcore.lzo", dump)
    is_the_same(live, dump)


def test_hang(guest: Guest) -> None:
    """A makedumpfile that never ends: the machine ends after the timeout all the same."""
    load_with(guest, HANGING, ("lzo",), "pageproof.timeout=5")
    shown = panic(guest)
    assert "capture: no end after 5 s, giving up" in shown, shown[-3000:]
    assert "capture: lzo code=" not in shown


def test_full_disk(guest: Guest, tmp_path: Path) -> None:
    """What fits is kept as .incomplete, and no larger dump is tried."""
    fill = (
        f"mkdir /run/dump && mount {DUMP_DISK} /run/dump && cd /run/dump && "
        "free=$(df -Pk . | awk 'NR == 2 { print $4 }') && "
        "fallocate -l $((free - 8192))k filler && cd / && umount /run/dump"
    )
    guest.check("sh", "-c", fill)
    guest.load_crash_kernel(("lzo",))
    shown = panic(guest)
    # The real makedumpfile reads all that this kernel describes its slab pages with.
    assert "capture: saving vmcore.lzo, level 31" in shown, shown[-3000:]
    assert "capture: no room for a larger dump" in shown, shown[-3000:]
    assert "falling back" not in shown
    assert "capture: no complete dump was saved" in shown
    names = installed.list_files(guest.disks / "dump.ext4", "/", partition=False)
    assert [name for name in names if name.startswith("vmcore")] == ["vmcore.lzo.incomplete"]


def test_partition(guest: Guest, tmp_path: Path) -> None:
    """The dump is behind the mark, which says how long it is; no other disk is written to."""
    disk = guest.disks / "dump.ext4"
    name = "0123456789abcdef"
    mark = mark_of(name)
    assert len(mark) == MARK_BYTES
    guest.agent.write_file("/run/mark", mark)
    guest.check("dd", "if=/run/mark", f"of={DUMP_DISK}", "conv=fsync")
    live = live_report(guest, tmp_path)
    guest.load_crash_kernel(("lzo",), more=("pageproof.target=partition", f"pageproof.id={name}"))
    shown = panic(guest)
    assert f"capture: to partition {DUMP_DISK}" in shown, shown[-3000:]
    with disk.open("rb") as file:
        lines = file.read(MARK_BYTES).rstrip(b"\0").decode().splitlines()
        assert lines[:4] == ["pageproof dump 1", f"id={name}", "state=complete", "name=vmcore.lzo"]
        size = int(lines[4].removeprefix("bytes="))
        dump = tmp_path / "vmcore.flat"
        dump.write_bytes(file.read(size))
    assert dump.read_bytes()[:12] == b"makedumpfile"
    assert struct.unpack(">qq", dump.read_bytes()[-16:]) == (-1, -1)  # its end
    is_the_same(live, dump)
