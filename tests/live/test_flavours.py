# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's other flavours: `amd64`, where most drivers are modules, and `rt-amd64`, PREEMPT_RT.

The lab has no debug info of them, so that types come from BTF.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from machine import Machine, Result, Setup, number, pageproof, verdicts

from pageproof_lab.guest import boot, qemu
from pageproof_lab.images import build, kernels

FLAVOURS = {
    "amd64": Setup("6.12", 5, kaslr=True, pti=False),
    "rt-amd64": Setup("6.12", 4, kaslr=True, pti=False),
}
VERIFY = ("verify", "--kind", "umh_shm", "--format", "json")
#: Commands, with what the guest itself says in braces, and a part of their output.
COMMANDS = (
    ("regions", "{pid} umh_shm_helper  {user}-"),
    ("verify", "SAME  page 0 of pid {pid} (umh_shm_helper)"),
    ("kmap", "\nvmemmap "),
    ("audit", ": nothing is wrong"),
    ("maps --pid {pid}", "{user}-"),
    ("alias {kernel}", "{pid} umh_shm_helper"),
    ("walk {kernel}", "frame    PFN 0x{pfn}"),
    ("walk --pid {pid} {user}", "frame    PFN 0x{pfn}"),
    ("whatis {kernel}", "allocated slab object of kmalloc-4k, +0x0"),
    ("whatis {system_state}", "\nsystem_state+0x0/0x4\n"),
    ("whatis --cpu 0 runqueues", "per-CPU variable runqueues, +0x0, of CPU 0"),
)


@dataclass
class Flavoured:
    """A guest of a flavour with the module loaded, and facts that its procfs and debugfs show."""

    machine: Machine
    facts: dict[str, str]

    def outside(self, *words: str) -> Result:
        return pageproof("--qemu", self.machine.guest.sockets.qmp, *words)

    def prove(self, result: Result) -> str:
        """Check a report of verify on the module's one page; return its kernel address."""
        assert result.code == 0, result.out + result.err
        report = result.report
        assert verdicts(report) == ["SAME"]
        assert report["findings"] == []
        assert any("types: BTF from" in note for note in report["target"]["notes"])
        evidence = report["proofs"][0]["evidence"]
        for walk in ("kernel_walk", "user_walk"):
            assert number(evidence[walk]["pfn"]) == int(self.facts["pfn"], 16)
        return str(evidence["kernel_address"])


@pytest.fixture(scope="module", params=FLAVOURS)
def flavoured(request: pytest.FixtureRequest) -> Iterator[Flavoured]:
    setup = FLAVOURS[request.param]
    kernel = kernels.fetch(setup.kernel, request.param)
    built = build.build(kernel)
    # makedumpfile saves free pages of this kernel, unless they are zeros (BIG_DUMPS in conftest).
    options = qemu.Options(paging=setup.paging, pti=setup.pti, cpus=1, append="init_on_free=1")
    with boot.boot(kernel, options, built=built) as here:
        machine = Machine(setup, here, kernel, built)
        machine.load()
        pid, user = machine.helper_address()
        line = here.check("grep", "-w", "system_state", "/proc/kallsyms")
        found = Flavoured(
            machine,
            {
                "pid": pid,
                "user": user,
                "pfn": f"{machine.pfns()[0]:x}",
                "system_state": line.split()[0],
            },
        )
        found.facts["kernel"] = found.prove(found.outside(*VERIFY))
        yield found


def test_the_flavour(flavoured: Flavoured) -> None:
    machine = flavoured.machine
    assert machine.sysfs("last_reply") == "2 hello world"
    real_time = machine.guest.run("cat", "/sys/kernel/realtime").out == "1\n"
    assert real_time == machine.kernel.release.endswith("-rt-amd64")
    assert "\next4 " in machine.guest.check("lsmod")


@pytest.mark.parametrize(("words", "text"), COMMANDS, ids=[words for words, _ in COMMANDS])
def test_from_outside(flavoured: Flavoured, words: str, text: str) -> None:
    result = flavoured.outside(*words.format(**flavoured.facts).split())
    assert result.code == 0, result.out + result.err
    assert text.format(**flavoured.facts) in result.out
    assert "error:" not in result.out
    assert "warning:" not in result.out


def test_inside(flavoured: Flavoured) -> None:
    flavoured.prove(flavoured.machine.inside(*VERIFY))


def test_vmcore(flavoured: Flavoured, tmp_path: Path) -> None:
    """Its crash kernel is of the same flavour. This test is the last, as it ends the guest."""
    dumps = flavoured.machine.guest.crash(tmp_path, ("elf", "lzo"))
    flavoured.prove(pageproof("-c", dumps["elf"], *VERIFY))
    for words, text in COMMANDS:
        if words in ("regions", "kmap", "audit"):  # in an ELF dump, empty tables are holes
            result = pageproof("-c", dumps["lzo"], *words.split())
            assert result.code == 0, result.out + result.err
            assert text.format(**flavoured.facts) in result.out
