# SPDX-License-Identifier: GPL-2.0-or-later
"""A finder in a third-party package: installed by pip, found by its entry point, used."""

from pathlib import Path

import pytest
from machine import ROOT, Machine, Region, Result, on_one_kernel, pageproof
from wheels import entry_points, install, make_wheel

EXAMPLE = ROOT / "tests" / "finder_example"


def example_wheel(folder: Path, example: Path = EXAMPLE) -> Path:
    """Return the wheel of the example, or of a changed one."""
    files = {"pageproof_example.py": (example / "pageproof_example.py").read_text()}
    points = entry_points(example / "pyproject.toml")
    return make_wheel(folder, "pageproof-example", "1.0", files, points)


@on_one_kernel
def test_the_example(machine: Machine, tmp_path: Path) -> None:
    """It has priority over the built-in finders, and `regions` shows all its data."""
    machine.load(Region("vmalloc", "insert", 5))
    environment = install(tmp_path / "site", example_wheel(tmp_path))

    def regions(*words: str) -> Result:
        said = ("regions", "--format", "json", *words)
        return pageproof(*machine.target, *said, env=environment)

    (region,) = regions("--kind", "example").report["regions"]
    assert (region["name"], region["pages"]) == ("the example's region", 5)
    assert region["owner_type"] == "struct umh_shm_region"
    (use,) = region["uses"]
    assert use["mapping"]["pid"] == int(machine.sysfs("helper_pid"))
    assert (use["first_page"], use["resident_pages"]) == (0, 5)
    kinds = {one["kind"] for one in regions().report["regions"]}
    assert "example" in kinds
    assert "umh_shm" not in kinds
    without = machine.outside("regions", "--kind", "example")
    assert (without.code, "there is no finder for 'example'" in without.err) == (2, True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("from pageproof.finders", "from pageproof.no_such"), "No module named"),
        (("EXAMPLE = Finder(", "EXAMPLE = dict("), "it is a dict and no"),
        (('kind="example"', 'kind="perf"'), "there is a finder of kind 'perf' already"),
    ],
)
@on_one_kernel
def test_one_that_cannot_be_used(
    machine: Machine, tmp_path: Path, change: tuple[str, str], said: str
) -> None:
    broken = tmp_path / "source"
    broken.mkdir()
    for name in ("pyproject.toml", "pageproof_example.py"):
        text = (EXAMPLE / name).read_text()
        (broken / name).write_text(text.replace(*change))
    environment = install(tmp_path / "site", example_wheel(tmp_path, broken))
    result = pageproof(*machine.target, "regions", env=environment)
    assert (result.code, result.out) == (2, "")
    assert "the finder example of the package pageproof" in result.err
    assert said in result.err
    assert "pip uninstall" in result.err
