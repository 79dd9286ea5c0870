# SPDX-License-Identifier: GPL-2.0-or-later
"""Format x level x kernel: each dump is read, and says the same as the live guest, or why not.

All dumps of a kernel are made from one copy of /proc/vmcore by makedumpfile, and by QEMU. The
outcome is kept in build/formats; `make test-formats` writes the table of docs/dumps.md from it.
"""

import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from dumpforms import FORMS, LEVELS, CannotWrite, Compared, Form, admits, compare, cores, written
from machine import ONE_A_KERNEL, Json, Result, pageproof
from rawdumps import KEPT, RawDump, makedumpfile, raw_dump

#: Dumps that are made and read at a time; each takes as much of the disk as its memory.
WORKERS = int(os.environ.get("PAGEPROOF_FORMATS_WORKERS", os.cpu_count() or 1))
#: What UNKNOWN may say if a dump of a level above 0 lacks a page.
OMITTED = {"excluded"}

each_kernel_of_the_table = pytest.mark.parametrize(
    "kernel", [pytest.param(setup.kernel, marks=pytest.mark.long) for setup in ONE_A_KERNEL]
)


def run(raw: RawDump, files: list[Path]) -> Result:
    return pageproof(*cores(files), *raw.symbols, "verify", "--format", "json")


def told(found: Compared, report: Json) -> str:
    """Return the table's cell, after checking that there is no wrong word in the report."""
    assert not found.wrong, found.wrong[:5]
    assert set(found.unknown) <= OMITTED, found.unknown
    assert not found.lost or admits(report), found.lost
    parts = [f"{found.equal} equal"]
    parts += [f"{pages} {reason}" for reason, pages in sorted(found.unknown.items())]
    parts += [f"{found.lost} lost, reported"] if found.lost else []
    return ", ".join(parts)


def cell(raw: RawDump, whole: Json, files: list[Path]) -> str:
    said = run(raw, files)
    assert "Traceback" not in said.err
    if said.code == 2:
        assert said.err.startswith("pageproof: error: ")
        return f"refused: {said.err.strip()[len('pageproof: error: ') :]}"
    assert said.code in (0, 1, 3)
    return told(compare(whole, said.report), said.report)


def row(raw: RawDump, whole: Json, words: str, tmp_path: Path, form: Form, level: int) -> str:
    """Convert a dump, read it, and return the table's cell."""
    if form.needs and f"{form.needs}\tenabled" not in words:
        return f"not written: this makedumpfile has no {form.needs}"
    into = tmp_path / f"{FORMS.index(form)}-{level}"
    into.mkdir()
    try:
        with written(makedumpfile(), form, raw.copy, into, level) as files:
            return cell(raw, whole, files)
    except CannotWrite as error:
        return f"not written: {error}"


@each_kernel_of_the_table
@pytest.mark.timeout(3 * 3600)  # a guest, then some fifty dumps
def test_table(kernel: str, tmp_path: Path) -> None:
    raw = raw_dump(kernel)
    program = makedumpfile()
    version = subprocess.run([*program, "-v"], capture_output=True, text=True, check=True)
    words = version.stdout + version.stderr
    rows: dict[str, str] = {}
    copied = run(raw, [raw.copy])
    assert copied.code in (0, 1, 3), copied.err
    # The shell that panics the guest is not in the live report.
    old = {mapping["pid"] for mapping in raw.live["mappings"]}
    found = compare(raw.live, copied.report, old)
    rows["/proc/vmcore, copied"] = told(found, copied.report)
    assert found.equal > 2000, found
    for form, dump in raw.by_qemu.items():
        name = f"QEMU, {form}"
        rows[name] = (
            f"not written: {dump}"
            if isinstance(dump, str)
            else told(compare(raw.live, (said := run(raw, [dump]).report), old), said)
        )
    asked = [(form, level) for form in FORMS for level in LEVELS]
    with ThreadPoolExecutor(WORKERS) as pool:
        cells = pool.map(lambda one: row(raw, copied.report, words, tmp_path, *one), asked)
        for (one, level), outcome in zip(asked, cells, strict=True):
            name = f"{one.name}, level {level}"
            rows[name] = outcome
            print(f"{kernel}: {name}: {outcome}", flush=True)
    release = raw.live["target"]["release"]
    found_all = {"release": release, "makedumpfile": words.splitlines()[0], "rows": rows}
    (KEPT / f"{kernel}.json").write_text(json.dumps(found_all, indent=1))
    # A refusal is right for level 31 only: makedumpfile drops slab pages of some kernels there.
    refused = [name for name, said in rows.items() if said.startswith("refused")]
    assert all("level 31" in name for name in refused), rows
