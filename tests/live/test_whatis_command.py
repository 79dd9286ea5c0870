# SPDX-License-Identifier: GPL-2.0-or-later
"""`pageproof whatis` from the command line. test_whatis.py checks its answers."""

import json
from pathlib import Path

import jsonschema
from machine import Machine, drgn_script, on_one_kernel

KERNEL_SIDE = "umh_shm_region.kaddr"

pytestmark = on_one_kernel


def test_text(loaded: Machine) -> None:
    result = loaded.outside("whatis", KERNEL_SIDE)
    assert result.code == 0, result.err
    assert "\nallocated slab object of kmalloc-" in result.out
    assert f"\nframe    PFN 0x{loaded.pfns()[0]:x}, " in result.out


def test_aliases(loaded: Machine, checkout: Path) -> None:
    """Its mappings are those that alias finds, including the helper's in procfs."""
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


def test_the_code_for_drgn_says_the_same(loaded: Machine, tmp_path: Path) -> None:
    path = tmp_path / "code.py"
    assert loaded.outside("whatis", "umh_shm_fops", "--drgn", "-o", str(path)).code == 0
    ran = drgn_script(str(path), *loaded.target)
    assert ran.code == 0, ran.err
    assert "object symbol: umh_shm_fops+0x0" in ran.out
    assert "b'umh_shm'" in ran.out
