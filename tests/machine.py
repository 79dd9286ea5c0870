# SPDX-License-Identifier: GPL-2.0-or-later
"""What tests do with a guest: load the module, map the region, ask pageproof."""

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
# Deadlines for what hangs, not measures of speed: an emulated guest on a busy host takes its time.
START_SECONDS = 300
COMMAND_SECONDS = 600


@dataclass(frozen=True)
class Setup:
    """One way to boot. Together the set-ups hold every pair of kernel, depth, KASLR and PTI."""

    kernel: str
    paging: int
    kaslr: bool
    pti: bool
    formats: tuple[str, ...] = ("lzo",)
    cpus: int = 1

    def __str__(self) -> str:
        kaslr, pti = "kaslr" if self.kaslr else "nokaslr", "pti" if self.pti else "nopti"
        return f"{self.kernel}-{self.paging}level-{kaslr}-{pti}"


# Every pair of values of two parameters stands in some row, as far as the kernels have it. With PTI
# each system call empties an emulated TLB, which takes a third of the time: none of the first four.
# And where two guests share two CPUs, a virtual CPU that waits for another takes a fifth.
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

# For what does not depend on how a kernel was booted. They stand first in SETUPS: pytest groups
# tests by the index of a parameter, and so boots each once.
ONE_A_KERNEL = SETUPS[:4]
each_kernel = pytest.mark.parametrize("machine", ONE_A_KERNEL, indirect=True, ids=str)


def _at_length(setups: Sequence[Setup], *always: str) -> pytest.MarkDecorator:
    """Where `make test` looks at some kernels, and `make test-all` at all."""
    marked = [
        pytest.param(setup, marks=[] if setup.kernel in always else [pytest.mark.long])
        for setup in setups
    ]
    return pytest.mark.parametrize("machine", marked, indirect=True, ids=str)


each_kernel_at_length = _at_length(ONE_A_KERNEL, "5.10")
# For stress: on one that has several CPUs.
each_kernel_under_stress = _at_length(ONE_A_KERNEL, "7.2")
# For what each_kernel has in another way.
other_setups_at_length = _at_length(SETUPS[4:], "6.12")
# For what does not depend on the kernel either: messages, and the ways to call a command.
on_one_kernel = pytest.mark.parametrize("machine", ONE_A_KERNEL[:1], indirect=True, ids=str)


@dataclass(frozen=True)
class Region:
    """How the module is loaded; `refused` pairs are not here but in the module's own tests."""

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
    """What pageproof said."""

    code: int
    out: str
    err: str

    @property
    def report(self) -> Json:
        assert self.out, self.err
        report: Json = json.loads(self.out)
        return report


def pageproof(*words: str | Path, env: dict[str, str] | None = None) -> Result:
    """Run this checkout's pageproof on the host."""
    return _run([sys.executable, "-m", "pageproof", *map(str, words)], env)


def drgn_script(name: str, *target: str, words: Sequence[str] = ()) -> Result:
    """Run one of drgn_scripts/ in plain drgn on the host, with words of its own."""
    script = str(ROOT / "drgn_scripts" / name)
    return _run([sys.executable, "-m", "drgn", "-q", *target, script, *words])


def environment() -> dict[str, str]:
    """That of a command."""
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
        """A command on the guest, over QMP; by a drgn that stays attached (tests/standing.py)."""
        if self._standing is None:
            target = "--qemu", str(self.guest.sockets.spare)
            self._standing = Standing(target, self.kernel.vmlinux, environment())
        return Result(*self._standing.ask(*self.symbols, *words))

    def inside(self, *words: str) -> Result:
        ran = self.guest.run("pageproof", *words, timeout_seconds=COMMAND_SECONDS)
        return Result(ran.code, ran.out, ran.err)

    def load(self, region: Region = ARTICLE, *, allow_any: bool = False) -> None:
        """Have the module loaded just so; reloaded only if it is not."""
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
        """Load a module of tests/vm, for good; from now on its types are known outside."""
        assert self.built.programs is not None
        self.guest.check("insmod", f"/opt/pageproof/vm/{name}.ko")
        self.test_modules.append(self.built.programs / f"{name}.ko")

    def sysfs(self, name: str) -> str:
        return self.guest.check("cat", f"/sys/class/misc/umh_shm/{name}").strip()

    def helper_address(self) -> tuple[str, str]:
        """The helper's PID and where it maps the region, as procfs says."""
        pid = self.sysfs("helper_pid")
        lines = self.guest.check("cat", f"/proc/{pid}/maps").splitlines()
        (line,) = (line for line in lines if line.endswith("/dev/umh_shm"))
        return pid, line.partition("-")[0]

    def pfns(self) -> list[int]:
        """The region's frames as the module itself knows them."""
        lines = self.guest.check("cat", "/sys/kernel/debug/umh_shm/pfns").splitlines()
        pfns = {int(index): int(pfn, 16) for index, pfn in (line.split() for line in lines)}
        return [pfns[index] for index in range(len(pfns))]

    def map(self, *words: str) -> Json:
        """Start tests/vm/mapper.c in the guest; it needs allow_any=1."""
        output = f"/run/mapper-{len(self._mappers)}.json"
        self.guest.check("rm", "-f", output)
        command = f"setsid /opt/pageproof/vm/mapper {output} {' '.join(words)} "
        facts: Json = self._start(command, output, "/run/mapper.log")
        self._mappers.append(facts["pid"])
        return facts

    def start(self, script: str, *words: str) -> Any:
        """Start a script or a program of tests/vm in the guest, in a process group of its own.

        Returns:
            What it wrote, as JSON, to the file that is its first word: once it is ready.
        """
        output = "/run/started.json"
        self.guest.check("rm", "-f", output)
        python = "python3 " if script.endswith(".py") else ""
        command = f"setsid {python}/opt/pageproof/vm/{script} {output} {' '.join(words)}"
        return self._start(command, output, "/run/started.log")

    def _start(self, command: str, output: str, log: str) -> Any:
        """Start a command in the background; what it writes as JSON, once it is ready."""
        self.guest.check("sh", "-c", f"{command} >{log} 2>&1 </dev/null &")
        deadline = time.monotonic() + START_SECONDS
        while (ran := self.guest.run("cat", output)).code:
            said = self.guest.run("cat", log).out
            assert time.monotonic() < deadline and "Error" not in said, said
            time.sleep(0.1)
        return json.loads(ran.out)

    def end_group(self, pid: int) -> None:
        """End what `start` started, and wait until its memory is free."""
        kill = ("sh", "-c", f"kill -s KILL -- -{pid}")
        self.guest.check(*kill)
        deadline = time.monotonic() + START_SECONDS
        while self.guest.run(*kill).code == 0:
            assert time.monotonic() < deadline, f"process group {pid} does not end"
            time.sleep(0.02)

    def wait_until_gone(self, pid: int) -> None:
        """Wait until a process that was told to end has done so."""
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
    """An address, entry or PFN of a JSON report."""
    assert value.startswith("0x"), value
    return int(value, 16)


def pages(report: Json) -> dict[tuple[int, int], Json]:
    """The proofs of a report by (pid of the mapping, page of the region)."""
    mappings = report["mappings"]
    return {
        (mappings[p["evidence"]["mapping"]]["pid"], p["evidence"]["page_index"]): p
        for p in report["proofs"]
    }


def verdicts(report: Json) -> Sequence[str]:
    return [proof["verdict"] for proof in report["proofs"]]
