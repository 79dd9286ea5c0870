# SPDX-License-Identifier: GPL-2.0-or-later
"""A driver without a finder: --device for its device, a drgn expression for its kernel side."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jsonschema
import pytest
from machine import Json, Machine, Region, Result, each_kernel, number, on_one_kernel, verdicts
from watching import target_of

from pageproof.commands import verify_regions
from pageproof.find.kernel.paging import read_paging
from pageproof.model import Reason
from pageproof.model.asked import VerifyAsked

DEVICE = "/dev/umh_shm"
#: Of tests/vm/bugs/shares_other.c.
OTHER = "/dev/shares_other"
REGION = 'prog["umh_shm_region"]'
#: Expression for struct umh_shm_region from the device's file.
CONTEXT = 'cast("struct umh_shm_region *", file.private_data)'


def verify(machine: Machine, *words: str) -> Result:
    return machine.outside("verify", "--format", "json", *words)


def errors(result: Result) -> list[str]:
    return [one["id"] for one in result.report["findings"] if one["severity"] == "error"]


@each_kernel
@pytest.mark.parametrize(
    ("region", "side"),
    [
        (Region("pages", "remap", 4), ("--kernel", f"{CONTEXT}.kaddr")),
        (
            Region("pages", "insert", 4),
            ("--pages", f"[virt_to_page({CONTEXT}.kaddr + 4096 * n) for n in range(4)]"),
        ),
        (
            Region("vmalloc", "insert", 5),
            ("--pages", f"find_vmap_area({CONTEXT}.kaddr).vm.pages"),
        ),
    ],
)
def test_the_kernel_side_is_said(
    machine: Machine, schema: Json, region: Region, side: tuple[str, str]
) -> None:
    machine.load(region)
    result = verify(machine, "--device", DEVICE, *side)
    report = result.report
    jsonschema.validate(report, schema)
    assert (result.code, set(verdicts(report))) == (0, {"SAME"}), result.out
    (one,) = report["regions"]
    assert (one["kind"], one["name"], one["pages"]) == ("device", DEVICE, region.pages)
    frames = [number(p["evidence"]["user_walk"]["pfn"]) for p in report["proofs"]]
    assert frames == machine.pfns()


#: Devices of tests/vm/named, whose names are easily confused.
BLOCK, AREA = "/dev/shares_named_block", "/dev/shares_named_area"


@dataclass(frozen=True)
class Named:
    """The guest with the module and a process that maps a part of a device."""

    machine: Machine

    def verify(self, device: str, *words: str, pages: int) -> Result:
        """Run verify on a process that maps some pages of a device."""
        process = self.machine.start("maps_device.py", device, "0", str(pages))
        try:
            return verify(self.machine, "--device", device, "--pid", str(process["pid"]), *words)
        finally:
            self.machine.end_group(process["pid"])


@pytest.fixture(scope="module")
def named(machine: Machine) -> Named:
    machine.load_test_module("shares_named")
    return Named(machine)


def ids(result: Result) -> list[str]:
    return [one["id"] for one in result.report["findings"] if one["id"] != "mapping-kind"]


@each_kernel
@pytest.mark.parametrize("side", ["block", 'prog["block"]'])
def test_an_integer_stands_for_the_memory_that_it_points_at(named: Named, side: str) -> None:
    result = named.verify(BLOCK, "--kernel", side, pages=4)
    assert (result.code, verdicts(result.report)) == (0, ["SAME"] * 4), result.out + result.err
    (by_value,) = (x for x in result.report["findings"] if x["id"] == "kernel-side-by-value")
    assert by_value["severity"] == "note"
    assert "is an integer (unsigned long) at 0xff" in by_value["sentence"]


@each_kernel
@pytest.mark.parametrize("side", ["cdev_map", 'prog["cdev_map"]'])
def test_the_module_behind_the_device_comes_before_vmlinux(named: Named, side: str) -> None:
    """fs/char_dev.c has a pointer of the same name, which a plain look-up finds."""
    result = named.verify(AREA, "--kernel", side, pages=2)
    assert (result.code, verdicts(result.report)) == (0, ["SAME"] * 2), result.out + result.err
    assert ids(result) == []


@each_kernel
@pytest.mark.parametrize(
    ("device", "side", "pages", "ends"),
    [
        (BLOCK, "block", 4, "compound page of 4 pages at "),
        (AREA, "cdev_map", 2, "vmalloc area of 2 pages at "),
    ],
)
def test_a_region_ends_where_its_object_ends(
    named: Named, device: str, side: str, pages: int, ends: str
) -> None:
    """Without --length, and with a length that is too large."""
    for length in ((), ("--length", str((pages + 2) * 4096))):
        result = named.verify(device, "--kernel", side, *length, pages=pages + 2)
        report = result.report
        assert (result.code, verdicts(report)) == (1, ["SAME"] * pages), result.out + result.err
        assert (report["summary"]["same"], report["regions"][0]["pages"]) == (pages, pages)
        (beyond,) = (one for one in report["findings"] if one["severity"] == "error")
        assert beyond["id"] == "mapping-beyond-region"
        ((_, object_),) = beyond["evidence"]
        assert object_.startswith(ends)
    sound = named.verify(device, "--kernel", side, "--length", str(pages * 4096), pages=pages)
    assert (sound.code, errors(sound)) == (0, [])


@each_kernel
def test_an_object_ends_for_an_address_too(named: Named) -> None:
    machine = named.machine
    process = machine.start("maps_device.py", AREA, "0", "4")
    user = ("--pid", str(process["pid"]), "--user", hex(process["address"]))
    more = verify(machine, *user, "--kernel", "cdev_map", "--length", str(4 * 4096))
    some = verify(machine, *user, "--kernel", "cdev_map", "--length", str(2 * 4096))
    machine.end_group(process["pid"])
    assert (more.code, verdicts(more.report), errors(more)) == (
        *(1, ["SAME"] * 2),
        ["mapping-beyond-region"],
    )
    assert (some.code, verdicts(some.report), errors(some)) == (0, ["SAME"] * 2, [])


@each_kernel
def test_a_device_is_its_number(named: Named) -> None:
    """A process in a chroot, which opened the device by another node."""
    guest = named.machine.guest
    number = guest.check("cat", "/sys/class/misc/shares_named_area/dev").strip()
    major, minor = number.split(":")
    guest.check("sh", "-c", f"mkdir -p /run/jail && mknod /run/jail/other c {major} {minor}")
    process = named.machine.start("maps_device.py", "/other", "0", "2", "/run/jail")
    found = [
        verify(named.machine, "--device", one, "--kernel", "cdev_map") for one in (AREA, number)
    ]
    named.machine.end_group(process["pid"])
    guest.check("rm", "-r", "/run/jail")
    for result in found:
        assert result.code == 0, result.out + result.err
        assert [one["pid"] for one in result.report["mappings"]] == [process["pid"]]


@on_one_kernel
@pytest.mark.parametrize(
    ("device", "side", "said"),
    [
        (BLOCK, "vma.vm_file", "not the beginning of a page"),
        (BLOCK, "&block", "not the beginning of a page"),
        (BLOCK, "unset", "this gives 0x0, which is not a kernel address: unset is an integer"),
        (BLOCK, "twice", "several variables have this name: shares_named at 0x"),
        (BLOCK, 'prog["twice"]', "several variables have this name: shares_named at 0x"),
        (BLOCK, "no_such_name", "no such symbol or variable"),
        (BLOCK, "1000", "this gives 0x1000, which is not a kernel address"),
    ],
)
def test_a_kernel_side_that_is_something_else(
    named: Named, device: str, side: str, said: str
) -> None:
    result = named.verify(device, "--kernel", side, pages=2)
    assert (result.code, result.out) == (2, ""), result.out
    assert said in result.err, result.err


@on_one_kernel
@pytest.mark.parametrize("option", ["--kernel", "--pages"])
def test_wrong_syntax_is_refused_though_nothing_is_mapped(named: Named, option: str) -> None:
    result = verify(named.machine, "--device", BLOCK, option, "file.private_data)")
    assert (result.code, result.out) == (2, "")
    assert "SyntaxError" in result.err


@pytest.fixture(scope="module")
def adjoining(machine: Machine) -> Iterator[Json]:
    """A process with raw frames after ordinary pages, and with a mapped socket."""
    process = machine.start("maps_adjoining.py", "f0000")
    yield process
    machine.end_group(process["pid"])


@each_kernel
def test_each_page_is_judged_by_its_own_mapping(machine: Machine, adjoining: Json) -> None:
    """Raw frames after an ordinary VMA do not belong to that VMA."""
    place = ("--pid", str(adjoining["pid"]), "--user", hex(adjoining["address"]))
    result = verify(machine, *place, "--length", str(4 * 4096))
    report = result.report
    assert (result.code, verdicts(report)) == (0, ["SAME"] * 4), result.out + result.err
    assert errors(result) == []
    assert [one["evidence"]["mapping"] for one in report["proofs"]] == [0, 0, 1, 1]
    flags = [one["vma"]["vm_flags_words"] for one in report["mappings"]]
    assert ["PFNMAP" in one for one in flags] == [False, True]
    findings = [one["id"] for proof in report["proofs"] for one in proof["findings"]]
    assert "raw-frame-in-ordinary-vma" not in findings
    behind = verify(machine, *place, "--length", str(5 * 4096), "--pages", "[]")
    assert (behind.code, "has 0 pages from there on, fewer than the 5" in behind.err) == (2, True)


@each_kernel
def test_what_no_finder_knows_is_a_note(machine: Machine, adjoining: Json) -> None:
    """A TCP socket can be mapped too; both commands handle it."""
    where = f"pid {adjoining['pid']} at {hex(adjoining['socket'])}"
    for command in ("verify", "regions"):
        words = ("--pid", str(adjoining["pid"]), "--format", "json")
        result = machine.outside(command, *words)
        assert result.code == 0, result.out + result.err
        (note,) = (x for x in result.report["findings"] if x["id"] == "region-part-unknown")
        assert (note["severity"], note["where"]) == ("note", where)
        assert "a socket of address family AF_INET" in note["sentence"]


@on_one_kernel
def test_an_empty_list_of_pages(machine: Machine, adjoining: Json) -> None:
    place = ("--pid", str(adjoining["pid"]), "--user", hex(adjoining["address"]))
    result = verify(machine, *place, "--pages", "[]")
    assert (result.code, "--length" in result.err) == (2, False)
    assert "has 0 pages from there on, fewer than the 1 that" in result.err


@on_one_kernel
def test_no_another_page(machine: Machine) -> None:
    """Pages shifted by one, or in another order, are never SAME."""
    machine.load(Region("pages", "insert", 4))
    shifted = verify(machine, "--device", DEVICE, "--kernel", f"{CONTEXT}.kaddr + 4096")
    assert (shifted.code, set(verdicts(shifted.report))) == (1, {"DIFFERENT"})
    assert errors(shifted) == ["off-by-one"]
    order = f"[virt_to_page({CONTEXT}.kaddr + 4096 * n) for n in (0, 2, 1, 3)]"
    turned = verify(machine, "--device", DEVICE, "--pages", order)
    assert turned.code == 1
    assert verdicts(turned.report) == ["SAME", "DIFFERENT", "DIFFERENT", "SAME"]
    assert errors(turned) == ["wrong-order"]


@on_one_kernel
@pytest.mark.parametrize(
    ("region", "means"),
    [
        (Region("pages", "remap", 4), "VM_PFNMAP"),
        (Region("pages", "insert", 4), "VM_MIXEDMAP"),
    ],
)
def test_a_finder_knows_the_device(machine: Machine, region: Region, means: str) -> None:
    """By its path and by its number; the report shows how it maps."""
    machine.load(region)
    numbers = machine.guest.check("cat", "/sys/class/misc/umh_shm/dev").strip()
    for device in (DEVICE, numbers):
        result = verify(machine, "--device", device)
        (one,) = result.report["regions"]
        assert (result.code, one["kind"], one["pages"]) == (0, "umh_shm", 4)
        (kind,) = (x for x in result.report["findings"] if x["id"] == "mapping-kind")
        assert means in kind["sentence"]


@pytest.fixture(scope="module")
def firmware(machine: Machine) -> Iterator[Json]:
    """A process that maps two pages of the BIOS through /dev/mem."""
    process = machine.start("maps_device.py", "/dev/mem", "f0000", "2")
    yield process
    machine.end_group(process["pid"])


@pytest.fixture(scope="module")
def timer(machine: Machine) -> Iterator[Json]:
    """A process that maps the registers of the HPET, for which there is no finder."""
    process = machine.start("maps_device.py", "/dev/hpet", "0", "1")
    yield process
    machine.end_group(process["pid"])


@each_kernel
def test_what_the_kernel_has_when_nobody_knows(machine: Machine, timer: Json) -> None:
    """Not SAME, but the report lists the kernel's mappings of the frame, with their callers."""
    result = verify(machine, "--device", "/dev/hpet")
    report = result.report
    assert (result.code, report["summary"]["same"]) == (3, 0), result.out
    kind, unknown = report["findings"]
    assert (kind["id"], "VM_PFNMAP" in kind["sentence"]) == ("mapping-kind", True)
    where = f"pid {timer['pid']} at 0x{timer['address']:x}"
    assert (unknown["id"], unknown["where"]) == ("kernel-side-unknown", where)
    assert unknown["sentence"].startswith("frame 0xfed00: ")
    assert {name.split()[0] for name, _ in unknown["evidence"]} == {"vmalloc"}
    assert any("hpet" in owner for _, owner in unknown["evidence"])


@each_kernel
def test_it_is_proven_when_the_kernel_side_is_said(machine: Machine, firmware: Json) -> None:
    """The region of /dev/mem is all physical memory, from 0."""
    process = ("--pid", str(firmware["pid"]))
    words = ("--device", "/dev/mem", *process, "--kernel", 'prog["page_offset_base"].value_()')
    result = verify(machine, *words)
    assert (result.code, verdicts(result.report)) == (0, ["SAME", "SAME"]), result.out
    walks = [proof["evidence"]["user_walk"]["pfn"] for proof in result.report["proofs"]]
    assert walks == ["0xf0", "0xf1"]
    beyond = verify(machine, *words, "--length", hex(0xF1000))
    assert beyond.code == 1
    assert "mapping-beyond-region" in [one["id"] for one in beyond.report["findings"]]


@on_one_kernel
def test_an_address_of_which_nobody_knows(loaded: Machine) -> None:
    """The helper's stack: the kernel maps its frame in the physmap only."""
    pid = loaded.sysfs("helper_pid")
    lines = loaded.guest.check("cat", f"/proc/{pid}/maps").splitlines()
    (stack,) = (line for line in lines if line.endswith("[stack]"))
    end = int(stack.split()[0].partition("-")[2], 16)
    result = verify(loaded, "--pid", pid, "--user", hex(end - 4096))
    assert (result.code, result.report["proofs"]) == (3, [])
    (unknown,) = result.report["findings"]
    assert unknown["id"] == "kernel-side-unknown"
    # Frames of the image that were freed after boot stay mapped by it.
    assert {name.split()[0] for name, _ in unknown["evidence"]} - {"text"} == {"physmap"}


@on_one_kernel
def test_a_list_of_pages_for_an_address(machine: Machine) -> None:
    machine.load(Region("pages", "insert", 4))
    pid, start = machine.helper_address()
    listed = f"[virt_to_page({CONTEXT}.kaddr + 4096 * n) for n in range(4)]"
    place = ("--pid", pid, "--user", start, "--pages", listed)
    result = verify(machine, *place, "--length", "16384")
    assert (result.code, verdicts(result.report)) == (0, ["SAME"] * 4)
    result = verify(machine, *place, "--length", "20480")
    assert (result.code, "has 4 pages from there on, fewer than the 5" in result.err) == (2, True)
    result = verify(machine, "--pid", pid, "--user", start, "--length", "16384")
    assert (result.code, verdicts(result.report)) == (0, ["SAME"] * 4)
    result = verify(machine, "--pid", pid, "--user", start, "--length", "20480")
    assert (result.code, "has 4 pages from there on, fewer than the 5" in result.err) == (2, True)


@on_one_kernel
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--kernel", "file.no_such"), "'struct file' has no member 'no_such'"),
        (("--pages", "file.private_data"), "void * is not a list of pages"),
        (("--pages", "[1, 2]"), "1 is not a struct page * or struct folio *"),
        (("--pages", "'text'"), "a str is not a list of pages"),
        (("--pages", '[cast("struct page *", file.private_data)]'), "is not a struct page"),
        (("--pages", "[Object(prog, 'struct page *', 8)]"), "0x8 is not a struct page"),
    ],
)
def test_a_kernel_side_that_is_none(loaded: Machine, words: tuple[str, str], said: str) -> None:
    result = loaded.outside("verify", "--device", DEVICE, *words)
    assert (result.code, result.out) == (2, "")
    assert said in result.err, result.err


@on_one_kernel
def test_a_device_that_nobody_maps(loaded: Machine) -> None:
    result = loaded.outside("verify", "--device", "/dev/umh_sh")
    assert (result.code, result.err) == (3, "")
    assert "no process maps /dev/umh_sh now: there is nothing to verify" in result.out


@on_one_kernel
def test_a_process_ends_while_it_is_judged(
    loaded: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver then frees what the file points at, which is no bug."""
    loaded.load_test_module("shares_other")
    pids = [loaded.start("maps_device.py", OTHER, "0", "1")["pid"] for _ in range(2)]
    judge_proofs = verify_regions._proofs

    def end_one(*rest: Any) -> Any:
        if len(pids) > 1:
            loaded.end_group(pids.pop())
        return judge_proofs(*rest)

    monkeypatch.setattr(verify_regions, "_proofs", end_one)
    try:
        with target_of(loaded) as target:
            asked = VerifyAsked(device=OTHER)
            proved = verify_regions.prove_regions(target, read_paging(target.prog), asked, print)
    finally:
        for pid in pids:
            loaded.end_group(pid)
    assert {one.id for one in proved.findings} == {"mapping-kind", "kernel-side-unknown"}
    reasons = [run.reason for region in proved.regions for use in region.uses for run in use.runs]
    assert set(reasons) == {Reason.NO_KERNEL_SIDE, Reason.TORN}
