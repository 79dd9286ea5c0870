# SPDX-License-Identifier: GPL-2.0-or-later
"""`pageproof whatis` as a user has it: its text, its exit codes, its code for drgn, from inside."""

import json
from pathlib import Path

import jsonschema
import pytest
from machine import ONE_A_KERNEL, Machine, drgn_script, each_kernel, number

KERNEL_SIDE = "umh_shm_region.kaddr"

# What it says of each thing on each kernel stands in test_whatis.py.
on_one_kernel = pytest.mark.parametrize("machine", ONE_A_KERNEL[2:3], indirect=True, ids=str)


@on_one_kernel
def test_text(loaded: Machine) -> None:
    result = loaded.outside("whatis", KERNEL_SIDE)
    assert result.code == 0, result.err
    assert "\nallocated slab object of kmalloc-" in result.out
    assert f"\nframe    PFN 0x{loaded.pfns()[0]:x}, " in result.out


@on_one_kernel
def test_aliases(loaded: Machine, checkout: Path) -> None:
    """Those that alias finds, and procfs's helper among them."""
    asked = loaded.outside("whatis", KERNEL_SIDE, "--aliases", "--format", "json")
    assert asked.code == 0, asked.err + asked.out
    path = checkout / "drgn_scripts/pageproof/schema/whatis-1.json"
    jsonschema.validate(asked.report, json.loads(path.read_text()))
    alone = loaded.outside("alias", KERNEL_SIDE, "--format", "json").report
    assert asked.report["mappings"] == [*alone["kernel"], *alone["users"]]
    pids = [one["process"]["pid"] for one in alone["users"]]
    assert pids == [int(loaded.sysfs("helper_pid"))]
    text = loaded.outside("whatis", KERNEL_SIDE, "--aliases").out
    assert f"{pids[0]} umh_shm_helper  " in text


@on_one_kernel
def test_an_error(loaded: Machine) -> None:
    result = loaded.outside("whatis", "runqueues")
    assert (result.code, result.out) == (2, "")
    assert "say whose with --cpu CPU" in result.err


@on_one_kernel
def test_the_code_for_drgn_says_the_same(loaded: Machine, tmp_path: Path) -> None:
    path = tmp_path / "code.py"
    assert loaded.outside("whatis", "umh_shm_fops", "--drgn", "-o", str(path)).code == 0
    ran = drgn_script(str(path), *loaded.target)
    assert ran.code == 0, ran.err
    assert "object symbol: umh_shm_fops+0x0" in ran.out
    assert "b'umh_shm'" in ran.out


@on_one_kernel
def test_as_a_plain_drgn_script(loaded: Machine) -> None:
    """drgn --qemu SOCKET drgn_scripts/whatis.py umh_shm_fops"""
    result = drgn_script("whatis.py", *loaded.target, words=["umh_shm_fops"])
    assert result.code == 0, result.err
    assert "\numh_shm_fops+0x0/" in result.out


@each_kernel
def test_from_inside(loaded: Machine, checkout: Path) -> None:
    """/proc/kcore: the region's object, and its frame as debugfs has it."""
    result = loaded.inside("whatis", KERNEL_SIDE, "--format", "json")
    assert result.code == 0, result.err + result.out
    report = result.report
    path = checkout / "drgn_scripts/pageproof/schema/whatis-1.json"
    jsonschema.validate(report, json.loads(path.read_text()))
    assert report["target"]["kind"] == "live"
    assert report["identity"]["slab"]["cache"].startswith("kmalloc-")
    assert number(report["walk"]["pfn"]) == loaded.pfns()[0]
