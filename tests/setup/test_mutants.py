# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of setup/mutants.py: where a mutant differs, and whether only in text."""

import ast

import pytest
from mutants import difference, is_text, without_decorators


def compared(old: str, new: str) -> tuple[str, str, bool]:
    made, mutant = ast.parse(old), ast.parse(new)
    (was, now), (around, _) = difference(made, mutant, (made, mutant))
    return ast.unparse(was), ast.unparse(now), is_text(was, now, around)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("x = f(a < b, c)", "x = f(a <= b, c)", ("a < b", "a <= b")),
        ("x = f(a, b)", "x = f(a)", ("f(a, b)", "f(a)")),
        ("x = f(a, b)", "x = f(a, None)", ("b", "None")),
        ("x = f(a=1)", "x = f(b=1)", ("a=1", "b=1")),
        ("if not a:\n    b()", "if a:\n    b()", ("not a", "a")),
        ("x += 1", "x -= 1", ("x += 1", "x -= 1")),
        ("x = a and b", "x = a or b", ("a and b", "a or b")),
        ("for x in y:\n    break", "for x in y:\n    return", ("break", "return")),
    ],
)
def test_the_innermost_difference(old: str, new: str, expected: tuple[str, str]) -> None:
    assert compared(old, new) == (*expected, False)


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("x = f('it is wrong')", "x = f('IT IS WRONG')", True),
        ("x = f('it is wrong')", "x = f(None)", False),
        ("x = ('owner', owner)", "x = ('OWNER', owner)", True),
        ("x = (owner, 'table')", "x = (owner, 'TABLE')", False),
        ("x = kind == 'table'", "x = kind == 'TABLE'", False),
        ("x = f('a', b, c)", "x = f('A', b, c)", False),
    ],
)
def test_what_is_text(old: str, new: str, text: bool) -> None:
    assert compared(old, new)[2] is text


def test_properties_are_made_by_statements() -> None:
    source = """
class One:
    x: int

    @property
    def first(self) -> int:
        return self.x

    @staticmethod
    def second() -> int:
        return 2

    @property
    def third(self) -> int:
        return self.x + 2
"""
    made = without_decorators(source)
    assert made.count("@") == 1
    namespace: dict[str, type] = {}
    exec(made, namespace)
    one = namespace["One"]()
    one.x = 1
    assert (one.first, one.second(), one.third) == (1, 2, 3)
