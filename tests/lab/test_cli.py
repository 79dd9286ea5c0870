# SPDX-License-Identifier: GPL-2.0-or-later
"""`pageproof lab` from the command line: up, exec, down, and messages for mistakes."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from machine import environment, pageproof
from qemus import qemus, wait_no_qemu

from pageproof_lab.images import kernels

NAME = "test-cli"


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Use a separate run directory, and end the lab in it afterwards."""
    env = {"XDG_RUNTIME_DIR": str(tmp_path)}
    yield env
    pageproof("lab", "down", "--name", NAME, env=env)


def stdin_of(runtime: dict[str, str], *words: str, given: str) -> str:
    """Return what a command in the guest reads. Without -i, stdin is a pipe that stays open."""
    with subprocess.Popen(
        [sys.executable, "-m", "pageproof", "lab", "exec", "--name", NAME, *words, "--", "cat"],
        env={**environment(), **runtime},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as ran:
        assert ran.stdin
        assert ran.stdout
        ran.stdin.write(given)
        ran.stdin.flush()
        if words:
            ran.stdin.close()
        return ran.stdout.read()


def test_up_exec_down(runtime: dict[str, str]) -> None:
    up = pageproof("lab", "up", "--name", NAME, "--kernel", "6.1", "--gdb", env=runtime)
    assert up.code == 0, up.err
    assert len(qemus(runtime)) == 2  # the keeper and its QEMU
    said = pageproof(
        "lab",
        "exec",
        "--name",
        NAME,
        "--",
        "cat",
        "/sys/class/misc/umh_shm/last_reply",
        env=runtime,
    )
    assert (said.code, said.out.strip()) == (0, "2 hello world")
    assert (
        pageproof("lab", "exec", "--name", NAME, "--", "sh", "-c", "exit 7", env=runtime).code == 7
    )
    assert NAME in pageproof("lab", "list", env=runtime).out
    assert stdin_of(runtime, given="read by nobody\n") == ""
    assert stdin_of(runtime, "-i", given="for the command\n") == "for the command\n"
    again = pageproof("lab", "up", "--name", NAME, "--kernel", "6.1", env=runtime)
    assert again.code == 2
    assert "is up already" in again.err

    line = next(li for li in up.out.splitlines() if li.startswith("verify from outside:"))
    words = line.split(":", 1)[1].split()
    assert words[0] == "pageproof"
    proof = pageproof(*words[1:])
    assert proof.code == 0, proof.err
    assert "SAME" in proof.out

    (line,) = (li for li in up.out.splitlines() if li.startswith("gdb:"))
    with socket.socket(socket.AF_UNIX) as gdb:
        gdb.settimeout(120)
        gdb.connect(line.split()[-1])
        gdb.sendall(b"+$?#3f")  # why did it stop? (gdb manual, "Remote Protocol")
        said_by_gdb = b""
        while b"$T" not in said_by_gdb:
            more = gdb.recv(4096)
            assert more, said_by_gdb
            said_by_gdb += more

    assert pageproof("lab", "down", "--name", NAME, env=runtime).code == 0
    assert wait_no_qemu(runtime)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_boot_leaves_no_guest(runtime: dict[str, str], number: signal.Signals) -> None:
    # A shell's background job and its children ignore SIGINT.
    words = ["env", "--default-signal=INT", sys.executable, "-m", "pageproof", "lab", "up"]
    with subprocess.Popen(
        [*words, "--name", NAME, "--kernel", "6.1"],
        env={**environment(), **runtime},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as up:
        deadline = time.monotonic() + 1200  # on a new machine it fetches the kernel first
        while not qemus(runtime):
            assert up.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        up.send_signal(number)
        up.wait()
    assert wait_no_qemu(runtime)


def test_a_kernel_of_ones_own(runtime: dict[str, str]) -> None:
    kernel = kernels.fetch("6.1")
    image = ("--your-kernel", kernel.vmlinuz, "--your-modules", kernel.modules)
    up = pageproof("lab", "up", "--name", NAME, *image, "--vmlinux", kernel.vmlinux, env=runtime)
    assert up.code == 0, up.err
    uname = pageproof("lab", "exec", "--name", NAME, "--", "uname", "-r", env=runtime)
    assert uname.out.strip() == kernel.release


def test_a_kernel_that_dies(runtime: dict[str, str]) -> None:
    """It is booted again, as emulation sometimes loses a guest; then its last output is shown."""
    up = pageproof(
        "lab", "up", "--name", NAME, "--kernel", "6.1", "--append", "rdinit=/nothing", env=runtime
    )
    assert up.code == 2
    assert up.err.count("booting 6.1") == 3
    assert "did not come up" in up.err
    assert "Kernel panic" in up.err
    assert wait_no_qemu(runtime)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("up", "--kernel", "6.99"), "invalid choice: '6.99'"),
        (("up", "--paging", "3"), "invalid choice: 3"),
        (("up", "--kernel", "5.10", "--paging", "5"), "no 5-level paging"),
        (("up", "--memory", "64"), "512 MiB"),
        (("up", "--flavour", "rt"), "invalid choice: 'rt' (choose from "),
        (("up", "--your-kernel", "/nowhere"), "needs both --your-kernel"),
        (
            ("up", "--your-kernel", "/dev/null", "--your-modules", "/", "--flavour", "amd64"),
            "--flavour: it is for the lab's kernels",
        ),
        (("up", "--debian", "--parameter", "map=fault"), "a plain Debian does not have"),
        (("exec", "--name", "nobody", "--", "true"), "no lab 'nobody' is up"),
        (("down", "--name", "nobody"), "no lab 'nobody' is up"),
        (("exec",), "name a command"),
        (("make", "/nowhere"), "/nowhere: there is no Makefile"),
        (("bench", "--part", "nothing"), "invalid choice: 'nothing'"),
        (("bench", "--part", "engine", "--mib", "5"), "--mib: only for --part server"),
        (("bench", "--scenario", "nothing"), "invalid choice: 'nothing'"),
        (
            ("bench", "--part", "server", "--keep", "/proc/none"),
            "--keep /proc/none: No such file or directory; choose another directory",
        ),
    ],
)
def test_mistakes(runtime: dict[str, str], words: tuple[str, ...], said: str) -> None:
    result = pageproof("lab", *words, env=runtime)
    assert result.code == 2
    assert said in result.err
    assert "Traceback" not in result.err
