# SPDX-License-Identifier: GPL-2.0-or-later
"""`verify` on a running guest, against other sources about its pages."""

import jsonschema
import pytest
from machine import (
    REGIONS,
    Json,
    Machine,
    Region,
    Result,
    each_kernel,
    number,
    on_one_kernel,
    pages,
    verdicts,
)


def verify(machine: Machine, *words: str) -> Result:
    kind = () if "--user" in words else ("--kind", "umh_shm")
    return machine.outside("verify", "--format", "json", *kind, *words)


@each_kernel
@pytest.mark.parametrize("region", REGIONS, ids=str)
def test_outside_every_region(machine: Machine, region: Region, schema: Json) -> None:
    """Each backing with each way of mapping: mapped pages are SAME, with the module's own PFNs."""
    machine.load(region)
    result = verify(machine)
    report = result.report
    jsonschema.validate(report, schema)
    frames = machine.pfns()
    assert len(frames) == region.pages
    assert report["region"]["backing"].lower().endswith(region.backing)
    helper = int(machine.sysfs("helper_pid"))
    proofs = pages(report)
    assert set(proofs) == {(helper, index) for index in range(region.pages)}
    for (_, index), proof in proofs.items():
        evidence = proof["evidence"]
        assert number(evidence["kernel_walk"]["pfn"]) == frames[index]
        if proof["verdict"] == "SAME":
            assert number(evidence["user_walk"]["pfn"]) == frames[index]
            assert number(evidence["user_second"]["pfn"]) == frames[index]
        else:
            assert (proof["verdict"], proof["reason"], region.map) == (
                "UNKNOWN",
                "not-present",
                "fault",
            )
    assert verdicts(report)[0] == "SAME"
    assert result.code == (0 if set(verdicts(report)) == {"SAME"} else 3)


def test_slot_is_the_articles(loaded: Machine) -> None:
    """The request and the helper's answer are in the page, and `verify` reads them."""
    proof = pages(verify(loaded).report)[int(loaded.sysfs("helper_pid")), 0]
    slot = proof["evidence"]["slot"]
    assert (slot["id"], slot["payload"], slot["pl_hash"]) == (2, "hello", "world")
    assert loaded.sysfs("last_reply") == "2 hello world"
    assert "2 hello world" in loaded.guest.check("dmesg")


def test_file_and_vma(loaded: Machine) -> None:
    """Dentry, inode mode, and the VMA's range as in procfs."""
    pid = int(loaded.sysfs("helper_pid"))
    (mapping,) = verify(loaded).report["mappings"]
    vma = mapping["vma"]
    assert vma["file"]["dentry_name"] == "umh_shm"
    assert vma["file"]["f_op_symbol"] == "umh_shm_fops"
    assert number(vma["file"]["i_mode"]) == 0x2180
    start, end = number(vma["start"]), number(vma["end"])
    assert f"{start:x}-{end:x} rw-s" in loaded.guest.check("cat", f"/proc/{pid}/maps")


def test_bases_are_the_documented_ones(loaded: Machine) -> None:
    """Documentation/arch/x86/x86_64/mm.rst without KASLR; with KASLR they are not checked."""
    paging = verify(loaded).report["paging"]
    assert paging["levels"] == loaded.setup.paging
    names = ("page_offset_base", "vmalloc_base", "vmemmap_base")
    bases = tuple(number(paging[name]) for name in names)
    documented = {
        4: (0xFFFF888000000000, 0xFFFFC90000000000, 0xFFFFEA0000000000),
        5: (0xFF11000000000000, 0xFFA0000000000000, 0xFFD4000000000000),
    }[loaded.setup.paging]
    assert (bases == documented) is not loaded.setup.kaslr
    assert paging["pti"] is loaded.setup.pti


@each_kernel
def test_pagemap_agrees(machine: Machine) -> None:
    """/proc/PID/pagemap has the frames if pages are inserted one by one."""
    machine.load(Region("pages", "insert", 4))
    helper = int(machine.sysfs("helper_pid"))
    for (pid, index), proof in pages(verify(machine).report).items():
        assert pid == helper
        address = number(proof["evidence"]["user_address"])
        dd = f"dd if=/proc/{pid}/pagemap bs=8 skip={address // 4096} count=1 2>/dev/null"
        entry = int(machine.guest.check("sh", "-c", f"{dd} | od -A n -t u8"))
        said = entry & (1 << 55) - 1
        assert said == number(proof["evidence"]["user_walk"]["pfn"]), index


@each_kernel
def test_all_mappers_are_found(machine: Machine) -> None:
    """Other processes map a part of the region, also read-only."""
    machine.load(Region("pages", "remap", 4), allow_any=True)
    whole = machine.map("--pages", "4")
    part = machine.map("--pages", "2", "--first", "1", "--read-only")
    result = verify(machine)
    expected = {(int(machine.sysfs("helper_pid")), index) for index in range(4)}
    expected |= {(whole["pid"], index) for index in range(4)}
    expected |= {(part["pid"], index) for index in (1, 2)}
    assert set(pages(result.report)) == expected
    assert set(verdicts(result.report)) == {"SAME"}
    assert result.code == 0
    proof = pages(result.report)[part["pid"], 1]
    assert proof["evidence"]["user_walk"]["permissions"]["write"] is False
    machine.unload()


@each_kernel
def test_no_another_frame(machine: Machine) -> None:
    """The user's page is a private copy with the same bytes: DIFFERENT, exit code 1."""
    machine.load(Region("pages", "insert", 4), allow_any=True)
    mapper = machine.map("--pages", "4", "--replace", "1")
    address = mapper["address"] + 4096
    kernel = number(verify(machine).report["region"]["kernel_address"]) + 4096
    result = verify(
        machine, "--pid", str(mapper["pid"]), "--user", hex(address), "--kernel", hex(kernel)
    )
    (proof,) = result.report["proofs"]
    assert proof["verdict"] == "DIFFERENT"
    assert proof["evidence"]["kernel_walk"]["pfn"] != proof["evidence"]["user_walk"]["pfn"]
    assert result.code == 1
    machine.unload()


@each_kernel
def test_no_not_present(machine: Machine) -> None:
    """A page that was never touched is not mapped: UNKNOWN not-present, exit code 3."""
    machine.load(Region("vmalloc", "fault", 16), allow_any=True)
    mapper = machine.map("--pages", "4", "--touch", "0", "2")
    result = verify(machine, "--pid", str(mapper["pid"]))
    found = {index: (p["verdict"], p["reason"]) for (_, index), p in pages(result.report).items()}
    assert found == {
        0: ("SAME", None),
        1: ("UNKNOWN", "not-present"),
        2: ("SAME", None),
        3: ("UNKNOWN", "not-present"),
    }
    assert result.code == 3
    machine.unload()


@each_kernel
@pytest.mark.parametrize(
    "expression",
    [
        'prog["umh_shm_region"].kaddr + (vma.vm_pgoff << 12)',
        'prog["umh_shm_region" if file.f_op == prog["umh_shm_fops"].address_of_() else 0].kaddr',
    ],
)
def test_the_kernel_side_by_an_expression(loaded: Machine, expression: str) -> None:
    """A drgn expression that uses the user side's VMA and its file."""
    (user,) = verify(loaded).report["mappings"]
    words = ("--pid", str(user["pid"]), "--user", user["vma"]["start"], "--kernel", expression)
    result = verify(loaded, *words)
    assert (result.code, verdicts(result.report)) == (0, ["SAME"]), result.err
    (proof,) = result.report["proofs"]
    assert number(proof["evidence"]["kernel_walk"]["pfn"]) == loaded.pfns()[0]


@on_one_kernel
def test_nothing_to_verify(machine: Machine) -> None:
    """Without a mapping there is nothing to prove, which is not success."""
    machine.load()
    machine.guest.check("sh", "-c", "echo 1 > /sys/class/misc/umh_shm/stop")
    result = verify(machine)
    assert result.code == 3
    assert result.report["proofs"] == []
    machine.unload()


@on_one_kernel
def test_module_not_loaded(machine: Machine) -> None:
    machine.unload()
    result = machine.outside("verify", "--kind", "umh_shm")
    assert result.code in (2, 3)
    assert "umh_shm" in result.err + result.out


def test_log_is_clean(machine: Machine) -> None:
    """After all these tests the kernel log has no complaint."""
    log = machine.guest.check("dmesg")
    assert not [line for line in log.splitlines() if "WARNING" in line or "BUG" in line], log
