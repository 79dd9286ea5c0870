# SPDX-License-Identifier: GPL-2.0-or-later
"""`walk` and `maps` on a running guest, against debugfs, procfs and drgn."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest
from machine import COMMAND_SECONDS, Json, Machine, Result, each_kernel, number
from procfs import frames, pagemaps, smaps

PAGE_BYTES = 4096
PFNMAP = 1 << 10
KERNEL_SIDE = "umh_shm_region.kaddr"


@pytest.fixture(scope="module")
def spaces(machine: Machine) -> Iterator[int]:
    """The PID of a sleeping process that has a mapping of each kind (tests/vm/spaces.py)."""
    pid: int = machine.start("spaces.py")
    yield pid
    machine.end_group(pid)


def schema(checkout: Path, name: str) -> Json:
    found: Json = json.loads((checkout / f"drgn_scripts/pageproof/schema/{name}").read_text())
    return found


def walked(result: Result) -> Json:
    """Return the walk of a report; it must lead to a frame, and drgn must agree."""
    assert result.code == 0, result.err + result.out
    report = result.report
    assert not report["disputed"]
    walk: Json = report["walk"]
    if report["second"] is not None:
        assert report["second"]["pfn"] == walk["pfn"]
    return walk


# walk


def test_walk_of_both_sides_ends_in_debugfs_frame(loaded: Machine, checkout: Path) -> None:
    pid, address = loaded.helper_address()
    (frame,) = loaded.pfns()
    for words in ((KERNEL_SIDE,), (KERNEL_SIDE, "--pid", pid), (address, "--pid", pid)):
        result = loaded.outside("walk", *words, "--format", "json")
        jsonschema.validate(result.report, schema(checkout, "walk-1.json"))
        walk = walked(result)
        assert number(walk["pfn"]) == frame, words
        assert walk["levels"] == loaded.setup.paging
    text = loaded.outside("walk", KERNEL_SIDE, "-v").out
    assert f"PFN 0x{frame:x}, agrees" in text


def test_walk_in_the_half_of_user_mode(loaded: Machine) -> None:
    """With PTI the user half has the helper's page and no part of the region's kernel side."""
    pid, address = loaded.helper_address()
    words = ("--pid", pid, "--user-tables", "--format", "json")
    user = loaded.outside("walk", address, *words)
    if not loaded.setup.pti:
        assert (user.code, user.out) == (2, "")
        assert "no page-table isolation" in user.err
        return
    assert number(walked(user)["pfn"]) == loaded.pfns()[0]
    kernel = loaded.outside("walk", KERNEL_SIDE, *words)
    assert kernel.code == 3
    assert kernel.report["walk"]["pfn"] is None
    whole = loaded.outside("walk", address, "--pid", pid, "--format", "json").report["walk"]
    roots = number(user.report["walk"]["root"]), number(whole["root"])
    assert roots[0] == roots[1] + PAGE_BYTES


def test_walk_of_what_is_not_there(loaded: Machine) -> None:
    pid = loaded.sysfs("helper_pid")
    nothing = loaded.outside("walk", "0", "--pid", pid, "--format", "json")
    assert (nothing.code, nothing.report["walk"]["outcome"]) == (3, "none")


# maps


def procfs_lines(text: str) -> list[str]:
    """Return the lines in the form of procfs from the output of maps."""
    lines = text.partition("\n\n")[2].splitlines()[:-1]  # without head and sum
    return [line for line in lines if not line.startswith(" ")]


@each_kernel
def test_maps_are_procfs_lines(loaded: Machine, checkout: Path, spaces: int) -> None:
    for pid in (loaded.sysfs("helper_pid"), str(spaces), "1"):
        said = loaded.guest.check("cat", f"/proc/{pid}/maps").splitlines()
        result = loaded.outside("maps", "--pid", pid)
        assert result.code == 0, result.err
        assert procfs_lines(result.out) == [line.rstrip() for line in said]
        report = loaded.outside("maps", "--pid", pid, "--format", "json").report
        jsonschema.validate(report, schema(checkout, "maps-1.json"))
        assert report["outside"] == []


@each_kernel
def test_maps_resident_pages_are_pagemaps(loaded: Machine, spaces: int) -> None:
    """Every frame of every VMA but those with VM_PFNMAP, which pagemap skips."""
    report = loaded.outside("maps", "--pid", str(spaces), "--format", "json").report
    vmas = [
        vma
        for vma in report["vmas"]
        if not number(vma["line"]["vma"]["vm_flags"]) & PFNMAP
        and vma["line"]["name"] != "[vsyscall]"
    ]
    said = pagemaps(loaded, {spaces: vmas})[spaces]
    mine = [page for vma in vmas for page in frames(vma)]
    assert len(said) > 100
    assert mine == said


@each_kernel
def test_maps_sums_are_smaps(loaded: Machine, spaces: int) -> None:
    """Compare Rss, huge leaves, private and shared anonymous memory, and VmPTE.

    Rss does not count the zero page, though it is in the page tables.
    """
    zero_page = number(walked(loaded.outside("walk", "empty_zero_page", "--format", "json"))["pfn"])
    said = smaps(loaded.guest.check("cat", f"/proc/{spaces}/smaps"))
    report = loaded.outside("maps", "--pid", str(spaces), "--format", "json").report
    huge = zeros = compared = 0
    for vma in report["vmas"]:
        words = said.get(f"{number(vma['line']['vma']['start']):08x}", {})
        resident = sum(vma[f"resident_{size}_bytes"] for size in ("4k", "2m", "1g"))
        huge += vma["resident_2m_bytes"]
        if not words.get("Rss") or words["Anonymous"] != words["Rss"]:
            continue
        zero_bytes = sum(pfn == zero_page for _, pfn in frames(vma)) * PAGE_BYTES
        assert resident - zero_bytes == words["Rss"]
        assert vma["resident_2m_bytes"] == words["AnonHugePages"]
        if not vma["resident_2m_bytes"]:
            assert vma["private_bytes"] == words["Private_Clean"] + words["Private_Dirty"]
            assert vma["shared_bytes"] == words["Shared_Clean"] + words["Shared_Dirty"]
        compared += 1
        zeros += zero_bytes
    assert zeros
    assert compared >= 3
    assert huge == 2 << 20
    status = loaded.guest.check("cat", f"/proc/{spaces}/status")
    (tables,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmPTE"))
    assert report["pgtables_bytes"] == int(tables) * 1024


@each_kernel
def test_code_for_drgn_gives_the_same(loaded: Machine, spaces: int, tmp_path: Path) -> None:
    """In plain drgn: the same frame, and the same number of present pages in each VMA."""

    def run(*words: str) -> str:
        script = tmp_path / "pasted.py"
        assert loaded.outside(*words, "--drgn", "-o", str(script)).code in (0, 3)
        done = subprocess.run(
            [sys.executable, "-m", "drgn", "--quiet", *loaded.target, str(script)],
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    pid, address = loaded.helper_address()
    (frame,) = loaded.pfns()
    for words in ((KERNEL_SIDE,), (address, "--pid", pid)):
        said = run("walk", *words)
        assert f"PFN {frame:#x} " in said
        assert f"follow_phys {frame * PAGE_BYTES:#x}" in said
    said = run("maps", "--pid", pid)
    report = loaded.outside("maps", "--pid", pid, "--format", "json").report
    for vma in report["vmas"]:
        if vma["line"]["name"] == "[vsyscall]":
            continue
        pages = sum(vma[f"resident_{size}_bytes"] for size in ("4k", "2m", "1g")) // PAGE_BYTES
        place = "-".join(f"{number(vma['line']['vma'][end]):x}" for end in ("start", "end"))
        assert f"{place} {vma['line']['vma']['vm_flags']} {pages} pages" in said
