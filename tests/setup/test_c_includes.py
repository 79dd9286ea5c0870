# SPDX-License-Identifier: GPL-2.0-or-later
"""C files include each other, and call each other, in one direction."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: Folders whose files have one name per unit: NAME.c and NAME.h.
FOLDERS = ("c-helper/btf", "c-helper/pagewalk", "c-helper/python", "c-helper/watch")
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
NAME = re.compile(r"\b[a-z_]\w*\b")
#: A function that other files may use: its definition begins at the margin and is not static.
FUNCTION = re.compile(r"^(?!static\b)[A-Za-z][^;={}()]*?\b(\w+)\([^;{}]*\)\s*\{", re.MULTILINE)

Graph = dict[str, set[str]]


def includes(files: Iterable[Path]) -> Graph:
    """What each unit includes. A file and the header of the same name are one unit."""
    files = tuple(files)
    names = {file.name for file in files}
    graph: Graph = {file.stem: set() for file in files}
    for file in files:
        inside = names.intersection(INCLUDE.findall(file.read_text()))
        graph[file.stem] |= {Path(name).stem for name in inside} - {file.stem}
    return graph


def calls(files: Iterable[Path]) -> Graph:
    """The files whose functions each file names. One header may declare those of many files."""
    texts = {file.stem: COMMENT.sub("", file.read_text()) for file in files if file.suffix == ".c"}
    homes = {name: unit for unit, text in texts.items() for name in FUNCTION.findall(text)}
    return {
        unit: {homes[name] for name in NAME.findall(text) if name in homes} - {unit}
        for unit, text in texts.items()
    }


def circle(graph: Graph) -> list[str]:
    """The units of a circle, in order; empty if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def files_of(folder: str) -> list[Path]:
    return [file for file in sorted((ROOT / folder).iterdir()) if file.suffix in (".c", ".h")]


@pytest.mark.parametrize("folder", FOLDERS)
def test_includes_go_one_way(folder: str) -> None:
    graph = includes(files_of(folder))
    assert sum(map(len, graph.values())) > 1
    assert not circle(graph)


@pytest.mark.parametrize("folder", FOLDERS)
def test_calls_go_one_way(folder: str) -> None:
    graph = calls(files_of(folder))
    assert sum(map(len, graph.values())) > 1
    assert not circle(graph)


def test_a_circle_is_found(tmp_path: Path) -> None:
    """As sweep, frames and batch had: each called another, through one header."""
    (tmp_path / "all.h").write_text("int up(int by);\nint down(int by);\n")
    (tmp_path / "up.c").write_text('#include "all.h"\n\nint up(int by)\n{\n\treturn down(by);\n}\n')
    (tmp_path / "down.c").write_text('#include "all.h"\nint down(int by)\n{\n\treturn up(by);\n}\n')
    files = sorted(tmp_path.iterdir())
    assert not circle(includes(files))
    assert set(circle(calls(files))) == {"up", "down"}
    (tmp_path / "up.h").write_text('#include "down.h"\n')
    (tmp_path / "down.h").write_text('#include "up.h"\n')
    assert set(circle(includes(sorted(tmp_path.iterdir())))) == {"up", "down"}


def test_a_package_is_built_from_all_sources() -> None:
    """The list takes no patterns, so a new file is easily forgotten."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (module,) = project["tool"]["setuptools"]["ext-modules"]
    there = [
        path.relative_to(ROOT).as_posix()
        for folder in ("btf", "pagewalk", "python", "watch")
        for path in sorted((ROOT / "c-helper" / folder).glob("*.c"))
    ]
    assert sorted(module["sources"]) == there
