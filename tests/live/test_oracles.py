# SPDX-License-Identifier: GPL-2.0-or-later
"""The walkers on every page table of a stopped guest, against drgn and QEMU.

Both walkers sweep every tree: the user half of each process and the kernel half. For single
addresses, both are compared with drgn's follow_phys(), and the engine with QEMU's gva2gpa.
"""

import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import zip_longest

import pytest
from attached import VIRTUAL_LAST, Tree, View, attached, frozen
from drgn import Object
from drgn.helpers.linux.mm import follow_phys, for_each_vmap_area
from drgn.helpers.linux.pid import find_task
from machine import START_SECONDS, Machine, each_kernel

from pageproof.arch.x86_64.architecture import PTI_USER_HALF
from pageproof.model import Outcome, Range
from pageproof_lab.guest.channel import Monitor

#: Minimum number of addresses to compare on each kernel.
ADDRESSES = 10_000
#: QEMU translates one address per command, 1.5 ms each.
ASKED_OF_QEMU = 400


@pytest.fixture
def spinner(machine: Machine) -> Iterator[int]:
    """PID of a process that never sleeps and has a mapping of each kind (tests/vm/spaces.py)."""
    pid: int = machine.start("spaces.py", "spin")
    yield pid
    machine.end_group(pid)


def present(ranges: list[Range]) -> list[Range]:
    """Return the leaves of some ranges."""
    return [one for one in ranges if one.outcome is Outcome.MAPPED and one.frame is not None]


def inside(rng: random.Random, one: Range) -> int:
    """Return a random address of a range."""
    return rng.randint(one.start, one.last)


def are_the_same(name: str, ours: list[Range], theirs: list[Range]) -> None:
    """Compare both sweeps entry by entry, and show the first difference."""
    if ours != theirs:
        pairs = zip_longest(ours, theirs)
        first = next((mine, other) for mine, other in pairs if mine != other)
        pytest.fail(f"{name}: the engine has {first[0]}, the Python walker {first[1]}")


def sample(rng: random.Random, ranges: list[Range], wanted: int) -> list[int]:
    """Yield an address in every leaf, then more in random leaves, weighted by size."""
    addresses = [inside(rng, one) for one in ranges]
    more = max(0, wanted - len(addresses))
    sizes = [one.last - one.start + 1 for one in ranges]
    return addresses + [inside(rng, one) for one in rng.choices(ranges, sizes, k=more)]


@each_kernel
def test_engine_python_and_drgn_agree_on_every_table(loaded: Machine) -> None:
    """All ranges of all trees; every present page of every process; 10,000 of the kernel half.

    follow_phys() takes about 30 microseconds per address, fast enough for this on every kernel.
    """
    rng = random.Random("every table")
    with frozen(loaded), attached(loaded) as view:
        processes = view.processes()
        assert len(processes) >= 3  # init, the agent, the helper
        for tree in processes:
            assert compare(rng, view, tree, 0)
        parts = list(without_arenas(view.kernel(), view))
        wanted = ADDRESSES // len(parts) + 1
        assert sum(compare(rng, view, part, wanted) for part in parts) >= ADDRESSES


def without_arenas(tree: Tree, view: View) -> Iterator[Tree]:
    """Yield parts of the kernel half, without the areas of BPF arenas.

    The kernel makes all page tables for the 4 GiB of an arena at once (kernel/bpf/arena.c). They
    have two million empty entries, which take the Python walker a minute.
    """
    areas = [(area.va_start.value_(), area.va_end.value_()) for area in arenas(view)]
    first = tree.first
    for start, end in sorted(areas):
        yield replace(tree, last=start - 1, first=first)
        first = end
    yield replace(tree, first=first)


def arenas(view: View) -> Iterator[Object]:
    for area in for_each_vmap_area(view.target.prog):
        if area.va_end - area.va_start >= 4 << 30:
            yield area


def compare(rng: random.Random, view: View, tree: Tree, wanted: int) -> int:
    """Check one tree; return the number of addresses on which all three agreed."""
    ranges = list(view.engine.ranges(tree.root, tree.first, tree.last))
    are_the_same(tree.name, ranges, list(view.python.ranges(tree.root, tree.first, tree.last)))
    addresses = sample(rng, present(ranges), wanted)
    for address in addresses:
        walk = view.engine.walk(tree.root, address)
        assert walk == view.python.walk(tree.root, address), f"{tree.name}: {address:#x}"
        said = follow_phys(tree.mm, address).value_()
        assert walk.paddr == said, f"{tree.name}: {address:#x}: drgn has {said:#x}"
    return len(addresses)


# Compare with QEMU


@dataclass(frozen=True)
class Cpu:
    """A CPU of a stopped guest."""

    control: Monitor
    index: int

    def ask(self, command: str) -> str:
        said: str = self.control.call(
            "human-monitor-command", command_line=command, cpu_index=self.index
        )
        return said

    @property
    def root(self) -> int:
        """CR3, including the PCID."""
        found = re.search(r"\bCR3=([0-9a-f]+)", self.ask("info registers"))
        assert found
        return int(found[1], 16)

    def translate(self, address: int) -> int | None:
        """Return QEMU's translation of an address by the tables that the CPU uses."""
        said = self.ask(f"gva2gpa {address:#x}").strip()
        return None if said == "Unmapped" else int(said.removeprefix("gpa: "), 16)


@contextmanager
def a_cpu_on(machine: Machine, wanted: Callable[[int], bool]) -> Iterator[Cpu]:
    """Stop the guest repeatedly until a CPU uses one of the wanted tables."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        with frozen(machine) as control:
            for cpu in (Cpu(control, index) for index in range(machine.setup.cpus)):
                if wanted(cpu.root):
                    yield cpu
                    return
        assert time.monotonic() < deadline, "no CPU ever was on the tables that are wanted"


def ask_qemu(
    rng: random.Random, cpu: Cpu, view: View, roots: set[int], first: int, last: int
) -> None:
    """Compare QEMU's translation with the engine's walk, for mapped and unmapped addresses."""
    ranges = list(view.engine.ranges(cpu.root, first, last))
    nothing = [one for one in ranges if one.outcome is Outcome.NONE]
    there = rng.choices(present(ranges), k=ASKED_OF_QEMU)
    for one in (*there, *rng.choices(nothing, k=ASKED_OF_QEMU // 4)):
        address = inside(rng, one)
        said = cpu.translate(address)
        assert (said is None) == (one.outcome is Outcome.NONE), f"{address:#x}: {said}, {one}"
        for root in (cpu.root, *roots):
            walk = view.engine.walk(root, address)
            assert walk.paddr == said, f"{address:#x}: QEMU has {said}, the engine {walk}"


@each_kernel
def test_qemu_agrees_on_the_kernels_half(loaded: Machine) -> None:
    """Use the tables of a CPU that runs in the kernel; their kernel half equals init_mm's.

    With PTI the tables of a CPU in user mode lack most of the kernel half.
    """
    rng = random.Random("gva2gpa of the kernel")
    with attached(loaded) as view:
        user_half = PTI_USER_HALF if view.paging.pti else 0
        with a_cpu_on(loaded, lambda root: not root & user_half) as cpu:
            roots = {view.paging.kernel_root}
            ask_qemu(rng, cpu, view, roots, view.kernel_half, VIRTUAL_LAST)


@each_kernel
def test_qemu_agrees_on_a_process(loaded: Machine, spinner: int) -> None:
    """A process never sleeps, so that a CPU uses its tables: with PTI mostly those of user mode."""
    rng = random.Random("gva2gpa of a process")
    with attached(loaded) as view:
        pgd = find_task(view.target.prog, spinner).mm.pgd.value_() - view.paging.page_offset_base
        roots = {pgd, pgd | PTI_USER_HALF} if view.paging.pti else {pgd}
        with a_cpu_on(loaded, lambda root: view.form.address_of(root) in roots) as cpu:
            ask_qemu(rng, cpu, view, roots, 0, view.form.lower_half_last)
