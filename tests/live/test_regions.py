# SPDX-License-Identifier: GPL-2.0-or-later
"""`pageproof regions` from the command line: text, JSON, filters, exit codes, on each kernel."""

import json
from pathlib import Path

import jsonschema
from attached import attached
from machine import Machine, Region, each_kernel
from sharing import claimed_at, same_frames

pytestmark = each_kernel
LENGTH = Region("vmalloc", "insert", 5)


def test_the_modules_region_and_all_its_users(machine: Machine, checkout: Path) -> None:
    machine.load(LENGTH, allow_any=True)
    part = machine.map("--pages", "2", "--first", "1")
    helper = int(machine.sysfs("helper_pid"))
    result = machine.outside("regions", "--kind", "umh_shm", "--format", "json")
    assert result.code == 0, result.err
    path = checkout / "drgn_scripts/pageproof/schema/regions-1.json"
    jsonschema.validate(result.report, json.loads(path.read_text()))
    (region,) = result.report["regions"]
    assert (region["kind"], region["pages"]) == ("umh_shm", 5)
    uses = {use["mapping"]["pid"]: use for use in region["uses"]}
    assert uses.keys() == {helper, part["pid"]}
    assert (uses[helper]["first_page"], uses[helper]["resident_pages"]) == (0, 5)
    assert (uses[part["pid"]]["first_page"], uses[part["pid"]]["resident_pages"]) == (1, 2)
    with attached(machine) as view:
        view.target.prog.load_debug_info([machine.built.module])
        address = int(uses[part["pid"]]["mapping"]["vma"]["start"], 16)
        same_frames(view, claimed_at(view, "umh_shm", part["pid"], address), touched={0, 1})
    machine.unload()


def test_text_and_filters(loaded: Machine) -> None:
    pid = loaded.sysfs("helper_pid")
    said = loaded.outside("regions", "--pid", pid)
    assert said.code == 0, said.err
    assert f"  {pid} umh_shm_helper  " in said.out
    assert "  1 of 1 page mapped\n" in said.out
    named = ("--name", "umh_shm", "--kind", "umh_shm")  # some of UIO's cannot be read
    assert loaded.outside("regions", *named).code == 0
    none = loaded.outside("regions", "--name", "no such name")
    assert (none.code, "no shared region was found\n" in none.out) == (3, True)
