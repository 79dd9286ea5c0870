# SPDX-License-Identifier: GPL-2.0-or-later
"""After a real panic, all commands give the same results for the vmcore as for the live guest."""

import json
import shutil
import struct
import tomllib
from pathlib import Path

import pytest
from machine import (
    ROOT,
    Json,
    drgn_script,
    each_kernel,
    number,
    on_one_kernel,
    pageproof,
    pages,
)
from plugins.crashed import VERIFY, Crashed
from sharing import (
    closed_page_is_proven,
    closed_page_is_walked,
    is_proven,
    walk_to_closed,
)

from pageproof_lab.proc import run


def elf_offset(dump: Path, paddr: int) -> int | None:
    """Return the offset of a physical address in an ELF dump, by readelf; None if it is absent."""
    listed = run(["readelf", "--program-headers", "--wide", dump])
    loads = [line.split()[1:6] for line in listed.splitlines() if line.split()[:1] == ["LOAD"]]
    assert loads, listed
    for offset, _vaddr, start, bytes_in_file, _bytes in loads:
        if int(start, 16) <= paddr < int(start, 16) + int(bytes_in_file, 16):
            return int(offset, 16) + paddr - int(start, 16)
    return None


def essence(proof: Json) -> Json:
    """Return what a crash must not change: a proof without times, accessed and dirty bits."""
    evidence = proof["evidence"]
    return {
        "verdict": proof["verdict"],
        "content": sorted((c["route"], c["sha256"]) for c in evidence["content"]),
        "slot": evidence["slot"],
        "page": evidence["page"] and {k: evidence["page"][k] for k in ("page", "type_words")},
        **{
            f"{side} {name}": evidence[side][name]
            for side in ("kernel_walk", "user_walk")
            for name in (
                "address",
                "root",
                "levels",
                "pfn",
                "leaf_bytes",
                "permissions",
                "memory_type",
            )
        },
    }


def test_says_the_same(crashed: Crashed) -> None:
    """Each format gives the same report; debug info is found by build ID, without -s."""
    live = {key: essence(proof) for key, proof in pages(crashed.live).items()}
    assert len(live) == 7
    for name, dump in crashed.dumps.items():
        result = pageproof("-c", dump, *VERIFY)
        assert result.code == 0, name + result.out + result.err
        assert result.report["target"]["kind"] == "core"
        assert {key: essence(p) for key, p in pages(result.report).items()} == live, name


def test_diff(crashed: Crashed, tmp_path: Path) -> None:
    """diff finds no change between the last live report and one of the dump."""
    live = tmp_path / "live.json"
    live.write_text(json.dumps(crashed.live))
    for name in crashed.two_dumps:
        core = tmp_path / f"{name}.json"
        assert crashed.ask(name, *VERIFY, "-o", core).code == 0, name
        result = pageproof("diff", live, core, "--format", "json")
        assert result.code == 0, name + result.out + result.err
        report = result.report
        assert (report["old"]["target"]["kind"], report["new"]["target"]["kind"]) == (
            "qemu",
            "core",
        )
        for what in ("boot", "regions", "mappings", "verdicts", "frames"):
            assert report[what] == [], name
        new = [one["finding"] for one in report["findings"] if one["change"] == "new"]
        assert {one["severity"] for one in new} <= {"note"}, name


def held(report: Json) -> list[tuple[Json, Json]]:
    return [(vma["line"], vma["runs"]) for vma in report["vmas"]]


def test_walk_and_maps_say_the_same(crashed: Crashed) -> None:
    """They give the region's frame, and all mappings of a sleeping process with every frame."""
    first = crashed.live["proofs"][0]["evidence"]["kernel_walk"]
    pid = str(crashed.maps["process"]["pid"])
    for name in crashed.two_dumps:
        walk = crashed.ask(name, "walk", "umh_shm_region.kaddr", "--format", "json")
        assert walk.code == 0, name + walk.out + walk.err
        assert walk.report["walk"]["pfn"] == first["pfn"]
        maps = crashed.ask(name, "maps", "--pid", pid, "--format", "json")
        assert maps.code == 0, name + maps.out + maps.err
        assert held(maps.report) == held(crashed.maps), name


@each_kernel
def test_alias(crashed: Crashed) -> None:
    """Each dump has the same mappings of the region's first page as the live guest."""
    firsts = {
        (key[0], one["evidence"]["user_address"]): one["evidence"]["kernel_walk"]["pfn"]
        for key, one in pages(crashed.live).items()
        if key[1] == 0
    }
    for name in crashed.two_dumps:
        result = crashed.ask(name, "alias", "umh_shm_region.kaddr", "--format", "json")
        report = result.report
        found = {(one["process"]["pid"], one["address"]) for one in report["users"]}
        assert found == set(firsts), name
        assert {report["pfn"]} == set(firsts.values()), name
        assert "physmap" in {one["region"] for one in report["kernel"]}, name
        incomplete = any(one["id"] == "incomplete" for one in report["findings"])
        assert result.code == (3 if incomplete else 0), name + result.out


@each_kernel
def test_everything_that_is_shared(crashed: Crashed) -> None:
    """All finders, including the copies."""
    assert crashed.everything is not None
    for name in crashed.two_dumps:
        result = crashed.ask(name, "verify", "--format", "json")
        assert result.code == 1, name + result.out + result.err
        is_proven(result.report, crashed.everything)
        closed_page_is_proven(result.report, crashed.everything)
        walk = crashed.ask(name, *walk_to_closed(crashed.everything), "--format", "json")
        assert walk.code == 0, name + walk.out + walk.err
        closed_page_is_walked(walk.report)


@on_one_kernel
def test_as_a_plain_drgn_script(crashed: Crashed) -> None:
    """drgn -c VMCORE drgn_scripts/verify.py"""
    target = ("-c", str(crashed.dumps["lzo"]), *crashed.machine.symbols)
    result = drgn_script("verify.py", *target, words=("--kind", "umh_shm"))
    assert (result.code, "SAME" in result.out) == (0, True), result.out + result.err


SHELL = """
import sys
from drgn.commands import CommandError, run_command
sys.stdout.reconfigure(line_buffering=True)  # grep writes to the same file
print(run_command(prog, "pageproof verify --kind umh_shm --format json > {into}"))
print(run_command(prog, "walk _text | grep -c 'agrees$'"))
print(run_command(prog, "kmap --help | grep -c 'usage: %kmap '"))
print(run_command(prog, "walk no_such_symbol"))
try:
    run_command(prog, "pageproof prove")
except CommandError as error:
    print(error)
"""


@on_one_kernel
def test_in_drgns_shell(crashed: Crashed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """%pageproof verify > FILE, %walk | COMMAND: with the plugin that pip's entry point names."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        plugins = tomllib.load(file)["project"]["entry-points"]["drgn.plugins"]
    monkeypatch.setenv("DRGN_PLUGINS", ",".join("=".join(item) for item in plugins.items()))
    script, into = tmp_path / "shell.py", tmp_path / "report.json"
    script.write_text(SHELL.format(into=into))
    dump = crashed.dumps["lzo"]
    result = drgn_script(str(script), "-c", str(dump), *crashed.machine.symbols)
    names = "name a command: verify, regions, walk, maps, kmap, whatis, alias, audit, watch"
    assert result.out.splitlines() == ["0", "1", "0", "1", "0", "2", names], result.err
    assert "no such symbol" in result.err
    live = {key: essence(proof) for key, proof in pages(crashed.live).items()}
    said = pages(json.loads(into.read_text()))
    assert {key: essence(proof) for key, proof in said.items()} == live


@each_kernel
def test_cut_dump(crashed: Crashed, tmp_path: Path) -> None:
    """Half a dump gives an error or UNKNOWN, never SAME with exit code 0."""
    cut = tmp_path / "cut.vmcore"
    whole = crashed.dumps["lzo"].read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])
    result = pageproof("-c", cut, *crashed.machine.symbols, *VERIFY)
    assert result.code in (2, 3), result.out + result.err
    assert "Traceback" not in result.err


def test_kmap(crashed: Crashed) -> None:
    """The memory map of each dump has the live kernel's bases and page tables."""
    bases = crashed.live["paging"]
    for form in crashed.two_dumps:
        result = crashed.ask(form, "kmap", "--format", "json")
        assert result.code in (0, 3), f"{form}: {result.err}"
        rows = {row["region"]: row for row in result.report["rows"]}
        assert rows["physmap"]["start"] == bases["page_offset_base"], form
        assert rows["vmalloc"]["start"] == bases["vmalloc_base"], form
        assert rows["vmemmap"]["start"] == bases["vmemmap_base"], form
        for region in ("physmap", "vmalloc", "vmemmap", "text", "modules"):
            held = rows[region]["contents"]
            assert held["mapped_4k_bytes"] + held["mapped_2m_bytes"] > 0, (form, region)
        unknown = any(one["id"] == "undecided" for one in result.report["findings"])
        assert unknown is (result.code == 3), form


@each_kernel
def test_both_walkers_say_the_same(crashed: Crashed) -> None:
    """The engine and the Python walker give exactly the same report."""
    for name in crashed.two_dumps:
        reports = []
        for walker in ("c", "python"):
            asked = (*VERIFY, "--walker", walker)
            report = crashed.ask(name, *asked).report
            del report["times"]
            reports.append(report)
        assert reports[0] == reports[1], name


def test_whatis(crashed: Crashed) -> None:
    """A symbol of the module, with the area that its caller got; a page that the dump omits."""
    pid = str(crashed.maps["process"]["pid"])
    code = next(
        vma
        for vma in crashed.maps["vmas"]
        if vma["line"]["inode_number"] and vma["line"]["permissions"] == "r-xp" and vma["runs"]
    )
    place = code["runs"][0]["start"]
    for name in crashed.two_dumps:
        fops = crashed.ask(name, "whatis", "umh_shm_fops", "--format", "json")
        assert fops.code == 0, name + fops.out + fops.err
        found = fops.report["identity"]
        assert (found["symbol"]["name"], found["symbol"]["offset_bytes"]) == ("umh_shm_fops", 0)
        assert found["module"]["name"] == "umh_shm"
        assert found["vmap"]["caller"], name
        page = crashed.ask(name, "whatis", place, "--pid", pid, "--format", "json")
        assert page.code == 0, name + page.out + page.err
        assert page.report["walk"]["paddr"] == code["runs"][0]["frame"], name
        assert page.report["frame"]["use"] == "file", name
        # makedumpfile omits the page cache at all levels used here (page tables stay), but leaves
        # a hole in an ELF dump only for 256 or more adjacent pages (PFN_EXCLUDED).
        paddr = int(page.report["walk"]["paddr"], 16)
        kept = name == "elf" and elf_offset(crashed.dumps[name], paddr) is not None
        assert page.report["frame"]["content"] == ("mapped" if kept else "excluded"), name
        assert page.report["vma"]["name"] == code["line"]["name"]


@each_kernel
def test_a_damaged_table_of_vmemmap_makes_no_difference(crashed: Crashed, tmp_path: Path) -> None:
    """Two of its entries are swapped, so that each struct page belongs to another frame."""
    assert crashed.everything is not None
    asked = ("verify", "--kind", "shmem", "--format", "json")
    sound = crashed.ask("elf", *asked)
    assert sound.report["summary"]["different"] == 0
    page = next(
        one["evidence"]["page"]["page"]
        for one in sound.report["proofs"]
        if one["verdict"] == "SAME" and one["evidence"]["page"]
    )
    walk = crashed.ask("elf", "walk", page, "--format", "json").report["walk"]
    table = number(walk["steps"][-1]["table"])
    damaged = tmp_path / "damaged.vmcore"
    shutil.copyfile(crashed.dumps["elf"], damaged)
    at = elf_offset(damaged, table)
    assert at is not None
    with damaged.open("r+b") as file:
        file.seek(at)
        data = struct.unpack("<512Q", file.read(512 * 8))
        there = [(at + number * 8, entry) for number, entry in enumerate(data) if entry & 1]
        assert len(there) > 1
        for (offset, _), (_, entry) in zip(there, [*there[1:], there[0]], strict=True):
            file.seek(offset)
            file.write(struct.pack("<Q", entry))
    said = pageproof("-c", damaged, *crashed.machine.symbols, *asked)
    damaged.unlink()
    report = said.report
    assert report["summary"]["different"] == 0, said.out
    assert said.code == 3, said.out + said.err
    unread = [one for one in report["findings"] if one["id"] == "region-unreadable"]
    assert unread
    assert all("struct page" in str(one["evidence"]) for one in unread)
