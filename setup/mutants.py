# SPDX-License-Identifier: GPL-2.0-or-later
"""Mutation tests of rules and arithmetic: prepare the input of mutmut, and report its results.

``mutants.py prepare DIRECTORY`` copies the package and the tests of what is mutated. mutmut skips
decorated functions, so in the copy properties are made by a statement.

``mutants.py report DIRECTORY`` prints the score and the survivors that tests/mutants.txt does not
explain; exit 1 if there are any. It skips a mutant that differs only in text for people: a string
that contains a blank, or the name of a piece of evidence.
"""

import ast
import json
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXPLAINED = ROOT / "tests" / "mutants.txt"
PACKAGE = Path("src/pageproof")
#: What is mutated: files of the package, or folders with all their files.
MUTATED = """judge space arch/x86_64/rows.py model/auditfacts.py model/facts.py model/where.py
    observe/ledger.py observe/residency.py walk/compare.py walk/opinion.py walk/special.py"""
#: Files tests/unit/*/test_WORD*.py.
TESTS = """alias audit conditions coverage device diff explain judge junit kmap opinion owners
    prove render residency rows rules settle slot whatis where words"""

CONFIG = """\
[tool.mutmut]
source_paths = ["src"]
only_mutate = {mutated}
pytest_add_cli_args_test_selection = {tests}
timeout_multiplier = 10.0

[tool.pytest.ini_options]
pythonpath = ["src", "tests"]
addopts = ["--import-mode=importlib", "-p", "no:cacheprovider"]
"""

#: mutmut's exit codes: pytest passed (0), no test calls the function (33), time-out (36, -24).
OUTCOMES = {0: "survived", 33: "survived", 36: "timeout", -24: "timeout"}
Pair = tuple[ast.AST, ast.AST]
OPERATORS = (ast.boolop, ast.operator, ast.unaryop, ast.cmpop, ast.expr_context)


def prepare(place: Path) -> None:
    """Make the copy: src/, tests/ and a pyproject.toml for them."""
    package, unit = place / "src" / "pageproof", place / "tests" / "unit"
    for folder in (package, unit.parent):
        shutil.rmtree(folder, ignore_errors=True)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "drgn_scripts" / "pageproof", package, ignore=ignored)
    for name in ("unit", "golden"):
        shutil.copytree(ROOT / "tests" / name, unit.parent / name, ignore=ignored)
    shutil.copy(ROOT / "tests" / "junit.py", unit.parent)
    mutated = [PACKAGE / word for word in MUTATED.split()]
    for one in mutated:
        for path in (place / one).rglob("*.py") if one.suffix == "" else [place / one]:
            path.write_text(without_decorators(path.read_text()))
    globs = [f"{one}/*" if one.suffix == "" else str(one) for one in mutated]
    tests = [path for word in TESTS.split() for path in sorted(unit.glob(f"*/test_{word}*.py"))]
    names = [path.relative_to(place).as_posix() for path in tests]
    config = CONFIG.format(mutated=json.dumps(globs), tests=json.dumps(names))
    (place / "pyproject.toml").write_text(config)
    # The last run's record of which test calls which function.
    (place / "mutants" / "mutmut-stats.json").unlink(missing_ok=True)


def without_decorators(source: str) -> str:
    """Return the module with each property made by a statement instead of a decorator."""
    lines = source.split("\n")
    classes = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    for one in reversed([node for each in classes for node in each.body]):
        if not isinstance(one, ast.FunctionDef) or one.end_lineno is None:
            continue
        if [ast.unparse(decorator) for decorator in one.decorator_list] == ["property"]:
            lines.insert(one.end_lineno, f"    {one.name} = property({one.name})")
            del lines[one.decorator_list[0].lineno - 1]
    return "\n".join(lines)


def difference(old: ast.AST, new: ast.AST, around: Pair) -> tuple[Pair, Pair]:
    """Return the innermost node that differs and the node around it, each old and new."""
    pairs = list(zip(ast.iter_child_nodes(old), ast.iter_child_nodes(new), strict=False))
    if type(old) is type(new) and len(pairs) == len(list(ast.iter_child_nodes(new))):
        odd = [(one, other) for one, other in pairs if ast.dump(one) != ast.dump(other)]
        if len(odd) == 1 and not isinstance(odd[0][0], OPERATORS):
            return difference(*odd[0], (old, new))
    return (old, new), around


def is_text(old: ast.AST, new: ast.AST, around: ast.AST) -> bool:
    """Return whether the difference is a string for people."""
    if not (isinstance(old, ast.Constant) and isinstance(new, ast.Constant)):
        return False
    if not (isinstance(old.value, str) and isinstance(new.value, str)):
        return False
    named = isinstance(around, ast.Tuple) and len(around.elts) == 2 and around.elts[0] is old
    return named or " " in old.value


def mutants(place: Path) -> Iterator[tuple[str, str, bool]]:
    """(where and what changed, outcome, whether it is text) of each that was tried."""
    for meta in sorted((place / "mutants" / PACKAGE).rglob("*.meta")):
        nodes = ast.walk(ast.parse(meta.with_suffix("").read_text()))
        functions = {node.name: node for node in nodes if isinstance(node, ast.FunctionDef)}
        for name, code in json.loads(meta.read_text())["exit_code_by_key"].items():
            if code is None:
                continue
            module, _, mutant = name.removeprefix("pageproof.").rpartition(".")
            original, _, _ = mutant.rpartition("_mutmut_")
            old, new = functions[f"{original}_mutmut_orig"], functions[mutant]
            old.name = new.name = original.rstrip("_").removeprefix("x_").strip("x\u01c1")
            where = f"{module}.{old.name}".replace("\u01c1", ".").lstrip(".")
            pair, around = difference(old, new, (old, new))
            # Show a number with its context.
            shown = around if isinstance(pair[0], ast.Constant) else pair
            before, after = (" ".join(ast.unparse(one).split()) for one in shown)
            text = is_text(*pair, around[0])
            yield f"{where}: {before} => {after}", OUTCOMES.get(code, "killed"), text


def report(place: Path) -> int:
    """Print the score and the unexplained survivors; return the exit code."""
    lines = EXPLAINED.read_text().splitlines()
    explained = {line for line in lines if line and not line.startswith("#")}
    counts = Counter[str]()
    left: list[str] = []
    for what, outcome, text in mutants(place):
        if text:
            counts["text"] += 1
        elif outcome == "survived" and what in explained:
            counts["explained"] += 1
        else:
            counts[outcome] += 1
            left += [what] * (outcome == "survived")
    print(*left, sep="\n")
    tried = counts.total() - counts["text"]
    dead = counts["killed"] + counts["timeout"]
    print(f"{tried} mutants; {counts['text']} more skipped, which differ only in text")
    share = 100 * dead / max(tried, 1)
    print(f"{dead} killed, {counts['timeout']} of them by time-out: {share:.1f} %")
    print(f"{tried - dead} survived: {counts['explained']} explained, {counts['survived']} not")
    return 1 if left else 0


def main() -> int:
    """Run the command; return its exit code."""
    do, place = sys.argv[1], Path(sys.argv[2])
    place.mkdir(parents=True, exist_ok=True)
    if do == "report":
        return report(place)
    prepare(place)
    return 0


if __name__ == "__main__":
    sys.exit(main())
