# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest as tests use it: load the module, map the region, run pageproof."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from standing import Standing

from pageproof_lab.guest.guest import FORMATS, Guest
from pageproof_lab.images.build import Built
from pageproof_lab.images.kernels import Kernel
from pageproof_lab.paths import python_path

ROOT = Path(__file__).resolve().parents[1]
PYTHONPATH = python_path(ROOT)
Json = dict[str, Any]
# Deadlines for hangs, not measures of speed: an emulated guest on a busy host is slow.
START_SECONDS = 300
COMMAND_SECONDS = 600


@dataclass(frozen=True)
class Setup:
    """One way to boot. All set-ups together have every pair of kernel, levels, KASLR and PTI."""

    kernel: str
    paging: int
    kaslr: bool
    pti: bool
    formats: tuple[str, ...] = ("lzo",)
    cpus: int = 1

    def __str__(self) -> str:
        kaslr, pti = "kaslr" if self.kaslr else "nokaslr", "pti" if self.pti else "nopti"
        return f"{self.kernel}-{self.paging}level-{kaslr}-{pti}"


# Every pair of values of two parameters that the kernels support is in some row. The first four
# rows have no PTI: with it each system call flushes the emulated TLB, which costs a third of the
# time. Most have one CPU: if two guests share two host CPUs, waiting virtual CPUs cost a fifth.
SETUPS = (
    Setup("5.10", 4, kaslr=True, pti=False, formats=FORMATS, cpus=2),
    Setup("6.1", 5, kaslr=True, pti=False, formats=FORMATS),
    Setup("6.12", 5, kaslr=False, pti=False, formats=FORMATS),
    Setup("7.2", 4, kaslr=True, pti=False, formats=FORMATS, cpus=2),
    Setup("5.10", 4, kaslr=False, pti=True),
    Setup("6.1", 4, kaslr=False, pti=True),
    Setup("6.12", 4, kaslr=True, pti=True, cpus=2),
    Setup("7.2", 5, kaslr=False, pti=True),
)

# For tests that do not depend on how a kernel was booted. These are the first in SETUPS because
# pytest groups tests by the index of a parameter, and so boots each guest once.
ONE_A_KERNEL = SETUPS[:4]
each_kernel = pytest.mark.parametrize("machine", ONE_A_KERNEL, indirect=True, ids=str)


def _at_length(setups: Sequence[Setup], *always: str) -> pytest.MarkDecorator:
    """Parametrize by set-ups of which `make test` runs some, and `make test-all` all."""
    marked = [
        pytest.param(setup, marks=[] if setup.kernel in always else [pytest.mark.long])
        for setup in setups
    ]
    return pytest.mark.parametrize("machine", marked, indirect=True, ids=str)


each_kernel_at_length = _at_length(ONE_A_KERNEL, "5.10")
# For types from BTF: the same guests as those of each_kernel.
each_kernel_with_btf = _at_length(ONE_A_KERNEL, "6.12")
each_kernel_with_a_tree_of_vmas = _at_length(ONE_A_KERNEL, "6.12")
# One always, and all at length; watches through QEMU's gdb stub want one CPU: before QEMU 8.0 it
# does not report locked instructions of guests with several.
each_kernel_with_one_cpu = _at_length([SETUPS[4], *SETUPS[1:3], SETUPS[7]], "6.12")
# For stress: a set-up with several CPUs.
each_kernel_under_stress = _at_length(ONE_A_KERNEL, "7.2")
# For the set-ups that each_kernel does not have.
other_setups_at_length = _at_length(SETUPS[4:], "6.12")
# For tests that do not depend on the kernel: messages, and ways to call a command. They run on the
# oldest one, or on the one that -k names (plugins/onekernel.py).
on_one_kernel = pytest.mark.one_kernel


@dataclass(frozen=True)
class Region:
    """Parameters to load the module with. Its own tests check the pairs that it refuses."""

    backing: str
    map: str
    pages: int

    def __str__(self) -> str:
        return f"{self.backing}-{self.map}-{self.pages}"

    @property
    def parameters(self) -> tuple[str, ...]:
        return f"backing={self.backing}", f"map={self.map}", f"length={self.pages * 4096}"


ARTICLE = Region("kzalloc", "remap", 1)
REGIONS = (
    ARTICLE,
    Region("kzalloc", "fault", 3),
    Region("pages", "remap", 4),
    Region("pages", "fault", 1),
    Region("pages", "insert", 4),
    Region("vmalloc", "fault", 16),
    Region("vmalloc", "insert", 5),
)


@dataclass(frozen=True)
class Result:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def report(self) -> Json:
        assert self.out, self.err
        report: Json = json.loads(self.out)
        return report


def pageproof(*words: str | Path, env: dict[str, str] | None = None) -> Result:
    """Run this clone's pageproof on the host."""
    return _run([sys.executable, "-m", "pageproof", *map(str, words)], env)


def drgn_script(name: str, *target: str, words: Sequence[str] = ()) -> Result:
    """Run one of drgn_scripts/ in plain drgn on the host; `words` are its arguments."""
    script = str(ROOT / "drgn_scripts" / name)
    return _run([sys.executable, "-m", "drgn", "-q", *target, script, *words])


def environment() -> dict[str, str]:
    """Return the environment for this clone's pageproof."""
    return {**os.environ, "PYTHONPATH": PYTHONPATH}


def _run(words: list[str], env: dict[str, str] | None = None) -> Result:
    done = subprocess.run(
        words,
        env={**environment(), **(env or {})},
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)


@dataclass
class Machine:
    """A guest, and the state that tests leave in it."""

    setup: Setup
    guest: Guest
    kernel: Kernel
    built: Built
    test_modules: list[Path] = field(default_factory=list)
    _parameters: tuple[str, ...] | None = None
    _mappers: list[int] = field(default_factory=list)
    _standing: Standing | None = None

    def __enter__(self) -> "Machine":
        return self

    def __exit__(self, *error: object) -> None:
        if self._standing is not None:
            self._standing.end()

    @property
    def symbols(self) -> tuple[str, ...]:
        files = self.kernel.vmlinux, self.built.module, *self.test_modules
        return tuple(word for file in files for word in ("-s", str(file)))

    @property
    def target(self) -> tuple[str, ...]:
        return "--qemu", str(self.guest.sockets.qmp), *self.symbols

    def outside(self, *words: str) -> Result:
        """Run a command on the guest over QMP; drgn stays attached (tests/standing.py)."""
        if self._standing is None:
            target = "--qemu", str(self.guest.sockets.spare)
            self._standing = Standing(target, self.kernel.vmlinux, environment())
        return Result(*self._standing.ask(*self.symbols, *words))

    def inside(self, *words: str) -> Result:
        """Run a command of pageproof inside the guest."""
        ran = self.guest.run("pageproof", *words, timeout_seconds=COMMAND_SECONDS)
        return Result(ran.code, ran.out, ran.err)

    def load(self, region: Region = ARTICLE, *, allow_any: bool = False) -> None:
        """Load the module with these parameters, unless it is loaded with them already."""
        parameters = (*region.parameters, f"allow_any={int(allow_any)}")
        if parameters != self._parameters:
            self.unload()
            self.guest.load_module(*parameters)
            self._parameters = parameters

    def unload(self) -> None:
        self.end_mappers()
        if self.guest.run("test", "-d", "/sys/module/umh_shm").code == 0:
            self.guest.check("sh", "-c", "echo 1 > /sys/class/misc/umh_shm/stop && rmmod umh_shm")
        self._parameters = None

    def load_test_module(self, name: str) -> None:
        """Load a module of tests/vm. It stays loaded, and `outside` uses its debug info."""
        assert self.built.programs is not None
        file = self.built.programs / f"{name}.ko"
        if file not in self.test_modules:
            self.guest.check("insmod", f"/opt/pageproof/vm/{name}.ko")
            self.test_modules.append(file)

    def sysfs(self, name: str) -> str:
        return self.guest.check("cat", f"/sys/class/misc/umh_shm/{name}").strip()

    def helper_address(self) -> tuple[str, str]:
        """Return the helper's PID and the address at which it maps the region, from procfs."""
        pid = self.sysfs("helper_pid")
        lines = self.guest.check("cat", f"/proc/{pid}/maps").splitlines()
        (line,) = (line for line in lines if line.endswith("/dev/umh_shm"))
        return pid, line.partition("-")[0]

    def pfns(self) -> list[int]:
        """Return the region's frames as the module itself lists them."""
        lines = self.guest.check("cat", "/sys/kernel/debug/umh_shm/pfns").splitlines()
        pfns = {int(index): int(pfn, 16) for index, pfn in (line.split() for line in lines)}
        return [pfns[index] for index in range(len(pfns))]

    def map(self, *words: str) -> Json:
        """Start tests/vm/mapper.c in the guest; the module needs allow_any=1."""
        output = f"/run/mapper-{len(self._mappers)}.json"
        self.guest.check("rm", "-f", output)
        command = f"setsid /opt/pageproof/vm/mapper {output} {' '.join(words)} "
        facts: Json = self._start(command, output, "/run/mapper.log")
        self._mappers.append(facts["pid"])
        return facts

    def start(self, script: str, *words: str) -> Any:
        """Start a script or a program of tests/vm in the guest, in its own process group.

        Returns:
            The JSON that it wrote to its first argument, a file, when it was ready.
        """
        output = "/run/started.json"
        self.guest.check("rm", "-f", output)
        python = "python3 " if script.endswith(".py") else ""
        command = f"setsid {python}/opt/pageproof/vm/{script} {output} {' '.join(words)}"
        return self._start(command, output, "/run/started.log")

    def _start(self, command: str, output: str, log: str) -> Any:
        """Start a command in the background; return the JSON that it writes when it is ready."""
        self.guest.check("sh", "-c", f"{command} >{log} 2>&1 </dev/null &")
        deadline = time.monotonic() + START_SECONDS
        while (ran := self.guest.run("cat", output)).code:
            said = self.guest.run("cat", log).out
            assert time.monotonic() < deadline and "Error" not in said, said
            time.sleep(0.1)
        return json.loads(ran.out)

    def end_group(self, pid: int) -> None:
        """Kill the process group of a program that `start` started, and wait for its end."""
        kill = ("sh", "-c", f"kill -s KILL -- -{pid}")
        # A guest that is busy on a busy host may take minutes to start a shell.
        self.guest.check(*kill, timeout_seconds=START_SECONDS)
        deadline = time.monotonic() + START_SECONDS
        while self.guest.run(*kill).code == 0:
            assert time.monotonic() < deadline, f"process group {pid} does not end"
            time.sleep(0.02)

    def wait_until_gone(self, pid: int) -> None:
        """Wait until a process that got a signal has ended."""
        deadline = time.monotonic() + START_SECONDS
        while self.guest.run("test", "-d", f"/proc/{pid}").code == 0:
            assert time.monotonic() < deadline, f"process {pid} does not end"
            time.sleep(0.02)

    def end_mappers(self) -> None:
        for pid in self._mappers:
            self.guest.run("kill", "-KILL", str(pid))
            while self.guest.run("test", "-d", f"/proc/{pid}").code == 0:
                time.sleep(0.02)
        self._mappers.clear()


def number(value: str) -> int:
    """Parse an address, entry or PFN of a JSON report."""
    assert value.startswith("0x"), value
    return int(value, 16)


def pages(report: Json) -> dict[tuple[int, int], Json]:
    """Return the proofs of a report by (pid of the mapping, page of the region)."""
    mappings = report["mappings"]
    return {
        (mappings[p["evidence"]["mapping"]]["pid"], p["evidence"]["page_index"]): p
        for p in report["proofs"]
    }


def verdicts(report: Json) -> Sequence[str]:
    return [proof["verdict"] for proof in report["proofs"]]
