# SPDX-License-Identifier: GPL-2.0-or-later
"""A driver that nobody knows: its device by --device, its kernel side in drgn's language."""

from collections.abc import Iterator

import jsonschema
import pytest
from machine import Json, Machine, Region, Result, each_kernel, number, on_one_kernel, verdicts

DEVICE = "/dev/umh_shm"
REGION = 'prog["umh_shm_region"]'
#: struct umh_shm_region as the device's file has it.
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


@on_one_kernel
def test_no_another_page(machine: Machine) -> None:
    """Shifted by a page; and pages in another order: never SAME."""
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
    """By its path and by its number; how it maps is told."""
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
    """A process that maps the registers of the HPET, which no finder knows."""
    process = machine.start("maps_device.py", "/dev/hpet", "0", "1")
    yield process
    machine.end_group(process["pid"])


@each_kernel
def test_what_the_kernel_has_when_nobody_knows(machine: Machine, timer: Json) -> None:
    """Neither SAME nor silence: the kernel's mappings of the frame, by those who made them."""
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
    """The region of /dev/mem is physical memory from 0 on."""
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
    """The helper's stack: the kernel has its frame in the physmap and names it as nobody's."""
    pid = loaded.sysfs("helper_pid")
    lines = loaded.guest.check("cat", f"/proc/{pid}/maps").splitlines()
    (stack,) = (line for line in lines if line.endswith("[stack]"))
    end = int(stack.split()[0].partition("-")[2], 16)
    result = verify(loaded, "--pid", pid, "--user", hex(end - 4096))
    assert (result.code, result.report["proofs"]) == (3, [])
    (unknown,) = result.report["findings"]
    assert unknown["id"] == "kernel-side-unknown"
    # Frames of the image that were freed after boot keep their place in it.
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
        (("--pages", "file.private_data"), "void * is no list of pages"),
        (("--pages", "[1, 2]"), "1 is no struct page * or struct folio *"),
        (("--pages", "'text'"), "a str is no list of pages"),
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
