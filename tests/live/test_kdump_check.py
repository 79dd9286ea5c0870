# SPDX-License-Identifier: GPL-2.0-or-later
"""`pageproof kdump check` in real guests, before the crash."""

from machine import Json, Machine, each_kernel, on_one_kernel

from pageproof_lab.guest.guest import Guest

NEW = "7.2"
DEFAULTS = "/etc/default/kdump-tools"


def check(machine: Machine) -> Json:
    """Return the checks by their names."""
    result = machine.inside("kdump", "check", "--format", "json")
    assert result.code == result.report["exit_code"]
    assert result.report["release"] == machine.kernel.release
    return {one["id"]: one for one in result.report["checks"]}


def states(found: Json) -> dict[str, str]:
    return {name: one["state"] for name, one in found.items()}


def configure(guest: Guest, arguments: str) -> None:
    """Write kdump-tools' configuration. The lab's guest has no kdump-tools of its own."""
    text = f'USE_KDUMP=1\\nKDUMP_COREDIR=/var/crash\\nMAKEDUMP_ARGS="{arguments}"\\n'
    guest.check("sh", "-c", f"mkdir -p /etc/default; printf '{text}' > {DEFAULTS}")
    guest.check("touch", "/usr/sbin/kdump-config")


@each_kernel
def test_this_kernel_and_this_makedumpfile(machine: Machine) -> None:
    """The trap is found before the crash, with the level that users have."""
    found = check(machine)
    assert found["filter"]["state"] == ("bad" if machine.setup.kernel == NEW else "ok")
    assert found["reserved"]["state"] == found["reserved-size"]["state"] == "ok"
    said = machine.guest.check("sh", "-c", "makedumpfile -v 2>&1").splitlines()
    version = said[0].split()[2]
    assert f"makedumpfile {version}, built with" in found["makedumpfile"]["found"]
    for line in said:
        name, _, word = line.partition("\t")
        if word:
            assert (name in found["makedumpfile"]["found"]) is (word == "enabled")


@on_one_kernel
def test_with_a_configuration(machine: Machine) -> None:
    """From nothing to a machine that is ready; each look takes seconds in an emulated guest."""
    guest = machine.guest
    got = states(check(machine))
    assert got["setup"] == got["loaded"] == "bad"
    configure(guest, "-p -d 31")
    guest.load_crash_kernel()
    try:
        found = check(machine)
        assert found["loaded"]["state"] == "ok"
        assert found["compression"]["state"] == "bad"
        assert "without snappy" in found["compression"]["found"]
        configure(guest, "-l -d 23")
        found = check(machine)
        got = states(found)
        for name in ("compression", "level", "filter"):
            assert got[name] == "ok", found[name]
        room = dict(found["room"]["facts"])
        blocks, size = guest.check("stat", "-f", "-c", "%f %S", "/").split()
        assert abs(int(room["free bytes"]) - int(blocks) * int(size)) < 16 << 20
    finally:
        guest.check("kexec", "-p", "-u")
        guest.check("rm", DEFAULTS, "/usr/sbin/kdump-config")


@on_one_kernel
def test_without_root(machine: Machine) -> None:
    """It reports what it cannot read; nothing is asked of the kernel that it must not be."""
    command = "PYTHONPATH=/opt/pageproof/drgn_scripts python3 -m pageproof kdump check"
    ran = machine.guest.run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                            "sh", "-c", command)  # fmt: skip
    assert ran.code in (1, 3), ran.err
    said = " ".join(ran.out.split())
    assert "cannot read /proc/kcore: Permission denied" in said
    assert "run it as root" in said
