# SPDX-License-Identifier: GPL-2.0-or-later
"""Rooms of the package import downwards only, and no two modules import each other."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "drgn_scripts" / "pageproof"

#: From the ground floor up. Rooms of one floor do not import each other.
FLOORS = (
    ("errors",),
    ("model",),
    ("space", "files"),
    ("arch",),
    ("find", "walk"),
    ("attach",),
    ("observe", "watch", "judge", "render"),
    ("commands",),
    ("front",),
    ("api", "cli", "finders"),
    ("drgn_plugin", "pytest_plugin", "__main__"),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}

Edge = tuple[str, str]


def modules(package: Path) -> dict[str, Path]:
    """Files of a package by the module's name, without the package's own name."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(package: Path) -> Iterator[Edge]:
    """Each (module, imported module) of a package, those inside functions included."""
    known = modules(package)
    for name, path in known.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                wanted = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                wanted = [f"{node.module}.{alias.name}" for alias in node.names]
            else:
                continue
            for one in wanted:
                inside = one.removeprefix(f"{package.name}.")
                if inside != one:
                    yield name, inside if inside in known else inside.rpartition(".")[0]


def upward(edges: Iterator[Edge]) -> list[Edge]:
    """Imports that do not go down; the package itself may be asked for its version by all."""
    wrong = []
    for one, other in edges:
        room, imported = one.partition(".")[0], other.partition(".")[0]
        if imported and room and room != imported and FLOOR[imported] >= FLOOR[room]:
            wrong.append((one, other))
    return wrong


def circle(edges: Iterator[Edge]) -> list[str]:
    """Modules that import each other in a circle, the first one found."""
    after: dict[str, set[str]] = {}
    for one, other in edges:
        if one and other and one != other:
            after.setdefault(one, set()).add(other)
    done: set[str] = set()

    def search(name: str, way: list[str]) -> list[str]:
        if name in way:
            return [*way[way.index(name) :], name]
        if name in done:
            return []
        for other in sorted(after.get(name, ())):
            found = search(other, [*way, name])
            if found:
                return found
        done.add(name)
        return []

    return next((found for name in sorted(after) if (found := search(name, []))), [])


def test_each_room_has_a_floor() -> None:
    rooms = {name.partition(".")[0] for name in modules(PACKAGE)} - {""}
    assert rooms == set(FLOOR)


def test_imports_go_down() -> None:
    assert upward(imports(PACKAGE)) == []


def test_no_circles() -> None:
    assert circle(imports(PACKAGE)) == []


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("from pageproof.judge import kmap", True),
        ("import pageproof.judge.kmap", True),
        ("from pageproof.walk import Walker", False),
        ("from pageproof import __version__", False),
        ("def later():\n    from pageproof.render import words", True),
    ],
)
def test_it_sees_what_goes_up(tmp_path: Path, text: str, wrong: bool) -> None:
    package = tmp_path / "pageproof"
    for room in ("observe", "judge", "walk", "render"):
        (package / room).mkdir(parents=True)
        (package / room / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "judge" / "kmap.py").touch()
    (package / "render" / "words.py").touch()
    (package / "observe" / "page.py").write_text(text)
    assert bool(upward(imports(package))) is wrong


def test_it_sees_a_circle() -> None:
    edges = [("walk.a", "walk.b"), ("walk.b", "walk.c"), ("walk.c", "walk.a"), ("walk.c", "model")]
    assert circle(iter(edges)) == ["walk.a", "walk.b", "walk.c", "walk.a"]
    assert circle(iter(edges[:2])) == []


def test_one_module_knows_of_kdump() -> None:
    """Crash capture is built on this package."""
    text = {name: path.read_text(encoding="utf-8") for name, path in modules(PACKAGE).items()}
    assert [name for name in text if "import pageproof_kdump" in text[name]] == []
    assert [name for name in text if "from pageproof_kdump" in text[name]] == ["front.kdump"]
