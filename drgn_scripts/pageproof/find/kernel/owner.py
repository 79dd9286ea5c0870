# SPDX-License-Identifier: GPL-2.0-or-later
"""``--owner``: an expression over the members of a page that says who may write to it."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import drgn

from pageproof.errors import PageproofError
from pageproof.find.kernel.members import Member, find_member

#: What the expression may give.
OWNERS = ("kernel", "user", "both", "nobody")


class _Names(dict[str, object]):
    """Names of an expression: the words, the members, and the kernel's constants."""

    def __init__(self, prog: drgn.Program, page: drgn.Object) -> None:
        super().__init__({word: word for word in OWNERS})
        for one in page.type_.members or ():
            if one.name:
                self[one.name] = page.member_(one.name)
        self._prog = prog

    def __missing__(self, name: str) -> object:
        try:
            return self._prog.constant(name)
        except LookupError:
            raise KeyError(name) from None


class OwnerRule:
    """Who may write to a page, by its content.

    Args:
        prog: the target.
        kind: C type at the beginning of the page.
        text: a Python expression over its members, such as ``user if busy else kernel``.

    Attributes:
        members: those that the expression reads.

    Raises:
        PageproofError: the expression is not valid, or reads no member.
    """

    def __init__(self, prog: drgn.Program, kind: drgn.Type, text: str) -> None:
        self._prog, self._kind, self._text = prog, kind, text
        try:
            tree = ast.parse(text, mode="eval")
            self._code = compile(tree, "<--owner>", "eval")
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise self._error(f"this is not an expression: {error}") from None
        self.members = tuple(self._reads(tree))
        if not self.members:
            raise self._error(f"this reads no member of {kind.type_name()}")

    def _error(self, what: str) -> PageproofError:
        return PageproofError(
            what,
            f"--owner {self._text!r}",
            f"give an expression over the members that gives {', '.join(OWNERS[:-1])} or "
            f"{OWNERS[-1]}, such as 'user if state == 1 else kernel'",
        )

    def _reads(self, tree: ast.Expression) -> Iterator[Member]:
        seen = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Name | ast.Attribute):
                path = ast.unparse(node)
                try:
                    one = find_member(self._prog, self._kind, path)
                except PageproofError:
                    continue
                if ".".join(one.path) == path and one.path not in seen:
                    seen.add(one.path)
                    yield one

    def __call__(self, page: bytes) -> str:
        """Return who may write.

        Raises:
            PageproofError: the expression cannot be evaluated, or gives something else.
        """
        data = drgn.Object.from_bytes_(self._prog, self._kind, page)
        try:
            # The user may run any code here, as with --kernel: it runs with the user's rights.
            found = eval(self._code, {"__builtins__": {}}, _Names(self._prog, data))
        except Exception as error:  # an expression can raise anything
            raise self._error(f"this can't be evaluated: {type(error).__name__}: {error}") from None
        if found not in OWNERS:
            raise self._error(f"this gives {found!r}")
        return str(found)
