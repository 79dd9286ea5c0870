# SPDX-License-Identifier: GPL-2.0-or-later
"""``kdump check`` on recorded machines, and on these with one fact changed."""

from __future__ import annotations

from pathlib import Path

import pytest
from unit.kdump.machines import MACHINES, Laid, kcore

from pageproof.errors import Exit
from pageproof.model.kdump import State
from pageproof_kdump.check.command import check_machine
from pageproof_kdump.check.machine import Machine, shell_variables

DEFAULTS = "/etc/default/kdump-tools"


@pytest.fixture
def lab72(tmp_path: Path) -> Laid:
    """Linux 7.2 with makedumpfile 1.7.6; nothing is set up."""
    return Laid(tmp_path, "lab-7.2")


@pytest.mark.parametrize("name", MACHINES)
def test_the_same_as_on_the_machine(tmp_path: Path, name: str) -> None:
    laid = Laid(tmp_path, name)
    assert {one: result.state for one, result in laid.check().items()} == laid.states


def test_the_trap(lab72: Laid) -> None:
    """Linux 7.2 with makedumpfile 1.7.6 at the level that everybody uses."""
    found = lab72.check()["filter"]
    assert found.state is State.BAD
    assert "at level 31" in found.found
    assert "makedumpfile 1.7.6 drops slab pages of Linux 7.2" in found.found
    assert "OFFSET(page.compound_info)" in found.found
    assert "-d 23" in found.remedy
    assert "newer than 1.7.9" in found.remedy


def with_tools(laid: Laid, arguments: str = "-c -d 31") -> None:
    """Configure kdump-tools as on Debian."""
    laid.write("/usr/sbin/kdump-config", "")
    laid.write(DEFAULTS, f'USE_KDUMP=1\nKDUMP_COREDIR="/var/crash"\nMAKEDUMP_ARGS="{arguments}"\n')
    laid.write("/var/crash/.keep", "")
    laid.free_bytes["/var/crash"] = 100 << 30


@pytest.mark.parametrize(
    ("arguments", "state"),
    [
        ("-c -d 31", State.BAD),
        ("-c -d 23", State.OK),
        ("-l -d23 --message-level 1", State.OK),
        ("-ld31", State.BAD),
        ("-c -d 17,31", State.BAD),  # tries 31 if the dump does not fit
        ("-c", State.OK),
        ("-c -d 99", State.BAD),  # makedumpfile refuses it, so the usual level is judged
    ],
)
def test_the_level_decides(lab72: Laid, arguments: str, state: State) -> None:
    with_tools(lab72, arguments)
    assert lab72.check()["filter"].state is state


def test_a_makedumpfile_that_reads_the_key(lab72: Laid) -> None:
    program = lab72.text("/usr/bin/makedumpfile")
    lab72.write("/usr/bin/makedumpfile", f"{program}\0OFFSET(page.compound_info)=")
    assert lab72.check()["filter"].state is State.OK


def test_a_makedumpfile_that_knows_no_mapcount_of_slabs(lab72: Laid) -> None:
    """1.7.2, and a kernel from before 7.1 but after 6.10."""
    program = lab72.text("/usr/bin/makedumpfile").replace("PAGE_SLAB_MAPCOUNT_VALUE", "X")
    lab72.write("/usr/bin/makedumpfile", program)
    info = Laid(lab72.root / "other", "lab-7.2").text("/proc/kcore").encode("latin-1")
    text = info[info.index(b"OSRELEASE") :].decode().replace("compound_info", "compound_head")
    lab72.write("/proc/kcore", text)
    found = lab72.check()["filter"]
    assert found.state is State.BAD
    assert "NUMBER(PAGE_SLAB_MAPCOUNT_VALUE)" in found.found


@pytest.mark.parametrize(
    ("release", "state"), [("7.2.12+deb13-cloud-amd64", "may"), ("6.1.0-9-amd64", "reads")]
)
def test_without_vmcoreinfo_the_release_decides_that_it_is_unknown(
    lab72: Laid, release: str, state: str
) -> None:
    lab72.remove("/proc/kcore")
    lab72.write("/proc/sys/kernel/osrelease", release)
    found = lab72.check()["filter"]
    assert found.state is State.UNKNOWN
    assert ("drops slab pages" in found.found) is (state == "may")


def test_compressions_that_are_not_built_in(lab72: Laid) -> None:
    with_tools(lab72, "-p -d 23")
    found = lab72.check()["compression"]
    assert found.state is State.BAD
    assert "built without snappy" in found.found
    assert "zlib, lzo, zstd" in found.remedy
    with_tools(lab72, "-z -d 23")
    assert lab72.check()["compression"].state is State.OK


def test_no_makedumpfile(lab72: Laid) -> None:
    lab72.remove("/usr/bin/makedumpfile")
    found = lab72.check()
    assert found["makedumpfile"].state is State.BAD
    assert found["filter"].state is State.OK


def test_reserved(lab72: Laid) -> None:
    lab72.write("/sys/kernel/kexec/crash_size", "0\n")
    found = lab72.check()
    assert found["reserved"].state is State.BAD
    assert "crashkernel=128M is on the command line" in found["reserved"].found
    assert found["reserved-size"].state is State.UNKNOWN
    lab72.write("/proc/cmdline", "console=ttyS0\n")
    assert "no memory is reserved" in lab72.check()["reserved"].found
    for size_mib, state in ((64, State.BAD), (96, State.OK)):
        lab72.write("/sys/kernel/kexec/crash_size", f"{size_mib << 20}\n")
        assert lab72.check()["reserved-size"].state is state
    with_tools(lab72)
    assert lab72.check()["reserved-size"].state is State.BAD  # Debian's initramfs needs more


def test_a_kernel_that_cannot(lab72: Laid) -> None:
    lab72.write("/boot/config-7.2.12+deb13-cloud-amd64", "CONFIG_KEXEC=y\nCONFIG_CRASH_DUMP=y\n")
    found = lab72.check()["kernel-config"]
    assert found.state is State.BAD
    assert "CONFIG_PROC_VMCORE, CONFIG_RELOCATABLE" in found.found


def test_a_loaded_kernel_of_nobody(lab72: Laid) -> None:
    lab72.write("/sys/kernel/kexec/crash_loaded", "1\n")
    found = lab72.check()
    assert found["loaded"].state is State.OK
    assert found["setup"].state is State.UNKNOWN


def test_loading_is_forbidden(lab72: Laid) -> None:
    lab72.write("/proc/sys/kernel/kexec_load_disabled", "1\n")
    assert "kexec_load_disabled" in lab72.check()["loaded"].remedy


@pytest.mark.parametrize(
    ("lockdown", "secure_boot", "state"),
    [
        ("none [integrity] confidentiality", False, State.BAD),
        ("[none] integrity confidentiality", False, State.OK),
        ("[none] integrity confidentiality", True, State.BAD),
    ],
)
def test_lockdown(lab72: Laid, lockdown: str, secure_boot: bool, state: State) -> None:
    lab72.write("/sys/kernel/security/lockdown", f"{lockdown}\n")
    name = "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
    lab72.write(f"/sys/firmware/efi/efivars/{name}", f"\6\0\0\0{chr(secure_boot)}")
    assert lab72.check()["lockdown"].state is state


def test_room(lab72: Laid) -> None:
    with_tools(lab72)
    assert lab72.check()["room"].state is State.OK
    lab72.free_bytes["/var/crash"] = 10 << 20
    found = lab72.check()["room"]
    assert found.state is State.BAD
    assert "10.0 MiB" in found.found
    lab72.write(DEFAULTS, 'USE_KDUMP=1\nSSH="root@other"\n')
    found = lab72.check()["room"]
    assert (found.state, "root@other" in found.found) == (State.UNKNOWN, True)


def test_kdump_tools_that_are_off(lab72: Laid) -> None:
    with_tools(lab72)
    assert "systemctl enable" in lab72.check()["setup"].remedy
    lab72.write("/etc/systemd/system/basic.target.wants/kdump-tools.service", "")
    assert lab72.check()["setup"].state is State.OK
    lab72.write(DEFAULTS, "USE_KDUMP=0\n")
    assert "USE_KDUMP=1" in lab72.check()["setup"].remedy


def test_after_a_kernel_update(lab72: Laid) -> None:
    with_tools(lab72)
    defaults = lab72.text(DEFAULTS)
    links = "KDUMP_KERNEL=/var/lib/kdump/vmlinuz\nKDUMP_INITRD=/var/lib/kdump/initrd.img\n"
    lab72.write(DEFAULTS, defaults + links)
    old, new = "7.1.0+deb13-cloud-amd64", "7.2.12+deb13-cloud-amd64"
    for release in (old, new):
        lab72.write(f"/boot/vmlinuz-{release}", "")
        lab72.write(f"/var/lib/kdump/initrd.img-{release}", "")
    for kernel, image, state, words in (
        (new, new, State.OK, "of the running kernel"),
        (old, old, State.BAD, f"of {old}, and {new} is running"),
        (new, old, State.BAD, "whose modules do not fit"),
        (new, "9.9", State.BAD, "does not exist"),
    ):
        lab72.link("/var/lib/kdump/vmlinuz", f"/boot/vmlinuz-{kernel}")
        lab72.link("/var/lib/kdump/initrd.img", f"/var/lib/kdump/initrd.img-{image}")
        found = lab72.check()["capture-kernel"]
        assert (found.state, words in found.found) == (state, True), found


def test_the_projects_own_unit(lab72: Laid) -> None:
    lab72.write(
        "/etc/pageproof/kdump.conf",
        "# written by setup\ntarget=file\ndisk=UUID=12-34\nfs=ext4\ndir=var/crash\nformats=lzo\n"
        "level=23\nbuild.modules=virtio_blk\n",
    )
    lab72.write("/dev/vda1", "")
    lab72.link("/dev/disk/by-uuid/12-34", "../../vda1")
    lab72.write("/proc/mounts", "proc /proc proc rw 0 0\n/dev/vda1 / ext4 rw 0 0\n")
    lab72.write("/var/crash/.keep", "")
    lab72.write("/boot/vmlinuz-7.2.12+deb13-cloud-amd64", "")
    lab72.free_bytes["/var/crash"] = 100 << 30
    found = lab72.check()
    assert "does not start" in found["setup"].found
    lab72.write("/etc/systemd/system/multi-user.target.wants/pageproof-kdump.service", "")
    found = lab72.check()
    for name in ("setup", "capture-kernel", "compression", "level", "filter", "room"):
        assert found[name].state is State.OK, found[name]
    lab72.write("/proc/mounts", "")
    assert lab72.check()["room"].state is State.BAD


def test_a_partition(lab72: Laid) -> None:
    lab72.write("/etc/pageproof/kdump.conf", "target=partition\nid=ab12\n")
    lab72.write("/sys/class/block/vdb/size", f"{8 << 20}\n")
    lab72.write("/dev/vdb", "something else")
    assert lab72.check()["room"].state is State.BAD
    lab72.write("/dev/vdb", "pageproof dump 1\nid=ab12\nstate=empty\n")
    found = lab72.check()["room"]
    assert found.state is State.OK
    assert "/dev/vdb has room for 4.0 GiB" in found.found


def test_a_check_that_fails_is_unknown(lab72: Laid, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Machine, "memory_kib", property(lambda self: 1 / 0))
    with_tools(lab72)
    found = lab72.check()
    assert found["room"].state is State.UNKNOWN
    assert "ZeroDivisionError" in found["room"].found
    assert found["filter"].state is State.BAD


def test_an_empty_root(tmp_path: Path) -> None:
    """Nothing is known, and that is no error of the program."""
    (tmp_path / "proc/sys/kernel").mkdir(parents=True)
    (tmp_path / "proc/sys/kernel/osrelease").write_text("1\n")
    (tmp_path / "proc/sys/kernel/hostname").write_text("empty\n")
    report = check_machine(Machine(tmp_path))
    assert report.exit_code == Exit.WRONG  # nothing is set up, no makedumpfile
    assert {one.state for one in report.checks} == {*State}
    assert not any("the check failed" in one.found for one in report.checks)


@pytest.mark.parametrize(
    "damaged",
    [b"", b"\x7fELF", kcore("")[:70], kcore("x")[:-20], b"\x7fELF\2\1" + b"\xff" * 500],
)
def test_damaged_kcore(lab72: Laid, damaged: bytes) -> None:
    (lab72.root / "proc/kcore").write_bytes(damaged)
    assert lab72.check()["filter"].state in (State.UNKNOWN, State.OK)


def test_links_that_lead_to_themselves(lab72: Laid) -> None:
    with_tools(lab72)
    lab72.write(DEFAULTS, lab72.text(DEFAULTS) + "KDUMP_KERNEL=/a\n")
    lab72.link("/a", "/b")
    lab72.link("/b", "/a")
    assert lab72.check()["capture-kernel"].state is State.UNKNOWN


def test_links_stay_inside(lab72: Laid) -> None:
    lab72.link("/etc/x", "../../../../../../etc/default")
    assert lab72.machine().place("/etc/x/kdump-tools") == "/etc/default/kdump-tools"


def test_shell_variables() -> None:
    text = 'A=1\n# B=2\nC="two words" # comment\nD=$A\nexport E=\'5\'\nF="open\nA=3\n G=\n'
    assert shell_variables(text) == {"A": "3", "C": "two words", "E": "5", "G": ""}
