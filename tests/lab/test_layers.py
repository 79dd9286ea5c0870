# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab is built in layers: a module imports only from its own layer and from lower ones."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pageproof_lab

PACKAGE = Path(pageproof_lab.__file__).parent
#: From the lowest up. A room is its directory; a module at the top is its name.
LAYERS = (
    {"__init__"},
    {"paths", "proc"},
    {"images"},
    {"guest"},
    {"bench", "article"},
    {"demo", "lint"},
    {"cli"},
)
FILES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in PACKAGE.rglob("*.py")
}


def imports(module: str) -> set[str]:
    """Return the modules of the package that a module imports anywhere in its code."""
    found = set()
    for node in ast.walk(ast.parse(FILES[module].read_text(encoding="utf-8"))):
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{module}: relative import"
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            top, _, rest = name.partition(".")
            if top != "pageproof_lab":
                continue
            # Remove the imported name: room.module.NAME, module.NAME, NAME.
            parts = rest.split(".") if rest else []
            while parts and ".".join(parts) not in FILES:
                parts.pop()
            found.add(".".join(parts) or "__init__")
    return found


def layer(module: str) -> int:
    room = module.partition(".")[0]
    (number,) = (number for number, rooms in enumerate(LAYERS) if room in rooms)
    return number


def test_no_import_goes_up() -> None:
    """Every module has a layer and does not import a higher one."""
    up = [
        f"{module} imports {used}"
        for module in FILES
        for used in imports(module)
        if layer(used) > layer(module)
    ]
    assert not up


def test_no_circles() -> None:
    """static_order() raises CycleError with the modules of a circle."""
    order = [*TopologicalSorter({module: imports(module) for module in FILES}).static_order()]
    assert {"images.kernels", "guest.boot", "cli"} <= set(order)
    assert order.index("images.kernels") < order.index("guest.boot") < order.index("cli")


def test_keeper_imports_nothing_of_the_package() -> None:
    """It runs as a plain file, without the package on its path."""
    assert imports("guest.keeper") == set()
