# SPDX-License-Identifier: GPL-2.0-or-later
"""walk, maps and alias against golden files; test_render.py describes how to renew them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from unit.commandfacts import alias_report, kernel_report, leaf, line, maps_report, user_report
from unit.facts import PAGING, USER, lost_walk, mapping, user_walk
from unit.golden import matches_golden

import pageproof
from pageproof.arch.x86_64.paging import X86Paging
from pageproof.files.places import read_where
from pageproof.model import (
    Answer,
    Finding,
    Outcome,
    Permissions,
    SecondOpinion,
    Severity,
    TableSet,
    Walk,
)
from pageproof.model.alias import AliasReport
from pageproof.observe.residency import merge
from pageproof.render.draw.maps import procfs_line
from pageproof.render.drgn.alias import alias_to_drgn
from pageproof.render.drgn.maps import maps_to_drgn
from pageproof.render.drgn.walk import walk_to_drgn
from pageproof.render.jsonform import report_to_json
from pageproof.render.table import to_text

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "commands"
SCHEMAS = Path(pageproof.__file__).parent / "schema"


def prot_none() -> Walk:
    access = Permissions(write=True, execute=False, user=True, access=False)
    return replace(
        user_walk(),
        outcome=Outcome.PROT_NONE,
        permissions=access,
        detail="PTE entry 176 of the table at 0x2aa3a000 is prot-none",
    )


def swapped() -> Walk:
    return replace(lost_walk(Outcome.SWAP), swap_type=0, swap_offset=4711)


def torn_alias() -> AliasReport:
    """A frame given by its number, without a struct page, while mappings change."""
    gap = Finding("incomplete", Severity.NOTE, read_where("pid 182"), "mappings may be missing")
    whole = alias_report()
    return replace(
        whole,
        walk=None,
        asked="2157",
        page=None,
        users=(replace(whole.users[0], process=replace(mapping(), vma=None)),),
        findings=(gap,),
        attempts=5,
        stable=False,
        exit_code=3,
    )


FILES: dict[str, Callable[[], str]] = {
    "walk-kernel.txt": lambda: to_text(kernel_report()),
    "walk-kernel.json": lambda: report_to_json(kernel_report()),
    "walk-kernel.drgn": lambda: walk_to_drgn(kernel_report()),
    "walk-user-verbose.txt": lambda: to_text(user_report(), verbose=True),
    "walk-user.drgn": lambda: walk_to_drgn(user_report()),
    "walk-swapped.txt": lambda: to_text(user_report(swapped())),
    "walk-prot-none.txt": lambda: to_text(user_report(prot_none())),
    "maps.txt": lambda: to_text(maps_report()),
    "maps-pages.txt": lambda: to_text(maps_report(), verbose=True),
    "maps.json": lambda: report_to_json(maps_report()),
    "maps.drgn": lambda: maps_to_drgn(maps_report()),
    "alias.txt": lambda: to_text(alias_report()),
    "alias-torn.txt": lambda: to_text(torn_alias()),
    "alias.json": lambda: report_to_json(alias_report()),
    "alias.drgn": lambda: alias_to_drgn(alias_report()),
}


@pytest.mark.parametrize("name", FILES)
def test_golden(name: str) -> None:
    matches_golden(GOLDEN / name, FILES[name]())


def test_no_golden_file_is_left_over() -> None:
    mine = {
        path.name for path in GOLDEN.iterdir() if path.name.startswith(("walk", "maps", "alias"))
    }
    assert mine == set(FILES)


# What the texts must contain


@pytest.mark.parametrize("outcome", [one for one in Outcome if one is not Outcome.MAPPED])
def test_every_end_of_a_walk_is_explained(outcome: Outcome) -> None:
    if outcome is Outcome.NON_CANONICAL:
        return  # an error before the walk
    text = to_text(user_report(lost_walk(outcome)))
    (means,) = (row for row in text.splitlines() if row.startswith("means"))
    assert len(means) > len("means    x")


def test_a_dispute_is_told() -> None:
    contrary = SecondOpinion(0x1000, 1, answer=Answer.CONTRADICTS)
    other = replace(kernel_report(), second=contrary, disputed=True, exit_code=3)
    assert "PFN 0x1, DISAGREES" in to_text(other)
    lost = user_report(lost_walk(Outcome.NONE))
    lost = replace(lost, second=contrary, disputed=True)
    assert "PFN 0x1, DISAGREES" in to_text(lost)


def test_silence_is_told_with_its_reason() -> None:
    faulted = SecondOpinion(None, None, "could not find it", Answer.SILENT, "it is blind")
    assert "silent: it is blind (could not find it)" in to_text(
        replace(kernel_report(), second=faulted)
    )
    named = SecondOpinion(0x1000, 1, "", Answer.SILENT, "it is blind")
    assert "silent: it is blind (PFN 0x1)" in to_text(replace(kernel_report(), second=named))


def test_the_kernels_half_of_pti_is_told() -> None:
    """PTI sets NX for the whole user half of this table, whatever the mapping."""
    isolated = replace(user_report(), paging=replace(PAGING, pti=True))
    assert "not executable; --user-tables" in to_text(isolated)
    half = replace(isolated, tables=TableSet.PROCESS_USER, second=None)
    assert "--user-tables" not in to_text(half)
    assert "--user-tables" not in to_text(user_report())


def test_what_moved_is_told() -> None:
    torn = replace(kernel_report(), stable=False, attempts=5, exit_code=3)
    assert "kept changing while it was read (5 attempts)" in to_text(torn)
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


# drgn code


@pytest.mark.parametrize("code", [name for name in FILES if name.endswith(".drgn")])
def test_code_for_drgn_compiles(code: str) -> None:
    compile(FILES[code](), code, "exec")


def test_what_the_user_typed_stays_a_comment() -> None:
    text = walk_to_drgn(replace(kernel_report(), asked="x\nimport os"))
    assert "\nimport os" not in text


def test_drgn_has_no_way_into_the_user_half() -> None:
    half = replace(user_report(), tables=TableSet.PROCESS_USER, second=None)
    assert "follow_phys(mm" not in walk_to_drgn(half)
    assert "follow_phys(mm" in walk_to_drgn(user_report())


# JSON and its schemas


def schema(name: str) -> Any:
    return json.loads((SCHEMAS / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("name", "report"),
    [
        ("walk-1.json", kernel_report()),
        ("walk-1.json", user_report()),
        ("walk-1.json", user_report(swapped())),
        ("walk-1.json", replace(user_report(), second=None, page=None)),
        ("maps-1.json", maps_report()),
        ("alias-1.json", alias_report()),
        ("alias-1.json", torn_alias()),
    ],
)
def test_json_fits_the_schema(name: str, report: Any) -> None:
    document = json.loads(report_to_json(report))
    validator = jsonschema.Draft202012Validator(schema(name))
    validator.validate(document)
    for key in document:
        with pytest.raises(jsonschema.ValidationError):
            validator.validate({k: v for k, v in document.items() if k != key})


def test_schemas_say_the_same_of_the_same() -> None:
    """Each schema contains the parts that it shares with others, so that each is complete."""
    first: dict[str, Any] = {}
    for path in sorted(SCHEMAS.iterdir()):
        document = schema(path.name)
        jsonschema.Draft202012Validator.check_schema(document)
        assert document["$id"] == f"pageproof/{path.stem}"
        for name, definition in document["$defs"].items():
            assert first.setdefault(name, definition) == definition, f"{name} in {path.name}"


def test_addresses_are_hex_and_counts_are_numbers() -> None:
    document = json.loads(report_to_json(maps_report()))
    (run,) = document["vmas"][1]["runs"]
    assert (run["start"], run["frame"], run["leaf_bytes"]) == (f"{USER:#x}", "0x3400000", 4096)
    assert document["vmas"][0]["resident_2m_bytes"] == 2 << 20
