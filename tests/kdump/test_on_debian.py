# SPDX-License-Identifier: GPL-2.0-or-later
"""Crash capture as users set it up, in a Debian that boots from its own disk by its own GRUB.

Each test installs packages with apt, restarts, panics, and reads what it finds in /var/crash.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from capturing import is_the_same, live_report
from machine import Result, pageproof
from secondend import ADDRESS, GUEST_ADDRESS, SecondEnd, second_end
from wheels import wheel_of_this_clone

from pageproof_lab.guest import installed, qemu
from pageproof_lab.guest.guest import Guest
from pageproof_lab.images import installed as images

#: Emulated, on a busy host; all of these are deadlines for hangs.
BOOT_SECONDS = 1800
STEP_SECONDS = 3000
TEST_SECONDS = 4 * 3600
OPTIONS = qemu.Options(
    cpus=1, memory_mib=1024, boot_seconds=BOOT_SECONDS, deadline_seconds=TEST_SECONDS
)
CRASHES = "/var/crash"
#: Where the test unpacks the wheel, as pip would.
SITE = "/usr/local/lib/pageproof"

pytestmark = [pytest.mark.long, pytest.mark.timeout(TEST_SECONDS)]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A Debian of its own for a test."""
    copy = tmp_path / "debian.disk"
    images.copy_disk(installed.disk_with_grub(), copy)
    yield copy
    copy.unlink()


def boot(disk: Path, extra: tuple[str, ...] = ()) -> Guest:
    """Boot the disk and wait until systemd has started everything."""
    guest = installed.boot_from(disk, replace(OPTIONS, extra=extra))
    guest.run("systemctl", "is-system-running", "--wait", timeout_seconds=STEP_SECONDS)
    return guest


def install(guest: Guest, *packages: str) -> None:
    """Install packages with apt. They are in its cache, as the guest has no network."""
    guest.check(
        *("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "--yes", "--quiet"),
        *("--no-download", "--no-install-recommends", *packages),
        timeout_seconds=STEP_SECONDS,
    )


def install_pageproof(guest: Guest, scratch: Path) -> None:
    guest.agent.write_file("/run/pageproof.whl", wheel_of_this_clone(scratch).read_bytes())
    guest.check("python3", "-m", "zipfile", "-e", "/run/pageproof.whl", SITE)


def inside(guest: Guest, *words: str) -> Result:
    """Run pageproof in the guest."""
    command = ("env", f"PYTHONPATH={SITE}", "python3", "-m", "pageproof", *words)
    ran = guest.run(*command, timeout_seconds=STEP_SECONDS)
    print("$ pageproof", *words)
    print(ran.out + ran.err, f"[exit code {ran.code}]")
    return Result(ran.code, ran.out, ran.err)


def panic(guest: Guest) -> None:
    """Panic and wait until the crash kernel restarts the machine."""
    agent = guest.sysrq_crash()
    guest.wait_end(STEP_SECONDS)
    agent.close()
    print(guest.sockets.serial.read_text(errors="replace")[-6000:])


def the_dump(disk: Path, pattern: str, into: Path) -> Path:
    """Return the one dump in the directory of the one crash."""
    images.replay_journal(disk)
    (stamp,) = (n for n in images.list_files(disk, CRASHES) if re.fullmatch(r"\d{8}-?\d{4,6}", n))
    names = images.list_files(disk, f"{CRASHES}/{stamp}")
    print(f"{CRASHES}/{stamp}:", *names)
    (name,) = (name for name in names if re.fullmatch(pattern, name))
    dump = into / name
    images.read_file(disk, f"{CRASHES}/{stamp}/{name}", dump)
    return dump


def is_whole(dump: Path) -> None:
    """pageproof's own word on the dump."""
    result = pageproof("kdump", "verify", dump)
    print(result.out, result.err)
    assert result.code in (0, 3), result.out + result.err


def test_kdump_tools(disk: Path, tmp_path: Path) -> None:
    """Debian's package, its own GRUB line, its own scripts, a real panic."""
    with boot(disk) as guest:
        assert "crashkernel=" not in guest.check("cat", "/proc/cmdline")
        install(guest, "kdump-tools", "makedumpfile")
        installed.power_off(guest, "reboot", STEP_SECONDS)
    with boot(disk) as guest:
        line = guest.check("cat", "/proc/cmdline")
        assert "crashkernel=512M-:192M" in line and "BOOT_IMAGE=" in line
        print(guest.check("kdump-config", "show"))
        assert guest.check("cat", "/sys/kernel/kexec_crash_loaded").strip() == "1"
        install_pageproof(guest, tmp_path)
        checked = inside(guest, "kdump", "check")
        assert checked.code in (0, 3), checked.out
        live = live_report(guest, tmp_path)
        panic(guest)
    dump = the_dump(disk, r"dump\.\d+", tmp_path)
    is_whole(dump)
    is_the_same(live, dump)


def test_the_initramfs(disk: Path, tmp_path: Path) -> None:
    """pageproof kdump setup without kdump-tools, a panic, and remove: all files are as before."""
    with boot(disk) as guest:
        install(guest, "kexec-tools", "makedumpfile", "busybox-static")
        install_pageproof(guest, tmp_path)
        before = files_of(guest)
        assert inside(guest, "kdump", "setup", "--dry-run").code == 0
        assert files_of(guest) == before
        assert inside(guest, "kdump", "setup").code == 2  # nobody to ask
        assert inside(guest, "kdump", "setup", "--yes").code == 0
        installed.power_off(guest, "reboot", STEP_SECONDS)
    with boot(disk) as guest:
        assert "crashkernel=128M" in guest.check("cat", "/proc/cmdline")
        print(guest.run("systemctl", "status", "pageproof-kdump").out)
        assert guest.check("cat", "/sys/kernel/kexec_crash_loaded").strip() == "1"
        live = live_report(guest, tmp_path)
        panic(guest)
    dump = the_dump(disk, r"vmcore\.lzo", tmp_path)
    is_whole(dump)
    is_the_same(live, dump)
    second = second_end(tmp_path)
    with boot(disk, second.network) as guest:
        assert inside(guest, "kdump", "remove").code == 0
        assert guest.check("cat", "/sys/kernel/kexec_crash_loaded").strip() == "0"
        assert files_of(guest) == before
        assert "crashkernel" not in guest.check("cat", "/boot/grub/grub.cfg")
        set_up_ssh(guest, second)
        live = live_report(guest, tmp_path)
        panic(guest)
    (directory,) = (second.root / "dumps").iterdir()
    assert sorted(p.name for p in directory.iterdir()) == ["dmesg.txt", "status", "vmcore.lzo"]
    is_whole(directory / "vmcore.lzo")
    is_the_same(live, directory / "vmcore.lzo")


def set_up_ssh(guest: Guest, second: SecondEnd) -> None:
    """Set up the initramfs for ssh; this boot still has memory for a crash kernel.

    A host whose key is not known is refused.
    """
    network = "set -- /sys/class/net/e*; device=${1##*/}; ip link set $device up; "
    guest.check("sh", "-c", f"{network} ip address add {GUEST_ADDRESS} dev $device")
    guest.check("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/root/dump_key")
    second.let_in(guest.check("cat", "/root/dump_key.pub"))
    place = ("--to", f"ssh:root@{ADDRESS}:/dumps", "--key", "/root/dump_key")
    unknown = inside(guest, "kdump", "setup", "--yes", *place)
    assert unknown.code == 2 and f"the key of {ADDRESS} is not in" in unknown.err
    guest.agent.write_file("/root/hosts", f"{ADDRESS} {second.host_key}\n".encode())
    known = inside(guest, "kdump", "setup", "--yes", *place, "--known-hosts", "/root/hosts")
    assert known.code == 0
    assert guest.check("cat", "/sys/kernel/kexec_crash_loaded").strip() == "1"


def files_of(guest: Guest) -> str:
    """Return names, modes and sums of all files that setup could change."""
    find = (
        "cd / && find etc boot/grub/grub.cfg var/lib/pageproof usr/lib/systemd -xdev "
        "-printf '%p %m %y %l\\n' 2>/dev/null | sort && "
        "find etc boot/grub/grub.cfg -xdev -type f -print0 | sort -z | xargs -0 sha256sum"
    )
    return guest.check("sh", "-c", find, timeout_seconds=STEP_SECONDS)
