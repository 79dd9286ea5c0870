# SPDX-License-Identifier: GPL-2.0-or-later
"""`kmap` on a running guest, against the kernel's documentation and the guest's own files."""

import gc
import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import jsonschema
import pytest
from machine import Json, Machine, drgn_script, each_kernel, number

from pageproof.arch.x86_64 import layout
from pageproof.attach import Wanted, open_target
from pageproof.find.kernel.layout import read_layout
from pageproof.find.kernel.paging import read_paging

#: First addresses of mm.rst's rows. Three depend on the configuration and are corrected here:
#: modules begin at the end of KERNEL_IMAGE_SIZE (1 GiB with CONFIG_RANDOMIZE_BASE), and
#: FIXADDR_START is variable.
DOCUMENTED = {
    4: {
        "user": 0,
        "non-canonical": 0x0000800000000000,
        "guard-hole": 0xFFFF800000000000,
        "ldt": 0xFFFF880000000000,
        "physmap": 0xFFFF888000000000,
        "vmalloc": 0xFFFFC90000000000,
        "vmemmap": 0xFFFFEA0000000000,
        "kasan": 0xFFFFEC0000000000,
    },
    5: {
        "user": 0,
        "non-canonical": 0x0100000000000000,
        "guard-hole": 0xFF00000000000000,
        "ldt": 0xFF10000000000000,
        "physmap": 0xFF11000000000000,
        "vmalloc": 0xFFA0000000000000,
        "vmemmap": 0xFFD4000000000000,
        "kasan": 0xFFDF000000000000,
    },
}
DOCUMENTED_HOLES = {
    4: {0xFFFFC88000000000, 0xFFFFE90000000000, 0xFFFFEB0000000000},
    5: {0xFF91000000000000, 0xFFD2000000000000, 0xFFD6000000000000},
}
ALIKE = {
    "cpu-entry-area": 0xFFFFFE0000000000,
    "espfix": 0xFFFFFF0000000000,
    "efi": 0xFFFFFFEF00000000,
    "text": 0xFFFFFFFF80000000,
    "modules": 0xFFFFFFFFC0000000,
    "vsyscall": 0xFFFFFFFFFF600000,
    "top-hole": 0xFFFFFFFFFFE00000,
}
#: The start of mm.rst's fixmap row depends on the configuration. It ends with the vsyscall page.
VARIABLE = {"fixmap", "boot-fixmap"}
VARIABLE_HOLES = {0xFFFFFFFFFF000000, 0xFFFFFFFFFF601000}
ALIKE_HOLES = {0xFFFFFC0000000000, 0xFFFFFE8000000000, 0xFFFFFF8000000000, 0xFFFFFFFF00000000}


def kmap(machine: Machine, *words: str) -> Json:
    result = machine.outside("kmap", "--format", "json", *words)
    assert result.code == 0, result.err
    return result.report


@pytest.fixture(scope="module")
def report(machine: Machine) -> Json:
    """The report of kmap with the module loaded, for rows that do not change at run time."""
    machine.load()
    return kmap(machine)


@pytest.fixture
def kmap_schema(checkout: Path) -> Json:
    found: Json = json.loads((checkout / "drgn_scripts/pageproof/schema/kmap-1.json").read_text())
    return found


def bounds(report: Json, region: str) -> tuple[int, int]:
    (row,) = (row for row in report["rows"] if row["region"] == region)
    return number(row["start"]), number(row["last"])


def lies_in(report: Json, region: str, address: int) -> bool:
    start, last = bounds(report, region)
    return start <= address <= last


def mapped(contents: Json) -> int:
    return sum(int(contents[f"mapped_{size}_bytes"]) for size in ("4k", "2m", "1g"))


def test_every_byte_is_in_one_row(report: Json, kmap_schema: Json) -> None:
    jsonschema.validate(report, kmap_schema)
    rows = report["rows"]
    assert number(rows[0]["start"]) == 0
    assert number(rows[-1]["last"]) == 2**64 - 1
    for before, after in pairwise(rows):
        assert number(after["start"]) == number(before["last"]) + 1
    for row in rows:
        assert row["size_bytes"] == number(row["last"]) - number(row["start"]) + 1 > 0


def test_the_documented_map(machine: Machine, report: Json) -> None:
    """Without KASLR all rows of mm.rst; with KASLR the moved rows are reported as moved."""
    starts = {row["region"]: number(row["start"]) for row in report["rows"]}
    levels = machine.setup.paging
    assert ALIKE.items() <= starts.items()
    moved = {row["region"] for row in report["rows"] if row["placement"] == "moved"} - {"hole"}
    if machine.setup.kaslr:
        assert moved == {"physmap", "vmalloc", "vmemmap"}
        return
    assert moved == set()
    assert DOCUMENTED[levels].items() <= starts.items()
    holes = {number(row["start"]) for row in report["rows"] if row["region"] == "hole"}
    documented_holes = DOCUMENTED_HOLES[levels] | ALIKE_HOLES
    assert documented_holes <= holes
    documented = DOCUMENTED[levels] | ALIKE
    # Nothing else is reported, unless a documented row is larger than the memory can be.
    assert starts.keys() - {"hole"} - VARIABLE == documented.keys()
    boundaries = sorted(documented_holes | set(documented.values()))
    for start in holes - documented_holes - VARIABLE_HOLES:
        row = max(boundary for boundary in boundaries if boundary <= start)
        assert row in (documented["physmap"], documented["vmemmap"]), f"{start:#x}"


def test_physmap_covers_the_ram(machine: Machine, report: Json) -> None:
    """The physmap maps the System RAM of /proc/iomem, and nothing beyond the last frame."""
    lines = machine.guest.check("cat", "/proc/iomem").splitlines()
    ram = 0
    for line in lines:
        match = re.fullmatch(r"([0-9a-f]+)-([0-9a-f]+) : System RAM", line)
        if match:
            start, end = int(match[1], 16), int(match[2], 16) + 1
            ram += (end & -4096) - (start + 4095 & -4096)
    assert ram > 512 << 20
    (row,) = (row for row in report["rows"] if row["region"] == "physmap")
    assert ram <= mapped(row["contents"]) <= report["layout"]["memory_bytes"]
    assert row["contents"]["writable_bytes"] > ram // 2


def test_text_and_modules(machine: Machine, report: Json) -> None:
    """/proc/kallsyms and /proc/modules."""
    symbols = machine.guest.check("grep", "-wE", "_stext|_etext|_end", "/proc/kallsyms")
    found = {line.split()[2]: int(line.split()[0], 16) for line in symbols.splitlines()}
    assert found["_stext"]
    start, last = number(report["layout"]["image_start"]), number(report["layout"]["image_end"])
    assert start <= found["_stext"] < found["_etext"] < last
    assert all(lies_in(report, "text", address) for address in found.values())
    (row,) = (row for row in report["rows"] if row["region"] == "text")
    code = found["_etext"] - found["_stext"]
    assert row["contents"]["executable_bytes"] >= code & -4096
    modules = machine.guest.check("cat", "/proc/modules").splitlines()
    addresses = {line.split()[0]: int(line.split()[5], 16) for line in modules}
    assert addresses["umh_shm"]
    assert all(lies_in(report, "modules", address) for address in addresses.values())


def test_vmallocinfo(machine: Machine) -> None:
    """Every area is in the vmalloc row, or in the modules row if it was allocated there."""
    restrict = "/proc/sys/kernel/kptr_restrict"
    # %pK is a hash with 0, and the address for root with 1.
    script = (
        f"old=$(cat {restrict}); echo 1 >{restrict}; cat /proc/vmallocinfo; echo $old >{restrict}"
    )
    lines = machine.guest.check("sh", "-c", script).splitlines()
    report = kmap(machine)
    areas = [[int(word, 16) for word in line.split()[0].split("-")] for line in lines]
    inside = {
        region: [
            area
            for area in areas
            if lies_in(report, region, area[0]) and lies_in(report, region, area[1] - 1)
        ]
        for region in ("vmalloc", "modules")
    }
    assert len(inside["vmalloc"]) + len(inside["modules"]) == len(areas)
    assert len(inside["vmalloc"]) > 50


def test_writable_and_executable(machine: Machine, report: Json) -> None:
    """The kernel's own check at boot (CONFIG_DEBUG_WX) and pageproof's agree."""
    log = machine.guest.check("dmesg")
    both = sum(
        row["contents"]["write_execute_bytes"]
        for row in report["rows"]
        if row["contents"] and row["contents"]["tables"] == "init_mm"
    )
    assert "Checked W+X mappings:" in log
    passed = "Checked W+X mappings: passed" in log
    assert passed is (both == 0)
    warned = [one for one in report["findings"] if one["id"] == "write-execute"]
    assert bool(warned) is (both > 0)


def test_a_process(machine: Machine) -> None:
    """The user half of a process: its resident pages by smaps, and its code is executable."""
    machine.load()
    pid = machine.sysfs("helper_pid")
    report = kmap(machine, "--pid", pid)
    (row,) = (row for row in report["rows"] if row["region"] == "user")
    assert row["contents"]["tables"] == f"pid {pid}"
    rss = machine.guest.check("awk", "/^Rss:/ { n += $2 } END { print n }", f"/proc/{pid}/smaps")
    # smaps omits the region (VM_PFNMAP), vdso and vvar, so a few more pages are mapped.
    extra = mapped(row["contents"]) - int(rss) * 1024
    assert 4096 <= extra <= 16 * 4096
    assert row["contents"]["executable_bytes"] > 0
    (ldt,) = (row for row in report["rows"] if row["region"] == "ldt")
    assert ldt["contents"]["tables"] == f"pid {pid}"


@each_kernel
def test_the_drgn_code_gives_the_same(machine: Machine, tmp_path: Path) -> None:
    """The expressions that --drgn prints work in plain drgn."""
    path = tmp_path / "code.py"
    assert machine.outside("kmap", "--drgn", "-o", str(path)).code == 0
    report = kmap(machine)
    result = drgn_script(str(path), *machine.target)
    assert result.code == 0, result.err
    lines = [line.split() for line in result.out.splitlines()]
    rows = {words[0]: words[2:] for words in lines if len(words) == 6}
    assert len(rows) == len(report["rows"])
    for row in report["rows"]:
        if row["region"] in ("physmap", "vmemmap", "text"):
            held = row["contents"]
            numbers = (mapped(held), held["writable_bytes"], held["executable_bytes"])
            assert rows[f"{number(row['start']):016x}"] == [row["region"], *map(str, numbers)]


def test_the_kernels_markers_and_its_macros_agree(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel without PTDUMP_CORE has no address_markers: the substitute gives the same rows."""
    target = open_target(
        Wanted(qemu=str(machine.guest.sockets.qmp), symbols=(machine.kernel.vmlinux,)), []
    )
    try:
        paging = read_paging(target.prog)
        marked = read_layout(target.prog, paging)
        assert marked.markers
        monkeypatch.setattr(layout, "_markers", lambda prog: {})
        assert replace(read_layout(target.prog, paging), markers=True) == marked
    finally:
        del target
        gc.collect()  # the monitor serves one client at a time
