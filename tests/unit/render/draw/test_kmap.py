# SPDX-License-Identifier: GPL-2.0-or-later
"""`pageproof kmap`: its words, against golden files, and each row explained."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from unit.arch.test_rows import LAYOUTS
from unit.facts import CORE, PAGING
from unit.layouts import FOUR, MOVED_FIVE, MOVED_FOUR

import pageproof
from pageproof.arch.x86_64.rows import memory_map
from pageproof.arch.x86_64.rowtexts import ROW_TEXTS
from pageproof.judge.kmap import map_findings
from pageproof.model.kmap import KMAP_SCHEMA, Contents, KernelMap, LayoutFacts
from pageproof.render.draw.kmap import ExplainedArea, offset_words, size_words
from pageproof.render.drgn.kmap import kmap_to_drgn
from pageproof.render.jsonform import report_to_json
from pageproof.render.table import to_text

GOLDEN = Path(__file__).resolve().parents[3] / "golden" / "kmap"


@pytest.mark.parametrize(
    ("offset", "words"),
    [
        (0, "0"),
        (1 << 47, "+128 TB"),
        (-(1 << 47), "-128 TB"),
        (0xFFFF_8880_0000_0000 - (1 << 64), "-119.5 TB"),
        (0xFF11_0000_0000_0000 - (1 << 64), "-59.75 PB"),
        (0xFFDF_0000_0000_0000 - (1 << 64), "-8.25 PB"),
        (0xFFFF_FFEF_0000_0000 - (1 << 64), "-68 GB"),
        (0xFFFF_FFFF_FF57_9000 - (1 << 64), "~-10.53 MB"),
    ],
)
def test_offsets_are_the_documentations(offset: int, words: str) -> None:
    assert offset_words(offset) == words


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 B"),
        (4096, "4 kB"),
        (1520 << 20, "~1.48 GB"),
        (25 << 49, "12.5 PB"),
        ((1 << 64) - (1 << 48), "~16 EB"),
    ],
)
def test_sizes(size: int, words: str) -> None:
    assert size_words(size) == words


def made(layout: LayoutFacts) -> KernelMap:
    sums = {
        "physmap": Contents("init_mm", 8192, 4 << 20, 1 << 30, 1 << 30, 4096, 0),
        "modules": Contents("init_mm", 16384, 0, 0, 8192, 12288, 4096),
        "kasan": Contents("init_mm", 2 << 20, shared_bytes=1 << 40, shared_entries=9),
        "vmalloc": Contents("init_mm", unknown_bytes=1 << 30),
        "hole": Contents("init_mm"),
    }
    rows = tuple(replace(one, contents=sums.get(one.region)) for one in memory_map(layout))
    return KernelMap(
        schema=KMAP_SCHEMA,
        version=pageproof.__version__,
        target=CORE,
        paging=replace(PAGING, levels=layout.levels),
        layout=layout,
        pid=None,
        comm=None,
        rows=rows,
        findings=map_findings(rows),
        seconds=0.25,
        exit_code=3,
    )


GOLDEN_NAMES = ("four", "five", "moved-four", "moved-five")


@pytest.mark.parametrize("name", GOLDEN_NAMES)
def test_golden_text(name: str) -> None:
    assert to_text(made(LAYOUTS[name])) == (GOLDEN / f"{name}.txt").read_text()


def test_no_golden_file_is_left_over() -> None:
    found = {path.stem for path in GOLDEN.iterdir()}
    assert found == set(GOLDEN_NAMES)


@pytest.mark.parametrize("region", ROW_TEXTS)
def test_every_region_can_be_explained(region: str) -> None:
    found = made(FOUR)
    rows = [one for one in found.rows if one.region == region]
    text = to_text(ExplainedArea(found, region))
    assert text.startswith(f"{region}: ")
    for label in ("where", "lives", "to phys", "defined"):
        assert f"\n{label}" in text
    for one in rows:
        assert f"{one.start:016x}-{one.last:016x}" in text


def test_a_region_that_this_kernel_has_not_is_explained_too() -> None:
    text = to_text(ExplainedArea(made(MOVED_FOUR), "kasan"))
    assert "this kernel has none" in text
    assert "KASAN_SHADOW_START" in text


@pytest.mark.parametrize("layout", [FOUR, MOVED_FIVE])
def test_json_fits_the_schema(layout: LayoutFacts) -> None:
    path = Path(pageproof.__file__).parent / "schema" / "kmap-1.json"
    schema: Any = json.loads(path.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    document = json.loads(report_to_json(made(layout)))
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(document)
    document["rows"][0]["start"] = 0
    assert not validator.is_valid(document)


@pytest.mark.parametrize("layout", [FOUR, MOVED_FIVE])
def test_the_drgn_code_is_code(layout: LayoutFacts) -> None:
    code = kmap_to_drgn(made(layout))
    compile(code, "kmap", "exec")
    assert code.count('"physmap"') == 1
