# SPDX-License-Identifier: GPL-2.0-or-later
"""A plain Debian with systemd, from outside: all memory that its programs share with the kernel is
found and proven, even while io_uring and the network are under full load.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from machine import COMMAND_SECONDS, Json, Result, pageproof
from wheels import wheel_of_this_clone

from pageproof_lab.guest import boot, qemu
from pageproof_lab.guest.guest import Guest
from pageproof_lab.images import kernels

#: The kernel of the root's own Debian, as its perf is built for that one.
KERNEL = "6.12"
START_SECONDS = 300  # bpftrace starts a compiler
LOOKS = 3
#: Services that run until they are stopped. They discard their records, which on a busy host filled
#: the guest's disk before the test ran.
PROGRAMS = {
    "perf": "perf record --all-cpus --event cpu-clock --output /dev/null",
    "tcpdump": "tcpdump -Z root --interface lo -U -w /dev/null udp",
    "bpftrace": 'bpftrace -e interval:ms:100{printf("tick\\n");}',
    "qemu-img": "qemu-img bench -f raw -i io_uring -t none -c 1000000000 -d 8 /var/tmp/image",
}
INSIDE = (
    ("verify",),
    ("regions",),
    ("kmap",),
    ("whatis", "system_state"),
    ("audit",),
)
NETWORK = {
    "iperf3-server": "iperf3 --server",
    "iperf3-client": "iperf3 --client 127.0.0.1 --udp --bitrate 0 --time 0",
}


def verify(guest: Guest, *words: str) -> Result:
    return pageproof("--qemu", guest.sockets.qmp, "verify", "--format", "json", *words)


def undecided(report: Json) -> set[tuple[str, str]]:
    """Return (process, reason) of pages that `verify` of everything could not decide."""
    return {
        (report["mappings"][use["mapping"]]["comm"], run["reason"])
        for region in report["regions"]
        for use in region["uses"]
        for run in use["runs"]
        if run["reason"] not in (None, "not-present")
    }


def start(guest: Guest, services: dict[str, str]) -> None:
    for name, command in services.items():
        guest.check("systemd-run", f"--unit={name}", *command.split())


def main_pid(guest: Guest, name: str) -> str:
    said = guest.check("systemctl", "show", "--property=MainPID", "--value", name).strip()
    assert said != "0", guest.run("journalctl", "--unit", name).out
    return said


@pytest.fixture(scope="module", params=[KERNEL])
def debian() -> Iterator[Guest]:
    with boot.boot(kernels.fetch(KERNEL), qemu.Options(debian=True)) as guest:
        guest.run("systemctl", "is-system-running", "--wait")
        yield guest


@pytest.fixture(scope="module")
def programs(debian: Guest) -> Guest:
    debian.check("truncate", "--size=16M", "/var/tmp/image")
    start(debian, PROGRAMS)
    return debian


def test_nothing_of_ours_is_in_it(debian: Guest) -> None:
    assert debian.check("readlink", "/proc/1/exe").strip() == "/usr/lib/systemd/systemd"
    assert debian.run("modprobe", "umh_shm").code != 0
    assert debian.run("test", "-e", "/opt/pageproof").code != 0


def test_from_inside_without_debug_info(debian: Guest, tmp_path: Path) -> None:
    """With only the wheel, without network and without a debug package."""
    debian.check("umount", "/usr/lib/debug")
    assert debian.check("find", "/usr/lib/debug", "-type", "f") == ""
    assert debian.check("ls", "/sys/class/net").split() == ["lo"]
    debian.agent.write_file("/run/pageproof.whl", wheel_of_this_clone(tmp_path).read_bytes())
    debian.check("python3", "-m", "zipfile", "-e", "/run/pageproof.whl", "/run/site")
    command = "env", "PYTHONPATH=/run/site", "python3", "-m", "pageproof"
    for words in INSIDE:
        ran = debian.run(*command, *words, timeout_seconds=COMMAND_SECONDS)
        assert "types: BTF from sysfs; symbols: kallsyms of the target" in ran.out, ran.err
        # A worker of udev may end during a run: its pages are undecided.
        assert ran.code in (0, 3), (words, ran.out, ran.err)
    dwarf = debian.run(*command, "--debug-info", "dwarf", "kmap")
    assert dwarf.code == 2 and "no debug info for Linux" in dwarf.err


def test_what_it_shares_is_found_and_proven(debian: Guest) -> None:
    """Each process's vDSO is SAME, systemd's included; only pages of ended processes are undecided.

    Workers of udev end some seconds after their last event. If one ends during a run, that run
    reports its pages as undecided, and the next run does not list them.
    """
    found = pageproof("--qemu", debian.sockets.qmp, "regions", "--pid", "1", "--format", "json")
    assert (found.code, found.report["regions"][0]["kind"]) == (0, "vdso"), found.err
    for _ in range(LOOKS):
        result = verify(debian)
        summary = result.report["summary"]
        assert (summary["errors"], summary["warnings"]) == (0, 0), result.out
        if result.code == 0:
            break
        left = undecided(result.report)
        assert {reason for _, reason in left} == {"torn"}, (left, result.report["findings"])
    assert result.code == 0, left
    names = {one["comm"] for one in result.report["mappings"]}
    assert names >= {"systemd", "systemd-journal", "systemd-udevd", "dbus-daemon", "qemu-ga"}
    assert summary["same"] >= len(names)


@pytest.mark.parametrize(
    ("program", "kind"),
    [("perf", "perf"), ("tcpdump", "packet"), ("qemu-img", "io_uring"), ("bpftrace", "bpf")],
)
def test_a_real_program(programs: Guest, program: str, kind: str) -> None:
    pid = main_pid(programs, program)
    deadline = time.monotonic() + START_SECONDS
    report: Json = {}
    while not report.get("summary", {}).get("same"):
        assert time.monotonic() < deadline, report
        report = verify(programs, "--kind", kind, "--pid", pid).report
    assert (report["summary"]["different"], report["summary"]["errors"]) == (0, 0)
    assert {one["comm"] for one in report["mappings"]} == {program}


def test_under_load(programs: Guest) -> None:
    """With io_uring and network load that perf and tcpdump record, no page is DIFFERENT."""
    start(programs, NETWORK)
    kinds = set()
    for _ in range(LOOKS):
        report = verify(programs).report
        summary = report["summary"]
        assert (summary["different"], summary["errors"]) == (0, 0), report["findings"]
        for proof in report["proofs"]:
            if proof["verdict"] == "SAME":
                kinds.add(report["regions"][proof["evidence"]["region"]]["kind"])
    assert kinds >= {"perf", "packet", "io_uring", "bpf", "vdso"}
    for name in (*PROGRAMS, *NETWORK):
        main_pid(programs, name)
