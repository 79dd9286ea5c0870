# SPDX-License-Identifier: GPL-2.0-or-later
"""`alias` on a running guest, against debugfs, procfs and the kernel's own counts."""

import json
import random
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from attached import attached, frozen
from machine import COMMAND_SECONDS, Json, Machine, Region, each_kernel, number

from pageproof.find.frame.mapcount import page_mapcount
from pageproof.find.frame.page import struct_page_facts
from pageproof.find.process.mappings import address_spaces
from pageproof.observe.sweep import Sweep

PAGE_BYTES = 4096
KERNEL_SIDE = "umh_shm_region.kaddr"
SAMPLE = 1500

pytestmark = each_kernel


@pytest.fixture
def schema(checkout: Path) -> Json:
    path = checkout / "drgn_scripts/pageproof/schema/alias-1.json"
    found: Json = json.loads(path.read_text())
    return found


def mappers(machine: Machine) -> set[tuple[int, int]]:
    """Return (pid, address) of all mappings of the region's first page, from procfs."""
    # Ignore grep's exit code: a process may end meanwhile, or have no match.
    script = "grep -H '/dev/umh_shm$' /proc/[0-9]*/maps || true"
    found = set()
    for line in machine.guest.check("sh", "-c", script).splitlines():
        path, _, vma = line.partition(":")
        place, _, offset, *_ = vma.split()
        if int(offset, 16) == 0:
            found.add((int(path.split("/")[2]), int(place.partition("-")[0], 16)))
    return found


def users(report: Json) -> set[tuple[int, int]]:
    return {(one["process"]["pid"], number(one["address"])) for one in report["users"]}


@pytest.mark.parametrize(
    ("region", "rows", "counted"),
    [
        (Region("kzalloc", "remap", 1), ["physmap"], False),
        (Region("vmalloc", "insert", 5), ["physmap", "vmalloc"], True),
    ],
    ids=str,
)
def test_the_region_has_its_aliases_and_all_its_mappers(
    machine: Machine, schema: Json, region: Region, rows: list[str], counted: bool
) -> None:
    machine.load(region, allow_any=True)
    mapper = machine.map("--pages", "1", "--touch", "0")
    (frame, *_) = machine.pfns()
    expected = mappers(machine)
    assert len(expected) >= 2
    for words in ((KERNEL_SIDE,), (f"{frame:x}",), (mapper["address"], "--pid", mapper["pid"])):
        asked = [f"{word:x}" if word == mapper["address"] else str(word) for word in words]
        result = machine.outside("alias", *asked, "--format", "json")
        assert result.code == 0, result.err + result.out
        report = result.report
        jsonschema.validate(report, schema)
        assert number(report["pfn"]) == frame
        assert users(report) == expected
        # Frames of the image that were freed after boot stay mapped by it.
        assert [one["region"] for one in report["kernel"] if one["region"] != "text"] == rows
        assert {one["counted"] for one in report["users"]} == {counted}
        assert all(one["process"]["vma"]["file"] for one in report["users"])
        if counted:
            assert report["mapcount"] == len(expected)
        assert [one["id"] for one in report["findings"]] == ([] if counted else ["special"])
    text = machine.outside("alias", KERNEL_SIDE).out
    assert f"PFN 0x{frame:x}" in text
    assert "in the kernel's half, 2 by processes" in text


def test_the_kernels_text_is_in_the_physmap_too(loaded: Machine) -> None:
    report = loaded.outside("alias", "_text", "--format", "json").report
    assert {"physmap", "text"} <= {one["region"] for one in report["kernel"]}
    rights = {one["region"]: one["permissions"] for one in report["kernel"]}
    assert (rights["text"]["execute"], rights["physmap"]["execute"]) == (True, False)


def test_code_for_drgn_gives_the_same(loaded: Machine, tmp_path: Path) -> None:
    script = tmp_path / "pasted.py"
    result = loaded.outside("alias", KERNEL_SIDE, "--drgn", "-o", str(script))
    assert result.code == 0, result.err
    done = subprocess.run(
        [sys.executable, "-m", "drgn", "--quiet", *loaded.target, str(script)],
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for pid, address in mappers(loaded):
        assert f"pid {pid} {address:016x}" in done.stdout


def test_as_many_mappings_as_the_kernel_counts(machine: Machine) -> None:
    """Check a sample of all frames that processes map, on a stopped guest."""
    machine.load(allow_any=True)
    machine.map("--pages", "1", "--touch", "0")
    pythons = machine.start("spaces.py")  # two, which share their text, libraries and heap
    with frozen(machine), attached(machine) as view:
        target, paging, walker = view.target, view.paging, view.engine
        sweep = Sweep(target, paging, walker)
        assert not sweep.doubts
        last = view.form.lower_half_last
        pfns = {
            (one.frame >> 12) + page
            for space in address_spaces(target.prog, paging).found
            for one in walker.ranges(space.root, 0, last, merged=True)
            if one.frame is not None
            for page in range((one.last + 1 - one.start) // PAGE_BYTES)
        }
        sample = sorted(pfns)
        if len(sample) > SAMPLE:
            sample = random.Random(1).sample(sample, SAMPLE)
        compared = shared = 0
        for pfn in sample:
            aliases, stable = sweep.aliases(pfn)
            assert stable
            assert any(one.region is None for one in aliases), f"{pfn:#x}"
            counted = sum(one.counted for one in aliases)
            mapcount = page_mapcount(target.prog, pfn, struct_page_facts(target.prog, pfn))
            if not counted:
                assert not mapcount, f"{pfn:#x}"
                continue
            assert counted == mapcount, f"{pfn:#x}: {aliases}"
            compared += 1
            shared += counted > 1
    machine.end_group(pythons)
    assert compared > 500
    assert shared > 50
