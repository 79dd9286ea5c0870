# SPDX-License-Identifier: GPL-2.0-or-later
"""The rows of the memory map that Debian's cloud kernels leave empty, each seen mapped."""

from collections.abc import Iterator

import pytest
from machine import Json, Machine, number

EVERYWHERE = ("physmap", "vmalloc", "vmemmap", "cpu-entry-area", "text", "modules", "fixmap")
#: Rows of the first set-up only: PTI, UEFI and vsyscall=emulate.
FIRST = ("ldt", "efi", "vsyscall")


@pytest.fixture(scope="module")
def segments(debugged: Machine) -> Iterator[Json]:
    """A process with an LDT that returns to a 16-bit stack segment (tests/vm/segments.c)."""
    found: Json = debugged.start("segments")
    yield found
    debugged.guest.run("kill", "-KILL", str(found["pid"]))


@pytest.fixture(scope="module")
def rows(debugged: Machine, segments: Json) -> dict[str, Json]:
    result = debugged.outside("kmap", "--format", "json", "--pid", str(segments["pid"]))
    assert result.code == 0, result.out + result.err
    assert result.report["findings"] == []
    return {row["region"]: row for row in result.report["rows"]}


def mapped(row: Json) -> int:
    contents = row["contents"]
    return sum(contents[f"mapped_{size}_bytes"] for size in ("4k", "2m", "1g"))


@pytest.mark.parametrize("region", [*EVERYWHERE, *FIRST, "kasan", "espfix"])
def test_row_is_mapped(debugged: Machine, rows: dict[str, Json], region: str) -> None:
    if region in FIRST and not debugged.setup.pti:
        assert region not in rows or rows[region]["contents"] is None or not mapped(rows[region])
        return
    assert mapped(rows[region]) > 0
    assert rows[region]["contents"]["unknown_bytes"] == 0


def test_whatis_names_the_places(debugged: Machine, rows: dict[str, Json], segments: Json) -> None:
    def identity(*words: str) -> Json:
        result = debugged.outside("whatis", "--format", "json", *words)
        found: Json = result.report["identity"]
        return found

    # The shadow begins with that of the first address of the kernel's half.
    shadow = identity(f"{number(rows['kasan']['start']):#x}")["shadow"]
    bits = 47 if debugged.setup.paging == 4 else 56
    assert number(shadow["memory"]) == (1 << 64) - (1 << bits)
    espfix = identity("espfix_stack", "--cpu", "1")["espfix"]
    assert espfix["cpu"] == 1
    if debugged.setup.pti:
        ldt = identity(f"{number(rows['ldt']['start']):#x}", "--pid", str(segments["pid"]))["ldt"]
        assert ldt["entry"] == 0
        assert identity("ffffffffff600400")["vsyscall"] == {"call": "time", "mode": "EMULATE"}
    else:
        assert identity("ffffffffff600400")["vsyscall"] == {"call": "time", "mode": "XONLY"}
