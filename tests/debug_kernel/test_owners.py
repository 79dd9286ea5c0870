# SPDX-License-Identifier: GPL-2.0-or-later
"""KASAN's reports and page_owner against `whatis`, and page_table_check against `alias`."""

import json
import random
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from attached import attached
from drgn import Object, Program
from machine import Json, Machine, Region, number

#: Reads records of page_owner at random places: a read gives that of the next page in use
#: (mm/page_owner.c, read_page_owner()).
SAMPLE = """
import json, os, random, sys
fd = os.open("/sys/kernel/debug/page_owner", os.O_RDONLY)
rng = random.Random(int(sys.argv[1]))
last = int(sys.argv[2])
wanted = [int(word) for word in sys.argv[3:]] or [rng.randrange(last) for _ in range(400)]
print(json.dumps([os.pread(fd, 8192, pfn).decode(errors="replace") for pfn in wanted]))
"""
RECORD = re.compile(r"Page allocated via order (\d+),.*?\bts (\d+) ns.*?\nPFN 0x([0-9a-f]+) ", re.S)
#: A function of the allocation's stack -> what whatis must call the page.
USES = {
    "allocate_slab": "slab",
    "pte_alloc_one": "page table",
    "___kmalloc_large_node": "large kmalloc",
    "__kmalloc_large_node": "large kmalloc",
    "do_anonymous_page": "anonymous",
    "page_cache_ra_unbounded": "file",
}


def whatis(machine: Machine, *words: str) -> Json:
    result = machine.outside("whatis", "--format", "json", *words)
    assert result.code in (0, 3), result.out + result.err
    return result.report


def records(machine: Machine, *pfns: int) -> dict[int, tuple[int, str, str]]:
    """Return order, time and text of records of page_owner, by PFN."""
    with attached(machine) as view:
        frames = view.target.prog["max_pfn"].value_()
    words = ("1", str(frames), *map(str, pfns))
    texts = json.loads(machine.guest.check("python3", "-c", SAMPLE, *words, timeout_seconds=600))
    found = {}
    for text in texts:
        if match := RECORD.search(text):
            found[int(match[3], 16)] = int(match[1]), match[2], text
    return found


def test_page_owner(debugged: Machine) -> None:
    """No page that has an owner is free, and what it was allocated for is what it is used for."""
    with attached(debugged) as view:
        base = view.paging.page_offset_base
    rng = random.Random("page_owner")
    before = records(debugged)
    uses = {}
    for pfn, (order, _, _) in before.items():
        page = pfn + rng.randrange(1 << order)
        uses[pfn] = whatis(debugged, f"{base + page * 4096:#x}")["frame"]
    after = records(debugged, *before)
    steady = [pfn for pfn in before if after.get(pfn) == before[pfn]]
    assert len(steady) > 100
    seen = set()
    for pfn in steady:
        text, frame = before[pfn][2], uses[pfn]
        assert frame is not None, text
        assert frame["use"] != "free", (text, frame)
        for function, use in USES.items():
            if f" {function}+" in text:
                assert frame["use"] == use, (text, frame)
                seen.add(use)
    assert {"slab", "page table", "file"} <= seen


def test_kasan(debugged: Machine) -> None:
    """The shadow in KASAN's reports, byte by byte, and what was done with the memory."""
    debugged.load_test_module("shadow_bugs")
    log = debugged.guest.check("dmesg")
    places = dict(re.findall(r"shadow_bugs: (\w+) ([0-9a-f]{16})", log))
    kinds = re.findall(r"BUG: KASAN: (\S+) in read_at", log)
    assert kinds == ["slab-out-of-bounds", "vmalloc-out-of-bounds", "slab-use-after-free"]
    rows = re.findall(r"^.*>([0-9a-f]{16}): ((?:[0-9a-f]{2} ?){16})", log, re.MULTILINE)
    assert len(rows) == 3
    for (name, place), (row, values) in zip(places.items(), rows, strict=True):
        address, start = int(place, 16), int(row, 16)
        expected = [int(value, 16) for value in values.split()]
        report = whatis(debugged, place)
        shadow = report["identity"]["shadow"]
        assert number(shadow["memory"]) == address & ~7, name
        left = expected[(address - start) // 8 :]
        shown = shadow["values"][: len(left)]
        assert shown and shown == left[: len(shown)], (name, shadow, row, values)
        assert shadow["meanings"], name
        # The shadow address itself leads back.
        back = whatis(debugged, f"{number(shadow['shadow']):#x}")["identity"]["shadow"]
        assert number(back["memory"]) == address & ~7, name
        if name != "area":
            assert report["identity"]["slab"]["allocated"] is (name == "beyond"), report


def checked(prog: Program, pfn: int) -> tuple[int, int]:
    """Return page_table_check's counts of a frame: anonymous and file (mm/page_table_check.c)."""
    section_pages = 1 << (27 - 12)
    per_root = 4096 // prog.type("struct mem_section").size
    root, index = divmod(pfn // section_pages, per_root)
    section = prog["mem_section"][root][index]
    entry = section.page_ext.value_() + pfn * prog["page_ext_size"].value_()
    entry += prog["page_table_check_ops"].offset.value_()
    counts = Object(prog, "struct page_table_check", address=entry)
    return counts.anon_map_count.counter.value_(), counts.file_map_count.counter.value_()


@contextmanager
def spaces(machine: Machine) -> Iterator[int]:
    pid: int = machine.start("spaces.py")
    yield pid
    machine.end_group(pid)


@pytest.mark.parametrize("how", ["remap", "fault", "insert"])
def test_page_table_check_of_the_region(debugged: Machine, how: str) -> None:
    """alias finds as many user mappings of each frame as the kernel has counted."""
    debugged.load(Region("pages", how, 3), allow_any=True)
    debugged.map("--pages", "3", "--touch", "0", "1", "2")
    debugged.map("--pages", "2", "--touch", "0", "1")
    for pfn, users in zip(debugged.pfns(), (3, 3, 2), strict=True):
        report = debugged.outside("alias", f"{pfn:x}", "--format", "json").report
        with attached(debugged) as view:
            counts = checked(view.target.prog, pfn)
        assert counts == (0, len(report["users"]))
        assert len(report["users"]) <= users
    debugged.end_mappers()


def test_page_table_check_of_processes(debugged: Machine) -> None:
    """The same for anonymous memory that a parent and its child share, and for files."""
    with spaces(debugged) as pid:
        text = debugged.guest.check("cat", f"/proc/{pid}/maps")
        both = set()
        for line in text.splitlines():
            start = line.partition("-")[0]
            asked = debugged.outside("alias", start, "--pid", str(pid), "--format", "json")
            if asked.code not in (0, 3) or asked.report["pfn"] is None:
                continue
            users = asked.report["users"]
            pfn = number(asked.report["pfn"])
            with attached(debugged) as view:
                counts = checked(view.target.prog, pfn)
            if not users:
                continue
            if "special" in [one["id"] for one in asked.report["findings"]]:
                continue  # the zero page is not counted
            assert sum(counts) == len(users), (line, counts, asked.out)
            both.add(counts[0] > 0)
        assert both == {True, False}
