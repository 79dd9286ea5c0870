# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's procfs about the kernel half, against the engine's walk of the tables.

procfs is read while the guest runs, and the tables while it is stopped.
"""

import random
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import drgn
import pytest
from attached import VIRTUAL_LAST, View, attached, frozen
from drgn.helpers.linux.cpumask import for_each_online_cpu
from drgn.helpers.linux.module import for_each_module
from machine import Machine, each_kernel

from pageproof.commands.kmap import kmap
from pageproof.model import Outcome, Permissions, Range, Walk
from pageproof.space.units import PAGE_BYTES

KPTR_RESTRICT = "/proc/sys/kernel/kptr_restrict"
TEXT = Permissions(write=False, execute=True, user=False)
READ_ONLY = Permissions(write=False, execute=False, user=False)
DATA = Permissions(write=True, execute=False, user=False)


@pytest.fixture
def pointers(loaded: Machine) -> Iterator[None]:
    """Let root see addresses. With 0, %pK prints a hash."""
    before = loaded.guest.check("cat", KPTR_RESTRICT)
    loaded.guest.check("sh", "-c", f"echo 1 > {KPTR_RESTRICT}")
    yield
    loaded.guest.check("sh", "-c", f"echo {before} > {KPTR_RESTRICT}")


def region_of(view: View) -> dict[str, range]:
    """Return kmap's rows by name, without holes."""
    rows = kmap(view.target, None, lambda message: None).rows
    return {row.region: range(row.start, row.last + 1) for row in rows if row.region != "hole"}


def held(view: View, first: int, last: int) -> list[Range]:
    """Return what the kernel's tables map in a range."""
    return list(view.engine.ranges(view.paging.kernel_root, first, last, merged=True))


def at(view: View, address: int) -> Walk:
    walk = view.engine.walk(view.paging.kernel_root, address)
    assert walk == view.python.walk(view.paging.kernel_root, address)
    return walk


def is_mapped(runs: list[Range], first: int, last: int, paddr: int | None = None) -> bool:
    """Whether runs are leaves that cover a whole range, contiguous from a frame if given."""
    following = first
    for run in runs:
        if run.start != following or run.outcome is not Outcome.MAPPED or run.frame is None:
            return False
        if paddr is not None and run.frame != paddr + run.start - first:
            return False
        following = run.last + 1
    return following == last + 1


# /proc/vmallocinfo


@dataclass(frozen=True)
class Area:
    """One line of vmallocinfo."""

    line: str

    @property
    def start(self) -> int:
        return int(self.line.partition("-")[0], 16)

    @property
    def last(self) -> int:
        return int(self.line.split()[0].partition("-")[2], 16) - 1

    def number(self, name: str) -> int | None:
        found = re.search(rf"\b{name}=(\w+)", self.line)
        return int(found[1], 0) if found else None


def areas(machine: Machine) -> set[Area]:
    """Return the areas. The agent itself reads the file, as a new process would add a stack."""
    text = machine.guest.agent.read_file("/proc/vmallocinfo").decode()
    return {Area(line) for line in text.splitlines()}


@pytest.mark.usefixtures("pointers")
@each_kernel
def test_vmalloc_areas_are_mapped_as_procfs_says(loaded: Machine) -> None:
    """Each area with pages= maps exactly that many; each with phys= maps that physical range.

    Areas that have gone when the guest runs again are not compared.
    """
    compared: Counter[str] = Counter()
    with attached(loaded) as view:
        regions = region_of(view)
        before = areas(loaded)
        with frozen(loaded):
            runs = {area: held(view, area.start, area.last) for area in before}
        for area in before & areas(loaded):
            assert any(
                area.start in regions[region] and area.last in regions[region]
                for region in ("vmalloc", "modules")
            ), area
            pages, paddr = area.number("pages"), area.number("phys")
            if "unpurged" in area.line:
                assert runs[area] == [], area
                compared["unpurged"] += 1
            elif pages is not None:
                last = area.start + pages * PAGE_BYTES - 1
                assert is_mapped(runs[area], area.start, last), (area, runs[area])
                compared["pages"] += 1
            elif paddr is not None:
                last = area.last - PAGE_BYTES  # get_vm_area_size(): without the guard page
                assert is_mapped(runs[area], area.start, last, paddr), (area, runs[area])
                compared["phys"] += 1
    assert compared["pages"] > 50
    assert compared["phys"] >= 5


# /proc/iomem


def iomem(machine: Machine, name: str) -> list[tuple[int, int]]:
    """Return first and last byte of the entries with a name in /proc/iomem."""
    text = machine.guest.check("cat", "/proc/iomem")
    found = re.findall(rf"^ *([0-9a-f]+)-([0-9a-f]+) : {name}$", text, re.MULTILINE)
    return [(int(first, 16), int(last, 16)) for first, last in found]


@each_kernel
def test_system_ram_is_mapped_one_to_one(loaded: Machine) -> None:
    """All of it is in the physmap; also walk the first, the last and some addresses between."""
    rng = random.Random("System RAM")
    banks = iomem(loaded, "System RAM")
    assert len(banks) >= 2
    with attached(loaded) as view, frozen(loaded):
        base = view.paging.page_offset_base
        physmap = region_of(view)["physmap"]
        for start, end in banks:
            first = -(-start // PAGE_BYTES) * PAGE_BYTES
            last = (end + 1) // PAGE_BYTES * PAGE_BYTES - 1
            assert base + first in physmap
            assert base + last in physmap
            runs = held(view, base + first, base + last)
            assert is_mapped(runs, base + first, base + last, first), runs
            for paddr in (first, last, *(rng.randint(first, last) for _ in range(200))):
                assert at(view, base + paddr).paddr == paddr, f"{paddr:#x}"


# /proc/kallsyms

#: Parts of the image in /proc/iomem, and their first and last symbols in the linker script.
PARTS = {
    "Kernel code": ("_text", "_etext"),
    "Kernel rodata": ("__start_rodata", "__end_rodata"),
    "Kernel data": ("_sdata", "_edata"),
    "Kernel bss": ("__bss_start", "__bss_stop"),
}
INIT = ("__init_begin", "__init_end")
PERCPU = ("__per_cpu_start", "__per_cpu_end")
#: Some per-CPU variables, as there are too few of them to be in a random sample.
OF_EACH_CPU = ("runqueues", "cpu_info", "softnet_data", "tick_cpu_sched", "kstat")


@dataclass(frozen=True)
class Symbol:
    """One line of kallsyms; `owner` is "[MODULE]", or "" for the image."""

    address: int
    kind: str
    name: str
    owner: str

    def __str__(self) -> str:
        return f"{self.address:#x} {self.kind} {self.name} {self.owner}"


def symbols(machine: Machine, *command: str) -> list[Symbol]:
    """Return the lines of /proc/kallsyms that a command in the guest selects."""
    lines = machine.guest.check(*command, "/proc/kallsyms").splitlines()
    words = [(*line.split(), "")[:4] for line in lines]
    return [Symbol(int(address, 16), kind, name, owner) for address, kind, name, owner in words]


@each_kernel
def test_the_image(loaded: Machine) -> None:
    """Its parts are at iomem's addresses, and each symbol's page has the right permissions.

    Code for boot only is no longer executable. With page-table isolation free_kernel_image_pages()
    clears PRESENT in the image's mapping of it, as the memory is reused (arch/x86/mm/init.c).
    """
    pairs = (*PARTS.values(), INIT, PERCPU)
    names = "|".join((*OF_EACH_CPU, *(name for pair in pairs for name in pair)))
    chosen = f"BEGIN {{ srand(3) }} NF == 3 && (rand() < 0.004 || $3 ~ /^({names})$/)"
    sample = symbols(loaded, "awk", chosen)
    place = {symbol.name: symbol.address for symbol in sample}
    said = {part: iomem(loaded, part) for part in PARTS}
    seen: Counter[str] = Counter()
    with attached(loaded) as view, frozen(loaded):
        for part, (start, end) in PARTS.items():
            walked = at(view, place[start]).paddr, at(view, place[end] - 1).paddr
            assert [walked] == said[part], part
        image = region_of(view)["text"]
        percpu = range(place[PERCPU[0]], place[PERCPU[1]])
        ends = {end for _, end in pairs}
        for symbol in sample:
            if symbol.name in ends:  # is the first byte of the next part
                continue
            if symbol.address in percpu:
                each_cpu_has_its_own(view, symbol)
                seen["per CPU"] += 1
                continue
            assert symbol.address in image, symbol
            seen[part_of_the_image(view, place, symbol)] += 1
    assert seen["text"] > 100
    assert min(seen[part] for part in ("rodata", "data", "init")) > 10, seen
    assert seen["per CPU"] >= len(OF_EACH_CPU)


def each_cpu_has_its_own(view: View, symbol: Symbol) -> None:
    """Per-CPU symbols belong to a template: at 0, since 6.15 in the image (9d7de2aa8b41)."""
    prog = view.target.prog
    offsets = [prog["__per_cpu_offset"][cpu].value_() for cpu in for_each_online_cpu(prog)]
    walks = [at(view, offset + symbol.address & VIRTUAL_LAST) for offset in offsets]
    assert all(walk.permissions == DATA for walk in walks), (str(symbol), walks)
    assert len({walk.pfn for walk in walks}) == len(offsets), str(symbol)


def part_of_the_image(view: View, place: dict[str, int], symbol: Symbol) -> str:
    """Return the part of the image a symbol is in; check that its page has its permissions."""

    def lies_between(start: str, end: str) -> bool:
        return place[start] <= symbol.address < place[end]

    walk = at(view, symbol.address)
    what = str(symbol), walk
    if lies_between(*INIT):
        if view.paging.pti:
            assert walk.outcome in (Outcome.SPECIAL, Outcome.INVALIDATED), what
        else:
            # Read-only if a module's text or read-only data uses the frame: set_memory_ro()
            # changes the frame's other mappings too (cpa_process_alias()).
            assert walk.permissions in (DATA, READ_ONLY), what
        return "init"
    if lies_between("_text", "_etext"):
        assert walk.permissions == TEXT, what
        return "text"
    if lies_between("__start_rodata", "__end_rodata"):
        assert walk.permissions == READ_ONLY, what
        return "rodata"
    # Between _edata and __init_begin are tables that are sorted at boot.
    assert lies_between("_sdata", "__init_begin") or lies_between("__init_end", "__bss_stop"), what
    assert walk.permissions == DATA, what
    return "data"


# /proc/modules


@each_kernel
def test_modules(loaded: Machine) -> None:
    """Address and size as in /proc/modules, all mapped, each symbol with its permissions."""
    lines = [line.split() for line in loaded.guest.check("cat", "/proc/modules").splitlines()]
    said = {words[0]: (int(words[5], 16), int(words[1])) for words in lines}
    assert "umh_shm" in said
    sample = symbols(loaded, "grep", r"\[umh_shm\]$")
    seen: Counter[str] = Counter()
    with attached(loaded) as view, frozen(loaded):
        row = region_of(view)["modules"]
        for module in for_each_module(view.target.prog):
            name = module.name.string_().decode()
            parts = parts_of(module)
            assert said.pop(name) == (parts[0][0], sum(size for _, size in parts))
            for base, size in parts:
                if size:
                    last = base + size - 1
                    assert base in row, name
                    assert last in row, name
                    assert is_mapped(held(view, base, last), base, last), name
        for symbol in sample:
            assert symbol.address in row, symbol
            seen[kind_of_symbol(view, symbol)] += 1
    assert not said
    assert min(seen[kind] for kind in "trdb") > 5, seen


def parts_of(module: drgn.Object) -> list[tuple[int, int]]:
    """Return start and size of a module's memory, its code first."""
    try:
        # Since 6.4 each kind of content has its own memory: ac3b43283923.
        return [(part.base.value_(), part.size.value_()) for part in module.mem]
    except AttributeError:
        layout = module.core_layout
        return [(layout.base.value_(), layout.size.value_())]


def kind_of_symbol(view: View, symbol: Symbol) -> str:
    """Return the type letter of a module's symbol; check that its page has fitting permissions."""
    allowed = {"t": (TEXT,), "w": (TEXT,), "r": (READ_ONLY,), "b": (DATA,)}
    kind = symbol.kind.lower()
    # Some data is read-only after the module's init.
    walk = at(view, symbol.address)
    assert walk.permissions in allowed.get(kind, (DATA, READ_ONLY)), (str(symbol), walk)
    return kind
