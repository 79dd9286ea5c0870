# SPDX-License-Identifier: GPL-2.0-or-later
"""Which kernel in memory is meant, and guests that are refused: each with its own message."""

from __future__ import annotations

import base64
import json
import random
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import drgn
import pytest
from mappedmemory import MappedMemory
from unit.attach.kernelmemory import IMAGE, Made, Memory

from pageproof import arch
from pageproof.attach.attached import Attached
from pageproof.attach.kernelchoice import KernelChoice
from pageproof.attach.monitor import Unusable
from pageproof.attach.unprepared import refuse_encrypted
from pageproof.attach.vmcoreinfo import find_kernels, is_confirmed, kernel_named
from pageproof.attach.vmcoreinfo.choice import Chosen, choose
from pageproof.errors import Exit, PageproofError
from pageproof.space.units import PAGE_BYTES

RECORDED = Path(__file__).resolve().parents[2] / "recorded"
FIRST = Made(paddr=0x200000, page=0x5000)
#: Its crash kernel: the same release, elsewhere.
SECOND = Made(paddr=0x400000, page=0x9000, virtual=IMAGE + 0x3000000)
CRASHED = FIRST.text() + b"CRASHTIME=1700000000\n"
RUNNING = KernelChoice.RUNNING

Roots = Sequence[frozenset[int]]


def roots(*cpus: int) -> Roots:
    return tuple(frozenset((one,)) for one in cpus)


def chosen(memory: Memory, cpus: Roots, which: KernelChoice | None = None) -> Chosen:
    return choose(memory.mapped, find_kernels(memory.mapped), cpus, which, "here", "do that")


def refused(memory: MappedMemory, cpus: Roots, which: KernelChoice | None = None) -> str:
    with pytest.raises(PageproofError) as error:
        choose(memory, find_kernels(memory), cpus, which, "here", "do that")
    assert error.value.exit_code is Exit.USAGE
    assert error.value.where == "here" and error.value.remedy
    return error.value.what


def both(*, first: bytes = CRASHED) -> Memory:
    memory = Memory()
    memory.add(FIRST, first)
    memory.add(SECOND)
    return memory


def test_one_kernel() -> None:
    memory = Memory()
    memory.add(FIRST)
    memory.space(FIRST, 0x7000)
    for cpus in (roots(0x7000), roots(0, 0x7000), (frozenset((0x6000, 0x7000)),), ()):
        found = chosen(memory, cpus)
        assert found.kernel.root == FIRST.root
        (note,) = found.notes
        assert note.startswith("VMCOREINFO was found by searching 8 MiB of memory, at 0x5000")


def test_a_crash_kernel() -> None:
    memory = both()
    for cpus in (roots(SECOND.root), roots(SECOND.root, FIRST.root)):
        for which, kernel, what, other in (
            (None, SECOND, "running", "crashed"),
            (RUNNING, SECOND, "running", "crashed"),
            (KernelChoice.CRASHED, FIRST, "crashed", "running"),
        ):
            found = chosen(memory, cpus, which)
            assert found.kernel.root == kernel.root
            assert f"this is the {what} one" in found.notes[1]
            assert f"--which-kernel {other} selects the other" in found.notes[1]


def test_a_crash_kernel_in_an_image_without_cpus() -> None:
    assert chosen(both(), ()).kernel.root == SECOND.root
    assert chosen(both(), (), KernelChoice.CRASHED).kernel.root == FIRST.root


def test_a_panic_without_a_crash_kernel() -> None:
    memory = Memory()
    memory.add(FIRST, CRASHED)
    for which in KernelChoice:
        assert chosen(memory, roots(FIRST.root), which).kernel.root == FIRST.root


def test_what_an_earlier_boot_left() -> None:
    """Two kernels of which none has crashed: the CPUs decide. In an image nothing does."""
    memory = both(first=FIRST.text())
    for kernel in (FIRST, SECOND):
        found = chosen(memory, roots(kernel.root))
        assert found.kernel.root == kernel.root
        assert "memory has 2 kernels; this is the running one" in found.notes[1]
        assert "--which-kernel" not in found.notes[1]
    assert "2 of the kernels in memory can be the running one" in refused(memory.mapped, ())
    what = refused(memory.mapped, roots(FIRST.root), KernelChoice.CRASHED)
    assert "none of the kernels in memory can be the crashed one" in what


def test_two_that_run() -> None:
    what = refused(both(first=FIRST.text()).mapped, roots(FIRST.root, SECOND.root))
    assert "2 of the kernels in memory can be the running one" in what


def test_cpus_that_run_something_else() -> None:
    memory = both()
    assert "no CPU runs any of the kernels in memory" in refused(memory.mapped, roots(0x6000, 0))


def test_texts_that_contradict_each_other() -> None:
    memory = Memory()
    memory.add(FIRST)
    memory.put(0x7000, FIRST.text() + b"SYMBOL(kallsyms_names)=ffffffff81000000\n")
    assert "contradict each other" in refused(memory.mapped, roots(FIRST.root))


def test_nothing() -> None:
    what = refused(Memory().mapped, roots(0))
    assert what == (
        "no Linux kernel was found: 8 MiB of memory were searched for VMCOREINFO (candidates: 0)"
    )


def test_a_text_without_its_kernel() -> None:
    memory = Memory()
    memory.put(0x5000, FIRST.text())
    what = refused(memory.mapped, roots(0))
    assert "(candidates: 1); the one at 0x5000: there are no page tables" in what


def recorded(name: str) -> tuple[MappedMemory, Roots]:
    """Return the pages that an attempt to attach read, and the tables of the CPUs at the time."""
    facts = json.loads((RECORDED / name).read_text())
    pages = {
        int(at, 16): zlib.decompress(base64.b64decode(page)) for at, page in facts["pages"].items()
    }
    memory = MappedMemory([(at, memoryview(page)) for at, page in sorted(pages.items())])
    return memory, arch.ASSUMED.cpu_roots("\n".join(facts["registers"]))


def test_xen_pv() -> None:
    what = refused(*recorded("xen-pv.json"))
    assert what.startswith("this is a Xen PV guest, Linux 6.1.0-56-amd64: ")


def test_xen_pv_in_an_image() -> None:
    """Without the CPUs' tables nothing tells it from a text that was left behind."""
    memory, _ = recorded("xen-pv.json")
    assert "there are no page tables" in refused(memory, ())


def test_a_32_bit_kernel() -> None:
    what = refused(*recorded("32-bit.json"))
    assert what == "the guest runs a 32-bit kernel, Linux 6.1.0-50-686-pae"


def test_memory_that_looks_random() -> None:
    rng = random.Random(1)
    memory = Memory(4 << 20)
    for page in range(0, len(memory.bytes), 2 * PAGE_BYTES):  # the others were never touched
        memory.put(page, rng.randbytes(PAGE_BYTES))
    what = refused(memory.mapped, roots(0))
    assert what.startswith("the memory looks encrypted: ")


def test_memory_of_programs_is_not_random() -> None:
    """Half of it is compressed files: another message."""
    rng = random.Random(2)
    memory = Memory(4 << 20)
    for page in range(0, len(memory.bytes), PAGE_BYTES):
        text = b"the quick brown fox " * 204
        memory.put(page, rng.randbytes(PAGE_BYTES) if page & PAGE_BYTES else text)
    assert "no Linux kernel was found" in refused(memory.mapped, roots(0))


class FakeMonitor:
    """Answers qom-get: QEMU 7.2.22 gives "" for a machine without such an object."""

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def execute(self, command: str, arguments: dict[str, object]) -> object:
        assert (command, arguments["path"]) == ("qom-get", "/machine")
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_confidential_guests() -> None:
    for answer in ("", None, Unusable("QEMU refused")):
        refuse_encrypted(attached(FakeMonitor(answer)), "here")
    refuse_encrypted(attached(None), "here")
    with pytest.raises(PageproofError) as error:
        refuse_encrypted(attached(FakeMonitor("/objects/sev0")), "here")
    assert "memory is encrypted" in error.value.what and "/objects/sev0" in error.value.what
    with pytest.raises(PageproofError, match="does not answer"):
        refuse_encrypted(attached(FakeMonitor(ConnectionError("gone"))), "here")


def attached(monitor: Any) -> Attached:
    return Attached(drgn.Program(), (), None, monitor)


def test_a_kernel_that_a_device_names() -> None:
    memory = both()
    for made, confirmed in ((FIRST, True), (SECOND, True), (replace(FIRST, release="5"), False)):
        kernel = kernel_named(made.text(), arch.ASSUMED)
        assert kernel is not None
        assert is_confirmed(memory.mapped.read, kernel) is confirmed
    assert kernel_named(b"", arch.ASSUMED) is None
    # The one of Xen's dom0 has its text, but no tables where that places them.
    xen, _ = recorded("xen-pv.json")
    page = next(at for at, _ in xen.ranges if xen.read(at, 10) == b"OSRELEASE=")
    kernel = kernel_named(xen.read(page, PAGE_BYTES).rstrip(b"\0"), arch.ASSUMED)
    assert kernel is not None and not is_confirmed(xen.read, kernel)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Recorded from QEMU 7.2.22, info registers -a.
        (
            "CR0=80050033 CR2=00007f7e931f6000 CR3=00000000294de000 CR4=00751ef0",
            [{0x294DE000}],
        ),
        ("CR3=17e98000 CR4=00350ef0", [{0x17E98000}]),
        ("CR3=0000000029623801", [{0x29623000, 0x29622000}]),  # user mode with PTI, PCID 0x801
        ("CR3=8000000029622000\nCR3=0000000000001000", [{0x29622000}, {0x1000, 0}]),
        ("CR3=\nCR3=123\nCR3=00000000294de000ff\nxCR3=0000000029622000", []),
    ],
)
def test_cpu_roots(text: str, expected: list[set[int]]) -> None:
    assert [set(one) for one in arch.ASSUMED.cpu_roots(text)] == expected
