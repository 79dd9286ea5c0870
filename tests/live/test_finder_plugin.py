# SPDX-License-Identifier: GPL-2.0-or-later
"""A finder of somebody else's package: installed by pip, found by its entry point, used."""

import base64
import hashlib
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from machine import ROOT, Machine, Region, Result, on_one_kernel, pageproof

EXAMPLE = ROOT / "tests" / "finder_example"


def make_wheel(folder: Path, example: Path = EXAMPLE) -> Path:
    """What `pip wheel` makes of the example; that would fetch setuptools."""
    project = tomllib.loads((example / "pyproject.toml").read_text())["project"]
    name, version = project["name"].replace("-", "_"), project["version"]
    points = "".join(
        f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in some.items())
        for group, some in project["entry-points"].items()
    )
    info = f"{name}-{version}.dist-info"
    content = {
        "pageproof_example.py": (example / "pageproof_example.py").read_text(),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n"
        "Generator: test\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": points,
    }
    record = ""
    for path, text in content.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode()
        record += f"{path},sha256={digest.rstrip('=')},{len(text)}\n"
    content[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n"
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in content.items():
            archive.writestr(path, text)
    return wheel


def install(folder: Path, wheel: Path) -> dict[str, str]:
    """Install it beside this checkout; the environment in which it is found."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--target", str(folder), str(wheel)], check=True)
    paths = (ROOT / "drgn_scripts", ROOT / "lab", ROOT / "build/lib", folder)
    return {"PYTHONPATH": ":".join(map(str, paths))}


@on_one_kernel
def test_the_example(machine: Machine, tmp_path: Path) -> None:
    """Asked before our own for the same VMAs, and shown with all that regions tells."""
    machine.load(Region("vmalloc", "insert", 5))
    environment = install(tmp_path / "site", make_wheel(tmp_path))

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
    environment = install(tmp_path / "site", make_wheel(tmp_path, broken))
    result = pageproof(*machine.target, "regions", env=environment)
    assert (result.code, result.out) == (2, "")
    assert "the finder example of the package pageproof" in result.err
    assert said in result.err
    assert "pip uninstall" in result.err
