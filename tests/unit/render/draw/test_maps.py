# SPDX-License-Identifier: GPL-2.0-or-later
"""`pageproof maps` against golden files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from unit.commandfacts import leaf, line, maps_report
from unit.facts import USER
from unit.golden import matches_golden
from unit.schemas import fits_schema

from pageproof.arch.x86_64.paging import X86Paging
from pageproof.observe.residency import merge
from pageproof.render.draw.maps import procfs_line
from pageproof.render.drgn.maps import maps_to_drgn
from pageproof.render.jsonform import report_to_json
from pageproof.render.table import to_text

GOLDEN = Path(__file__).resolve().parents[3] / "golden" / "commands"


FILES: dict[str, Callable[[], str]] = {
    "maps.txt": lambda: to_text(maps_report()),
    "maps-pages.txt": lambda: to_text(maps_report(), verbose=True),
    "maps.json": lambda: report_to_json(maps_report()),
    "maps.drgn": lambda: maps_to_drgn(maps_report()),
}


@pytest.mark.parametrize("name", FILES)
def test_golden(name: str) -> None:
    matches_golden(GOLDEN / name, FILES[name]())


def test_no_golden_file_is_left_over() -> None:
    assert {path.name for path in GOLDEN.iterdir() if path.name.startswith("maps")} == set(FILES)


def test_what_moved_is_told() -> None:
    assert "kept changing while they were read" in to_text(replace(maps_report(), stable=False))


def test_pages_outside_all_vmas_are_shown() -> None:
    outside = tuple(merge(X86Paging(levels=4), [leaf(0x1000, 0x7000)]))
    text = to_text(replace(maps_report(), outside=outside))
    assert "mapped outside all VMAs\n    000000001000-000000002000" in text


def test_a_line_of_procfs_is_laid_out_as_the_kernel_does() -> None:
    """Lines of a real ``/proc/PID/maps``; the second has no name."""
    stack = line(0x7FFF05A7E000, 0x7FFF05A9F000, name="[stack]")
    real = "7fff05a7e000-7fff05a9f000 rw-p 00000000 00:00 0                          [stack]"
    assert procfs_line(stack) == real
    assert procfs_line(line(0x4C7000, 0x4CD000)) == "004c7000-004cd000 rw-p 00000000 00:00 0"


def test_names_of_a_target_are_not_taken_for_markup() -> None:
    vma = maps_report().vmas[0]
    odd = replace(vma, line=replace(vma.line, name="/[red]x"))
    assert " /[red]x\n" in to_text(replace(maps_report(), vmas=(odd,)))


@pytest.mark.parametrize("code", [name for name in FILES if name.endswith(".drgn")])
def test_code_for_drgn_compiles(code: str) -> None:
    compile(FILES[code](), code, "exec")


def test_json_fits_the_schema() -> None:
    fits_schema("maps-1.json", maps_report())


def test_addresses_are_hex_and_counts_are_numbers() -> None:
    document = json.loads(report_to_json(maps_report()))
    (run,) = document["vmas"][1]["runs"]
    assert (run["start"], run["frame"], run["leaf_bytes"]) == (f"{USER:#x}", "0x3400000", 4096)
    assert document["vmas"][0]["resident_2m_bytes"] == 2 << 20
