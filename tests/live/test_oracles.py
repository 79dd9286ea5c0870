# SPDX-License-Identifier: GPL-2.0-or-later
"""The walkers on every page table of a guest that holds still, against drgn and against QEMU.

Both walkers sweep all of every tree: the user half of each process and the kernel's half. On
addresses, drgn's follow_phys() is the judge of both; QEMU's gva2gpa, of the engine.
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

from pageproof.model import PTI_USER_HALF, Outcome, Range
from pageproof_lab.guest.channel import Monitor

#: Addresses that are compared on each kernel, at least.
ADDRESSES = 10_000
#: QEMU is asked one by one, 1.5 ms each.
ASKED_OF_QEMU = 400


@pytest.fixture
def spinner(machine: Machine) -> Iterator[int]:
    """The PID of a process with a mapping of each kind that runs and runs (tests/vm/spaces.py)."""
    pid: int = machine.start("spaces.py", "spin")
    yield pid
    machine.end_group(pid)


def present(ranges: list[Range]) -> list[Range]:
    """The leaves."""
    return [one for one in ranges if one.outcome is Outcome.MAPPED and one.frame is not None]


def inside(rng: random.Random, one: Range) -> int:
    """Some address of a range."""
    return rng.randint(one.start, one.last)


def are_the_same(name: str, ours: list[Range], theirs: list[Range]) -> None:
    """Both sweeps, entry by entry; the first that differs is told."""
    if ours != theirs:
        pairs = zip_longest(ours, theirs)
        first = next((mine, other) for mine, other in pairs if mine != other)
        pytest.fail(f"{name}: the engine has {first[0]}, the Python walker {first[1]}")


def sample(rng: random.Random, ranges: list[Range], wanted: int) -> list[int]:
    """An address in every leaf, and more in some, the larger the likelier, up to what is wanted."""
    addresses = [inside(rng, one) for one in ranges]
    more = max(0, wanted - len(addresses))
    sizes = [one.last - one.start + 1 for one in ranges]
    return addresses + [inside(rng, one) for one in rng.choices(ranges, sizes, k=more)]


@each_kernel
def test_engine_python_and_drgn_agree_on_every_table(loaded: Machine) -> None:
    """All ranges of all trees; every present page of every process; 10,000 of the kernel's half.

    follow_phys() takes some 30 microseconds an address, so that no kernel needs a smaller sample.
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
    """The kernel's half in parts, without the areas of BPF arenas.

    The kernel makes all page tables of their 4 GiB at once (kernel/bpf/arena.c): two millions of
    empty entries, which take the walker in Python a minute.
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
    """One tree; the number of addresses on which all three agreed."""
    ranges = list(view.engine.ranges(tree.root, tree.first, tree.last))
    are_the_same(tree.name, ranges, list(view.python.ranges(tree.root, tree.first, tree.last)))
    addresses = sample(rng, present(ranges), wanted)
    for address in addresses:
        walk = view.engine.walk(tree.root, address)
        assert walk == view.python.walk(tree.root, address), f"{tree.name}: {address:#x}"
        said = follow_phys(tree.mm, address).value_()
        assert walk.paddr == said, f"{tree.name}: {address:#x}: drgn has {said:#x}"
    return len(addresses)


# QEMU's own opinion


@dataclass(frozen=True)
class Cpu:
    """A CPU of a guest that holds still."""

    control: Monitor
    index: int

    def ask(self, command: str) -> str:
        said: str = self.control.call(
            "human-monitor-command", command_line=command, cpu_index=self.index
        )
        return said

    @property
    def root(self) -> int:
        """CR3, with PCID and all."""
        found = re.search(r"\bCR3=([0-9a-f]+)", self.ask("info registers"))
        assert found
        return int(found[1], 16)

    def translate(self, address: int) -> int | None:
        """What QEMU makes of an address in the tables that the CPU is on."""
        said = self.ask(f"gva2gpa {address:#x}").strip()
        return None if said == "Unmapped" else int(said.removeprefix("gpa: "), 16)


@contextmanager
def a_cpu_on(machine: Machine, wanted: Callable[[int], bool]) -> Iterator[Cpu]:
    """Stop the guest again and again, until a CPU is on tables that are wanted."""
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
    """Mapped addresses and others: QEMU's walk of the CPU's tables, and the engine's of roots."""
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
    """In the tables of a CPU that is in the kernel, which lead where init_mm's do.

    Not of one in user mode, which has next to nothing of the kernel's half with PTI.
    """
    rng = random.Random("gva2gpa of the kernel")
    with attached(loaded) as view:
        user_half = PTI_USER_HALF if view.paging.pti else 0
        with a_cpu_on(loaded, lambda root: not root & user_half) as cpu:
            roots = {view.paging.kernel_root}
            ask_qemu(rng, cpu, view, roots, view.kernel_half, VIRTUAL_LAST)


@each_kernel
def test_qemu_agrees_on_a_process(loaded: Machine, spinner: int) -> None:
    """Of a process that never sleeps, a CPU is on its tables: with PTI mostly on user mode's."""
    rng = random.Random("gva2gpa of a process")
    with attached(loaded) as view:
        pgd = find_task(view.target.prog, spinner).mm.pgd.value_() - view.paging.page_offset_base
        roots = {pgd, pgd | PTI_USER_HALF} if view.paging.pti else {pgd}
        with a_cpu_on(loaded, lambda root: view.form.address_of(root) in roots) as cpu:
            ask_qemu(rng, cpu, view, roots, 0, view.form.lower_half_last)
