# SPDX-License-Identifier: GPL-2.0-or-later
"""`maps` against pagemap and smaps, on mappings that are easily counted wrong.

The kernel's counts differ from the runs of `maps`: Rss does not include zero pages, small or huge
(they are special), nor VM_PFNMAP, and huge pages of a pool have a separate line
(smaps_pte_entry(), smaps_pmd_entry(), smaps_hugetlb_range() of fs/proc/task_mmu.c).
"""

import json
from collections.abc import Iterator

import pytest
from attached import View, attached
from machine import Json, Machine, each_kernel, number
from procfs import PAGE_BYTES, frames, pagemaps, smaps
from sharing import Everything

from pageproof.commands.maps import maps
from pageproof.find.kernel.expression import find_address
from pageproof.model import VmaLine
from pageproof.render.draw.maps import procfs_line
from pageproof.render.jsonform import report_to_json
from pageproof.render.printable import printable

PFNMAP = 1 << 10
HUGE_BYTES = 2 << 20


@pytest.fixture
def odd(loaded: Machine) -> Iterator[Json]:
    """The output of tests/vm/odd_spaces.py, which sleeps."""
    facts: Json = loaded.start("odd_spaces.py")
    yield facts
    loaded.end_group(facts["pid"])


def maps_of(view: View, pid: int) -> list[Json]:
    """Return the VMAs of a process without the vsyscall page, which is not a VMA."""
    report = maps(view.target, pid, lambda message: None)
    assert report.stable
    vmas: list[Json] = json.loads(report_to_json(report))["vmas"]
    return [vma for vma in vmas if vma["line"]["name"] != "[vsyscall]"]


def resident(vma: Json) -> int:
    return sum(int(vma[f"resident_{size}_bytes"]) for size in ("4k", "2m", "1g"))


def covering(vmas: list[Json], address: int) -> Json:
    (vma,) = (
        vma
        for vma in vmas
        if number(vma["line"]["vma"]["start"]) <= address < number(vma["line"]["vma"]["end"])
    )
    return vma


@pytest.fixture
def named(loaded: Machine) -> Iterator[Json]:
    """The output of tests/vm/odd_names.py, which sleeps."""
    facts: Json = loaded.start("odd_names.py")
    yield facts
    loaded.end_group(facts["pid"])
    loaded.guest.check("sh", "-c", "umount /run/overlay/all; rm -rf /run/overlay /run/names")


@each_kernel
def test_names_are_procfs_byte_for_byte(
    loaded: Machine, named: Json, everything: Everything
) -> None:
    """Names of files and of shared memory: byte for byte in the report, escaped in text."""
    wanted = {"files", "detached", "packet_ring", "memory", "at_the_heap"}
    if loaded.guest.run("test", "-e", "/dev/udmabuf").code == 0:
        wanted.add("dma_bufs")
    assert wanted <= set(named["made"])
    pids = {named["pid"], *(int(said["pid"]) for said in everything.facts.values())}
    with attached(loaded) as view:
        reports = {pid: maps(view.target, pid, lambda message: None) for pid in pids}
    for pid, report in reports.items():
        assert report.lost == ""
        said = loaded.guest.agent.read_file(f"/proc/{pid}/maps").split(b"\n")[:-1]
        # maps omits the blank at the end of a line without a name.
        assert [procfs_bytes(vma.line) for vma in report.vmas] == [
            line if line[72:] else line.rstrip(b" ") for line in said
        ]
    shown = loaded.outside("maps", "--pid", str(named["pid"])).out
    for vma in reports[named["pid"]].vmas:
        # Characters that a terminal would act on are escaped, and blanks at the end of a line are
        # omitted. Everything else is unchanged.
        assert f"{printable(procfs_line(vma.line)).rstrip()}\n" in shown


def procfs_bytes(line: VmaLine) -> bytes:
    return procfs_line(line).encode("utf-8", "surrogateescape")


@each_kernel
def test_pages_are_pagemaps_and_sums_are_smaps(loaded: Machine, odd: Json) -> None:
    """Compare each VMA of four sleeping processes."""
    pids = odd["pid"], odd["partner"], int(loaded.sysfs("helper_pid")), 1
    with attached(loaded) as view:
        mine = {pid: maps_of(view, pid) for pid in pids}
        zero_page = find_address(view.target.prog, "empty_zero_page")  # in assembly on 5.10
        zero = view.engine.walk(view.paging.kernel_root, zero_page).pfn
    is_named(odd, mine[odd["pid"]], mine[odd["partner"]])
    huge_zero = dict(frames(covering(mine[odd["pid"]], odd["only_read"])))[odd["only_read"]]
    zeros = {zero, *range(huge_zero, huge_zero + HUGE_BYTES // PAGE_BYTES)}
    ordinary = {pid: [vma for vma in mine[pid] if not is_pfnmap(vma)] for pid in pids}
    pages = pagemaps(loaded, ordinary)
    for pid in pids:
        assert [page for vma in ordinary[pid] for page in frames(vma)] == pages[pid]
        # The agent itself reads these, as a new process would share some of the files' pages.
        said = smaps(loaded.guest.agent.read_file(f"/proc/{pid}/smaps").decode())
        for vma in mine[pid]:
            compare(vma, said[f"{number(vma['line']['vma']['start']):08x}"], zeros)


def is_pfnmap(vma: Json) -> bool:
    return bool(number(vma["line"]["vma"]["vm_flags"]) & PFNMAP)


def compare(vma: Json, said: dict[str, int], zeros: set[int | None]) -> None:
    """Compare a VMA with its part of smaps."""
    what = f"{vma['line']}: {said}"
    uncounted = sum(is_pfnmap(vma) or pfn in zeros for _, pfn in frames(vma)) * PAGE_BYTES
    pool = said["Private_Hugetlb"] + said["Shared_Hugetlb"]
    assert resident(vma) - uncounted == said["Rss"] + pool, what
    if not vma["resident_2m_bytes"]:
        private, shared = (
            said[f"{kind}_Clean"] + said[f"{kind}_Dirty"] for kind in ("Private", "Shared")
        )
        assert (vma["private_bytes"], vma["shared_bytes"]) == (private, shared), what


def is_named(odd: Json, vmas: list[Json], partners: list[Json]) -> None:
    """A PROT_NONE page has its frame, inverted in the entry; a guard page has none."""
    nobody = run_at(vmas, odd["nobody"])
    assert (nobody["outcome"], nobody["permissions"]["access"]) == ("prot-none", False)
    assert nobody["frame"] is not None
    if odd["guard"] is not None:
        guard = run_at(vmas, odd["guard"])
        assert (guard["outcome"], guard["frame"]) == ("guard-marker", None)
    assert covering(vmas, odd["only_read"])["resident_2m_bytes"] >= HUGE_BYTES
    assert covering(vmas, odd["pool"])["resident_2m_bytes"] == HUGE_BYTES
    # Of two huge pages this process has the first one split, and its partner has both whole.
    split, whole = (covering(vmas, odd["split"] + at) for at in (0, HUGE_BYTES))
    assert split["resident_4k_bytes"] == 7 * PAGE_BYTES
    assert whole["resident_2m_bytes"] == HUGE_BYTES
    assert covering(partners, odd["split"])["resident_2m_bytes"] == 2 * HUGE_BYTES


def run_at(vmas: list[Json], address: int) -> Json:
    """Return the run that begins at an address."""
    runs: list[Json] = covering(vmas, address)["runs"]
    (found,) = (run for run in runs if number(run["start"]) == address)
    return found
